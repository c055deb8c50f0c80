"""The asset ``corpus_audit``: what is stored agrees with itself, its sources and Dagster."""

import dagster as dg
from pydantic import Field

from rag_assets.audit.model import KINDS, AuditReport
from rag_assets.audit.repair import RepairPlan, Status
from rag_assets.audit.run import run_audit
from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.partition_status import correct_partitions, untrue_partitions
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_config import RunConfig
from rag_assets.defs.run_log import run_log
from rag_assets.vectors.prices import dollars


class AuditConfig(RunConfig):
    """Empty fields leave the choice to the settings (see docs/operations/audit.md)."""

    repair: bool | None = Field(
        None, description="Repair what is found. Setting: RAG_AUDIT_REPAIR (false)."
    )
    sample: int | None = Field(
        None,
        ge=0,
        le=100_000,
        description="Texts of each version that are embedded again. Setting: RAG_AUDIT_SAMPLE.",
    )


def status_of(instance: dg.DagsterInstance, corpus: CorpusResource) -> Status:
    """How partitions are compared and corrected."""
    return Status(
        compare=lambda versions: untrue_partitions(instance, corpus.database, versions),
        correct=lambda found: correct_partitions(instance, corpus.database, corpus.settings, found),
    )


@dg.asset(
    group_name="operations",
    kinds={"python", "postgres", "openai"},
    owners=OWNERS,
    tags={"costs": "tokens"},
    code_version="1",
    metadata={"dagster/table_name": "audits"},
)
@as_failures()
def corpus_audit(
    context: dg.AssetExecutionContext,
    config: AuditConfig,
    corpus: dg.ResourceParam[CorpusResource],
) -> dg.MaterializeResult[None]:
    """Compare sources, texts, vectors, codes, the release and the partitions with each other.

    Differences are reported by kind, with examples and what corrects them. A sample of the texts is
    embedded again, within RAG_AUDIT_BUDGET_USD. Nothing is repaired unless the run or
    RAG_AUDIT_REPAIR asks for it.
    """

    def approve(_: AuditReport, plan: RepairPlan) -> bool:
        context.log.info(
            f"repairing {len(plan.differences)} kinds of differences: {plan.texts} texts, "
            f"{dollars(plan.cost_usd)}"
        )
        return True

    wanted = corpus.settings.rag_audit_repair if config.repair is None else config.repair
    with run_log(), corpus.reporting(context.log.info) as progress:
        report = run_audit(
            corpus.database,
            corpus.settings,
            run_id=context.run.run_id,
            status=status_of(context.instance, corpus),
            approve=approve if wanted else None,
            sample=config.sample,
            progress=progress,
        )
    for one in report.differences:
        context.log.warning(str(one))
    return dg.MaterializeResult(metadata=_of_audit(report))


def _of_audit(report: AuditReport) -> dict[str, dg.MetadataValue | int]:
    lines = ["| difference | where | rows | examples | correction |", "|---|---|---:|---|---|"]
    lines += [
        f"| {one.kind} | {one.scope} {one.space} | {one.count} | {'; '.join(one.examples)} | "
        f"{one.reason or KINDS[one.kind].remedy} |"
        for one in report.differences
    ]
    notes = "\n".join(f"- {note}" for note in report.notes)
    return {
        "differences": report.count,
        "repaired": report.repaired,
        "rows": report.rows,
        "sampled": report.sampled,
        **({"found": dg.MetadataValue.md("\n".join(lines))} if report.differences else {}),
        **({"not_compared": dg.MetadataValue.md(notes)} if notes else {}),
    }


audit_job = dg.define_asset_job(
    "audit",
    selection=dg.AssetSelection.assets(corpus_audit),
    description="Audit the corpus: compare everything that is stored, and report differences.",
)
