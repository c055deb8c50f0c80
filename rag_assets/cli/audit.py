"""``rag-assets audit``: what is stored agrees with itself, its sources and Dagster."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Annotated

import typer

from rag_assets.audit.model import KINDS, AuditReport, described
from rag_assets.audit.repair import RepairPlan, Status
from rag_assets.audit.run import run_audit
from rag_assets.cli.opening import open_corpus
from rag_assets.cli.options import Yes, within
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    remark,
    show_json,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import planned_cost
from rag_assets.vectors.sql.spaces import ROLES
from rag_assets.visible import count

if TYPE_CHECKING:
    from rag_assets.postgres.database import Database


def audit(
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what is found, after showing the price.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            **within("rag_audit_sample"),
            help="Number of texts of each version to embed again. Default: RAG_AUDIT_SAMPLE.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Compare sources, texts, vectors, codes, the release and Dagster's partitions.

    Exits with 1 if differences are left.

    ```
    rag-assets audit
    rag-assets audit --repair
    ```
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()

        shown: list[AuditReport] = []

        def approve(report: AuditReport, plan: RepairPlan) -> bool:
            if not as_json:
                shown.append(report)
                _show(report)
                out.print(_planned(settings, plan))
            return yes or typer.confirm("Repair?")

        report = run_audit(
            database,
            settings,
            run_id=f"cli-{os.getpid()}",
            status=_status(settings, database),
            approve=approve if repair else None,
            sample=sample,
            progress=progress,
        )
    if as_json:
        show_json(_as_json(report))
    else:
        if report not in shown:
            _show(report)
        if report.repaired:
            out.print(f"{count(report.repaired, 'difference')} repaired")
        if report.differences and not repair:
            out.print("`rag-assets audit --repair` repairs them, after showing the price")
    raise typer.Exit(1 if report.differences else 0)


def _status(settings: Settings, database: Database) -> Status | None:
    """How partitions are compared; ``None`` where Dagster is not set up."""
    from rag_assets.defs.launch import partition_status  # noqa: PLC0415 -- Dagster: 2 s

    try:
        return partition_status(settings, database)
    except ConfigurationError as error:
        remark(f"partitions are not compared: {error}")
        return None


def _as_json(report: AuditReport) -> dict[str, object]:
    shown = dataclasses.asdict(dataclasses.replace(report, differences=()))
    return shown | {"differences": [described(one) for one in report.differences]}


def _show(report: AuditReport) -> None:
    rows = [
        {
            "difference": one.kind,
            "where": f"{one.scope} {one.table.name if one.table else ''}".rstrip(),
            "count": one.count,
            "examples": "; ".join(one.examples),
            "correction": one.reason or KINDS[one.kind].remedy,
        }
        for one in report.differences
    ]
    if rows:
        show_table(rows, empty="")
    for note in report.notes:
        remark(note)
    out.print(plain(report))


def _planned(settings: Settings, plan: RepairPlan) -> str:
    cost = planned_cost(settings, ROLES, plan.cost_usd)
    left = f"; {count(len(plan.left), 'kind')} cannot be repaired" if plan.left else ""
    texts = count(plan.texts, "text")
    return f"the repair embeds {texts}, about {plan.tokens:,} tokens, {cost}{left}"
