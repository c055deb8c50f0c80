"""Metadata of a materialized version: counts, costs, oddities, columns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import dagster as dg

from rag_assets.bible.embed_verses import SpaceReport
from rag_assets.bible.model import BibleText, Oddity
from rag_assets.bible.sql.verses import VersesLoaded
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.defs.columns import VECTOR_COLUMNS
from rag_assets.vectors.prices import amount, together

_EXAMPLES = 12  # shown per kind of oddity; `rag-assets bible oddities` lists them all
_LONGEST = 100  # characters of one

VERSES_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("verse_id", "bigint", description="Stable while the verse exists."),
        dg.TableColumn("version_code", "text", description="Such as PT_NAA."),
        dg.TableColumn("book", "text", description="USFM code, such as JHN."),
        dg.TableColumn("chapter", "smallint"),
        dg.TableColumn("verse", "smallint"),
        dg.TableColumn("verse_end", "smallint", description="Last verse of a bridge."),
        dg.TableColumn("text", "text", description="Plain text, never blank."),
        dg.TableColumn("text_hash", "bytea", description="SHA-256 of the text."),
    ]
)

VERSE_EMBEDDINGS_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("verse_id", "bigint", description="The verse, in `verses`."),
        dg.TableColumn("version_code", "text", description="Its version, such as PT_NAA."),
        *VECTOR_COLUMNS,
    ]
)


def of_verses(
    folder: Path, declaration: VersionDeclaration, bible: BibleText, loaded: VersesLoaded
) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of one partition of ``verses``."""
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(loaded.total),
        "references": dg.MetadataValue.int(bible.reference_count),
        "inserted": dg.MetadataValue.int(loaded.inserted),
        "updated": dg.MetadataValue.int(loaded.updated),
        "deleted": dg.MetadataValue.int(loaded.deleted),
        "format": dg.MetadataValue.text(bible.format),
        "oddities": dg.MetadataValue.md(oddities_table(folder.name, bible.oddities)),
        "policy": dg.MetadataValue.md(policy_text(folder.name, declaration)),
        "licence": dg.MetadataValue.text(declaration.licence),
        "source": dg.MetadataValue.path(folder.resolve()),
    }


def policy_text(code: str, declaration: VersionDeclaration) -> str:
    """Return what the version may be used for, and the line to add for what it may not."""
    lines = []
    for entry, allowed, forbidden in (
        ("ai_allowed", "its text may go to a provider", "its text goes to no provider"),
        ("enabled_for_rag", "retrieval may serve it", "retrieval does not serve it"),
    ):
        if getattr(declaration, entry):
            lines.append(f"- `{entry} = true`: {allowed}")
        else:
            lines.append(
                f"- **{forbidden}**: when its licence allows it, add the line "
                f"`{entry} = true` to `{code}/version.toml`"
            )
    return "\n".join(lines)


def oddities_table(code: str, oddities: Sequence[Oddity]) -> str:
    """Format oddities as a Markdown table: kind, count, the first few; the command for all."""
    if not oddities:
        return "none"
    lines = ["| oddity | count | references |", "|---|---:|---|"]
    for kind, count in Counter(oddity.kind for oddity in oddities).items():
        found = [oddity for oddity in oddities if oddity.kind is kind]
        shown = "; ".join(
            _cell(
                f"{oddity.reference} ({shorten(oddity.detail, _LONGEST)})"
                if oddity.detail
                else oddity.reference
            )
            for oddity in found[:_EXAMPLES]
        )
        more = f"; and {count - _EXAMPLES} more" if count > _EXAMPLES else ""
        lines.append(f"| {kind.value} | {count} | {shown}{more} |")
    lines += ["", f"All of them: `rag-assets bible oddities {code}`"]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def of_verse_embeddings(
    folder: Path, reports: Sequence[SpaceReport]
) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of one partition of ``verse_embeddings``: totals, then one row per space."""
    seconds = sum(report.seconds for report in reports)
    written = sum(report.embedded + report.reused for report in reports)
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(max(report.rows for report in reports)),
        "embedded": dg.MetadataValue.int(sum(report.embedded for report in reports)),
        "reused": dg.MetadataValue.int(sum(report.reused for report in reports)),
        "failed": dg.MetadataValue.int(sum(len(report.rejected) for report in reports)),
        "tokens": dg.MetadataValue.int(sum(report.tokens for report in reports)),
        "cost_usd": _cost(together(report.cost_usd for report in reports)),
        "requests": dg.MetadataValue.int(sum(report.requests for report in reports)),
        "retries": dg.MetadataValue.int(sum(report.retries for report in reports)),
        "rate_limited": dg.MetadataValue.int(sum(report.rate_limited for report in reports)),
        "rows_per_second": dg.MetadataValue.float(round(written / seconds, 1) if seconds else 0.0),
        "spaces": dg.MetadataValue.md(_spaces_table(reports)),
        "provider": dg.MetadataValue.md(_providers(reports)),
        "refused_texts": dg.MetadataValue.md(_refused(reports)),
        "source": dg.MetadataValue.path(folder.resolve()),
    }


def of_batches(reports: Sequence[SpaceReport]) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of a partition whose texts are in the provider's batches."""
    due = [report.due_at for report in reports if report.due_at]
    return {
        "waiting": dg.MetadataValue.int(sum(report.waiting for report in reports)),
        "due": dg.MetadataValue.timestamp(max(due)) if due else dg.MetadataValue.null(),
        "commands": dg.MetadataValue.md("`rag-assets batches list`"),
    }


def _cost(cost_usd: float | None) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.float(cost_usd) if cost_usd is not None else dg.MetadataValue.null()


def _spaces_table(reports: Sequence[SpaceReport]) -> str:
    names = "space", "model", "type", "rows", "embedded", "reused", "refused", "tokens", "USD", "s"
    lines = [f"| {' | '.join(names)} |", "|---|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for report in reports:
        space = report.space
        cells = (
            f"{space.role} (s{space.space_id})",
            space.spec.model,
            f"{space.spec.precision}({space.spec.dimensions})",
            report.rows,
            report.embedded,
            report.reused,
            len(report.rejected),
            report.tokens,
            amount(report.cost_usd),
            f"{report.seconds:.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _providers(reports: Sequence[SpaceReport]) -> str:
    lines = [f"- {report.space.role}: {report.provider}" for report in reports if report.provider]
    return "\n".join(lines) or "nothing was requested"


def _refused(reports: Sequence[SpaceReport]) -> str:
    lines = [
        f"- {report.space.role}: {_cell(reason)}"
        for report in reports
        for reason in report.rejected[:_EXAMPLES]
    ]
    return "\n".join(lines) or "none"
