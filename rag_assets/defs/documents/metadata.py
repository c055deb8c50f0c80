"""Metadata of each document."""

from collections.abc import Sequence

import dagster as dg

from rag_assets.defs.columns import VECTOR_COLUMNS
from rag_assets.documents.corpora import asset_name
from rag_assets.documents.publishing import DocumentOutcome, RunSummary
from rag_assets.documents.report import losses, replaced_characters
from rag_assets.vectors.sql.tables import DOCUMENTS


def chunks_of(corpus: str) -> dg.AssetKey:
    """The asset of a corpus' passages."""
    return dg.AssetKey(asset_name(corpus, "chunks"))


def embeddings_of(corpus: str) -> dg.AssetKey:
    """The asset of their vectors."""
    return dg.AssetKey(asset_name(corpus, "embeddings"))


CHUNKS, EMBEDDINGS = chunks_of(DOCUMENTS), embeddings_of(DOCUMENTS)
CHUNKS_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("chunk_id", "bigint", constraints=dg.TableColumnConstraints(unique=True)),
        dg.TableColumn("document_id", "bigint", description="The document, in `documents`."),
        dg.TableColumn("position", "integer", description="From 1, in the order of the document."),
        dg.TableColumn("page", "integer", description="Where it begins; empty without pages."),
        dg.TableColumn("heading", "text[]", description="Headings above it, the outermost first."),
        dg.TableColumn("text", "text", description="The passage, as it is embedded and returned."),
        dg.TableColumn("tokens", "integer", description="Tokens of the text."),
        dg.TableColumn("language", "text", description="BCP 47 tag."),
    ]
)
EMBEDDINGS_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("chunk_id", "bigint", constraints=dg.TableColumnConstraints(unique=True)),
        dg.TableColumn("document_key", "text", description="The document's partition."),
        *VECTOR_COLUMNS,
    ]
)


def materializations(outcome: DocumentOutcome) -> tuple[dg.AssetMaterialization, ...]:
    """Return the materialization events of a ready document, one per asset."""
    return tuple(
        dg.AssetMaterialization(key, partition=outcome.key, metadata=shown)
        for key, shown in (
            (chunks_of(outcome.corpus), of_chunks(outcome)),
            (embeddings_of(outcome.corpus), of_embeddings(outcome)),
        )
    )


def of_run(
    summary: RunSummary, rejected: Sequence[DocumentOutcome]
) -> dict[str, dg.MetadataValue | int]:
    """Of a run over many documents: how many by outcome, and those that were rejected by name.

    ``dead`` counts all dead letters; ``rejected`` are those of them whose file is at fault.
    """
    named = "\n".join(
        f"- {one.key}: {one.error_class}: {(one.error or '').removeprefix(f'{one.key}: ')}"
        for one in rejected
    )
    servers = "\n".join(f"- {server}" for server in summary.providers)
    return {
        "ready": summary.states["ready"] + summary.states["unchanged"],
        "rejected": summary.states["rejected"],
        "waiting": summary.states["waiting"],
        "dead": summary.states["rejected"] + summary.states["dead"],
        **({"rejected_documents": dg.MetadataValue.md(named)} if named else {}),
        **({"provider": dg.MetadataValue.md(servers)} if servers else {}),
    }


def of_chunks(outcome: DocumentOutcome) -> dict[str, dg.MetadataValue | str | int]:
    """Metadata of a document's chunks."""
    return {
        "title": outcome.title or outcome.key,
        "language": outcome.language or "und",
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.chunks),
        **({"pages": outcome.pages} if outcome.pages is not None else {}),
        **_report(outcome),
        **_seconds(outcome, "extract", "chunk"),
    }


def _report(outcome: DocumentOutcome) -> dict[str, dg.MetadataValue | str | int]:
    """How much text there is, and what is not in it; nothing where an older version has read it."""
    if outcome.characters is None:
        return {}
    lines = "\n".join(f"- {remark}" for remark in outcome.remarks)
    return {
        "characters": outcome.characters,
        "replaced_characters": replaced_characters(outcome.remarks),
        "losses": losses(outcome.remarks),
        **({"report": dg.MetadataValue.md(lines)} if lines else {}),
    }


def of_embeddings(
    outcome: DocumentOutcome,
) -> dict[str, dg.MetadataValue | str | int | float | None]:
    """Metadata of a document's vectors, with their cost."""
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.chunks),
        "tokens": outcome.tokens,
        "embedded": outcome.embedded,
        "reused": outcome.reused,
        "cost_usd": outcome.cost_usd,
        **_seconds(outcome, "embed", "store"),
    }


def _seconds(outcome: DocumentOutcome, *stages: str) -> dict[str, dg.MetadataValue]:
    return {
        f"{stage}_seconds": dg.MetadataValue.float(round(outcome.seconds[stage], 3))
        for stage in stages
        if stage in outcome.seconds
    }
