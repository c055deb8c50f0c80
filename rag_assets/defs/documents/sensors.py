"""Sensors that scan the inbox and start runs for waiting documents. The queue is in PostgreSQL."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from rag_assets.defs.documents.jobs import document_processing, request_documents_run
from rag_assets.defs.documents.partitions import DOCUMENTS, partitions_for
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.under_way import TAKES_WORK, queue_limit_warnings
from rag_assets.documents.corpora import asset_name, settings_for
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.sql.corpora import CorpusOptions, register_corpus
from rag_assets.documents.sql.documents import queue_counts
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.lanes import LANE_TAG, LARGE, PROCESSING, DocumentLane, runs_at_once
from rag_assets.visible import count


@dataclass(frozen=True)
class LaneRuns:
    """The runs of one lane, and the number that a tick requests.

    :param waiting: claimable documents.
    :param runs: runs queued or in progress, and not being canceled.
    :param max_runs: the lane's maximum.
    :param batch: number of documents per run.
    :param paused: why the lane is paused, if it is.
    """

    lane: DocumentLane
    waiting: int
    runs: int
    max_runs: int
    batch: int
    paused: str | None = None

    @property
    def wanted(self) -> int:
        """Number of runs to start: enough for all waiting documents, within the lane's maximum."""
        if self.paused is not None:
            return 0
        enough = min(self.max_runs, math.ceil(self.waiting / self.batch))
        return max(0, enough - self.runs)


def inbox_sensor(options: CorpusOptions) -> dg.SensorDefinition:
    """Build the sensor that scans the inbox of a corpus."""
    name = options.corpus
    where = "RAG_DOCUMENTS_URL" if name == DOCUMENTS else f"the inbox of {name}"

    @dg.sensor(
        name=asset_name(name, "inbox"),
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Records files added, changed, renamed or removed in {where}, and adds a "
        "partition for each new document.",
    )
    def inbox(
        context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
    ) -> dg.SensorResult:
        """Scan the inbox and record its changes."""
        with as_failures():
            if name != DOCUMENTS and _registered_now(corpus, options):
                # Searches learn of a new corpus within a second, before it has documents.
                waits = dg.SkipReason(f"{name} is registered: its inbox is scanned from now on")
                return dg.SensorResult(cursor=None, skip_reason=waits)
            settings = settings_for(corpus.settings, options)
            intake = take_in(
                corpus.database,
                open_inbox(settings),
                settings,
                corpus=name,
                cursor=context.cursor,
            )
        for line in intake.remarks:
            context.log.warning(line)
        known = set(context.instance.get_dynamic_partitions(name)) if intake.new_keys else set()
        new = [key for key in intake.new_keys if key not in known]
        if intake.changed:
            context.log.info(str(intake))
        return dg.SensorResult(
            cursor=intake.cursor,
            skip_reason=None if new else dg.SkipReason(str(intake)),
            dynamic_partitions_requests=[partitions_for(name).build_add_request(new)]
            if new
            else [],
        )

    return inbox


def _registered_now(corpus: CorpusResource, options: CorpusOptions) -> bool:
    with corpus.database.connect() as connection:
        return register_corpus(connection, options)


document_inbox = inbox_sensor(CorpusOptions(DOCUMENTS))


@dg.sensor(
    job=document_processing,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts runs for waiting documents, lane by lane: a large document never holds up "
    "small ones. A document whose run died is requeued once its lease expires. No run is started "
    "in a paused lane.",
)
def document_queue(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Count waiting documents and runs under way, and request the missing runs."""
    with as_failures(), corpus.database.connect() as connection:
        counts = queue_counts(connection)
        paused = paused_lanes(connection)
    for warning in queue_limit_warnings(context.instance, corpus.settings):
        context.log.warning(warning)
    lanes = [
        LaneRuns(
            name,
            waiting=counts[name].claimable if name in counts else 0,
            runs=_runs(context.instance, name),
            max_runs=runs_at_once(corpus.settings)[name],
            batch=batch,
            paused=paused[name].reason if name in paused else None,
        )
        for name, batch in ((PROCESSING, corpus.settings.rag_documents_per_run), (LARGE, 1))
    ]
    requests = [request_documents_run(found.lane) for found in lanes for _ in range(found.wanted)]
    return requests or dg.SkipReason(_summary(lanes))


def _runs(instance: dg.DagsterInstance, lane: DocumentLane) -> int:
    return instance.get_runs_count(
        dg.RunsFilter(job_name=document_processing.name, tags={LANE_TAG: lane}, statuses=TAKES_WORK)
    )


def _summary(lanes: Sequence[LaneRuns]) -> str:
    return "; ".join(
        f"{lane.lane}: {lane.waiting} waiting, {count(lane.runs, 'run')}"
        + (f", paused: {lane.paused}" if lane.paused is not None else "")
        for lane in lanes
    )
