"""Incident reports: the asset ``incident_report``, one partition per incident."""

import dagster as dg

from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.pictures import incident_picture
from rag_assets.defs.resources import CorpusResource
from rag_assets.operations.report import read_report

INCIDENTS = "incidents"
incidents_partitions = dg.DynamicPartitionsDefinition(name=INCIDENTS)
INCIDENT_REPORT = dg.AssetKey("incident_report")


@dg.asset(
    key=INCIDENT_REPORT,
    partitions_def=incidents_partitions,
    description="What happened in an incident: start, duration, queue, what was affected, the root "
    "cause with its evidence, the actions taken, how to prevent it; with a plot.",
    group_name="operations",
    kinds={"python", "postgres"},
    owners=OWNERS,
    code_version="1",
)
@as_failures()
def incident_report(
    context: dg.AssetExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.MaterializeResult[None]:
    """Rewrite the report from the recorded data."""
    report = read_report(corpus.database, context.partition_key, run_id=context.run.run_id)
    incident = report.incident
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.md(report.markdown),
            "queue_and_completions": dg.MetadataValue.md(incident_picture(report)),
            "state": incident.state,
            "cause": incident.cause,
            "subject": incident.subject,
            "seconds": round(report.seconds, 1),
            "longest_queue": incident.longest_queue,
            "documents_affected": incident.documents_affected,
            "documents_waited": incident.documents_waited,
            "failed_jobs": incident.failed_jobs,
            "retries": incident.retries,
            "retries_failed": incident.retries_failed,
        }
    )


incident_reports = dg.define_asset_job(
    "incident_reports",
    selection=dg.AssetSelection.assets(INCIDENT_REPORT),
    description="Write the report of an incident that was closed or escalated.",
)
