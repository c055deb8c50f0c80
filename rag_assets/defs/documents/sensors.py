"""Watches the inbox, and starts runs for what waits: the queue itself is in PostgreSQL."""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from rag_assets.corpus.documents.inbox import open_inbox
from rag_assets.defs.documents.jobs import document_processing
from rag_assets.defs.documents.partitions import DOCUMENTS, documents
from rag_assets.defs.failures import as_failures
from rag_assets.defs.lanes import LANE_TAG
from rag_assets.defs.resources import Corpus
from rag_assets.documents.intake import take_in
from rag_assets.documents.rules import LARGE, PROCESSING
from rag_assets.settings import Settings
from rag_assets.store.document_queue import living_runs
from rag_assets.store.documents import queue_counts

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_PATIENCE = 2  # leases after which a run without any document counts as dead


@dataclass(frozen=True)
class Lane:
    """What a tick knows of one lane.

    :param waiting: documents that a run could take now.
    :param runs: that are queued or at work.
    :param most_runs: that may be.
    :param batch: documents that one run takes.
    """

    name: str
    waiting: int
    runs: int
    most_runs: int
    batch: int

    @property
    def wanted(self) -> int:
        """Runs to start: enough for all that waits, as far as the lane allows."""
        enough = min(self.most_runs, math.ceil(self.waiting / self.batch))
        return max(0, enough - self.runs)


@dg.sensor(
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes in what was dropped, changed, renamed or removed in RAG_DOCUMENTS_URL, and "
    "adds a partition for each new document.",
)
def document_inbox(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[Corpus]
) -> dg.SensorResult:
    """One tick: list the inbox and, where it changed, bring the documents' table up to date."""
    with as_failures():
        intake = take_in(
            corpus.database, open_inbox(corpus.settings), corpus.settings, cursor=context.cursor
        )
    for line in intake.remarks:
        context.log.warning(line)
    known = set(context.instance.get_dynamic_partitions(DOCUMENTS)) if intake.new_keys else set()
    new = [key for key in intake.new_keys if key not in known]
    if intake.changed:
        context.log.info(str(intake))
    return dg.SensorResult(
        cursor=intake.cursor,
        skip_reason=None if new else dg.SkipReason(str(intake)),
        dynamic_partitions_requests=[documents.build_add_request(new)] if new else [],
    )


@dg.sensor(
    job=document_processing,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts runs for the documents that wait, lane by lane: a large document never "
    "holds up small ones. A document whose run died waits again once its lease is over, and the "
    "run, which Dagster may show as started for ever, is ended.",
)
def document_queue(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[Corpus]
) -> list[dg.RunRequest] | dg.SkipReason:
    """One tick: count what waits and what is under way, request what is missing."""
    with as_failures(), corpus.database.connect() as connection:
        counts = queue_counts(connection)
        living = living_runs(connection)
    patience_s = _PATIENCE * corpus.settings.rag_document_lease_s
    at_work = sum(lane.running for lane in counts.values())
    if at_work < corpus.settings.rag_max_concurrent_jobs:  # else a living run waits for its turn
        for lane in counts.values():
            if lane.claimable:
                end_dead_runs(context, lane.lane, living, patience_s)
    lanes = [
        Lane(
            name,
            waiting=counts[name].claimable if name in counts else 0,
            runs=_runs(context.instance, name),
            most_runs=most_runs,
            batch=batch,
        )
        for name, most_runs, batch in _rules(corpus.settings)
    ]
    requests = [
        dg.RunRequest(
            run_config={"ops": {"document_lane": {"config": {"lane": lane.name}}}},
            tags={LANE_TAG: lane.name},
        )
        for lane in lanes
        for _ in range(lane.wanted)
    ]
    return requests or dg.SkipReason(_told(lanes))


def end_dead_runs(
    context: dg.SensorEvaluationContext, lane: str, living: Collection[str], patience_s: float
) -> None:
    """End the runs of a lane that hold no document for long, although some are there to be taken.

    A run whose process was killed together with Dagster's own would keep its place in the lane.
    """
    filters = dg.RunsFilter(
        job_name=document_processing.name,
        tags={LANE_TAG: lane},
        statuses=[dg.DagsterRunStatus.STARTED],
    )
    for record in context.instance.get_run_records(filters):
        run, started = record.dagster_run, record.start_time
        if run.run_id in living or started is None or time.time() - started < patience_s:
            continue
        context.log.warning(f"run {run.run_id} started long ago and holds no document: ended")
        context.instance.report_run_failed(
            run, f"no sign of life for {patience_s:.0f} s while documents wait: ended by the queue"
        )


def _runs(instance: dg.DagsterInstance, lane: str) -> int:
    return instance.get_runs_count(
        dg.RunsFilter(job_name=document_processing.name, tags={LANE_TAG: lane}, statuses=_UNDER_WAY)
    )


def _told(lanes: Sequence[Lane]) -> str:
    return "; ".join(f"{lane.name}: {lane.waiting} wait, {lane.runs} runs" for lane in lanes)


def _rules(settings: Settings) -> tuple[tuple[str, int, int], ...]:
    """Each lane with its most runs, and the documents of one run."""
    return (
        (PROCESSING, settings.rag_document_runs, settings.rag_documents_per_run),
        (LARGE, settings.rag_large_document_runs, 1),
    )
