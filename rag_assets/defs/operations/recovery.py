"""The sensor that checks and repairs the queue every 30 s."""

import time
from datetime import UTC, datetime

import dagster as dg

from rag_assets.defs.documents.jobs import document_processing, request_documents_run
from rag_assets.defs.documents.reporting import report_published
from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.dagster_runs import DagsterRuns, repeat_failures
from rag_assets.defs.operations.incidents import incident_reports, incidents_partitions
from rag_assets.defs.resources import CorpusResource
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.operations.memory import Memory
from rag_assets.operations.messages import Log
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.watching import Watched, missed, watch
from rag_assets.settings.model import Settings

_REPORTING_S = 5.0
"""Time per tick for unreported documents: enough to report about 200, or to compare 5,000."""


@dg.sensor(
    jobs=[document_processing, incident_reports],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices within a minute or two that work has stopped, and fixes it: ends runs "
    "that show no activity, recovers lost documents and workers, slows down while the provider "
    "limits the rate, pauses lanes whose dependency is down. Each action is recorded and bounded; "
    "an operator is notified of what it cannot fix. Records incidents, and starts their reports.",
)
def queue_recovery(
    context: dg.SensorEvaluationContext, watched_corpus: dg.ResourceParam[CorpusResource]
) -> dg.SensorResult:
    """Check once."""
    memory = Memory.from_cursor(context.cursor)
    settings, log = watched_corpus.settings, context.log.warning
    with as_failures():
        try:
            seen = watch(
                watched_corpus.database,
                settings,
                memory,
                DagsterRuns(context.instance, settings),
                log=log,
            )
            _end_lost_starts(context.instance, settings, log)
            late = report_published(
                context.instance, watched_corpus.database, patience_s=_REPORTING_S
            )
            if late:
                log(f"{late} ready documents of runs that had ended early were reported to Dagster")
            for repeated in repeat_failures(context.instance):
                log(repeated)
        except DatabaseUnavailableError as error:
            log(str(error))
            seen = missed(settings, memory, datetime.fromtimestamp(time.time(), UTC), log=log)
    return _answer(seen)


def _end_lost_starts(instance: dg.DagsterInstance, settings: Settings, log: Log) -> None:
    """Fail runs that got lost on their way to a Celery worker."""
    if settings.rag_celery_broker_url is not None:
        from rag_assets.defs.celery import end_lost_starts  # noqa: PLC0415 -- Celery is an extra

        for lost in end_lost_starts(instance):
            log(lost)


def _answer(seen: Watched) -> dg.SensorResult:
    requests = [request_documents_run(lane) for lane in seen.start]
    requests += [_report(incident) for incident in seen.reports]
    names = [incident.name for incident in seen.reports]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(seen.summary),
        cursor=seen.memory.to_cursor(),
        dynamic_partitions_requests=[incidents_partitions.build_add_request(names)]
        if names
        else [],
    )


def _report(incident: Incident) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{incident.name}:{incident.state}",
        job_name=incident_reports.name,
        partition_key=incident.name,
    )
