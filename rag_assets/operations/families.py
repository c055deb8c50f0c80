"""Names, labels and values of the metrics: figures in, Prometheus metric families out. Pure.

Label values known in advance (lanes, outcomes, keys) are always exported, with 0 if nothing
happened: no alert fires on an absent series, and one that starts at 1 has not increased. Labels are
bounded: no document, run or request has its own series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from rag_assets.documents.sql.attempts import AttemptTotals
from rag_assets.documents.sql.documents import LaneCounts
from rag_assets.errors import DocumentError, WorkerLostError
from rag_assets.lanes import DOCUMENT_LANES, LANES, Lane
from rag_assets.operations.family import Labels, Name, by_name, counter, gauge, single
from rag_assets.operations.sql.dagster_state import UNDER_WAY, RunTotals
from rag_assets.operations.sql.failed_runs import FailedRun
from rag_assets.operations.sql.metrics import (
    BatchFigures,
    DagsterFigures,
    ProviderFigures,
    QueueFigures,
)
from rag_assets.settings.model import Settings

OUTCOMES = ("succeeded", "failed", "dead", "lost", "returned", "superseded")
TO_THEIR_END = ("succeeded", "failed", "dead")
"""Outcomes with a meaningful duration: a lost attempt's is its lease, a returned one's is zero."""
OPEN_BATCHES = ("prepared", "submitted", "ended")
CLOSED_BATCHES = ("done", "failed", "given up")
INCIDENT_STATES = ("open", "recovering", "escalated")
DAEMON_PARTS = (
    *("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"),
    *("MONITORING", "EVENT_LOG_CONSUMER"),  # notice dead runs, and retry them
)
"""Parts without which work stops; one that never ran has an infinite age."""
NO_LANE = "none"


def _with(known: Sequence[Name], found: Iterable[Name]) -> tuple[Name, ...]:
    """Return the known names, then any others that were found."""
    return tuple(dict.fromkeys((*known, *found)))


def of_exporter(
    *, up: Mapping[str, bool], seconds: Mapping[str, float], free_bytes: Mapping[str, int]
) -> Iterator[Metric]:
    """Yield whether the databases answer, and how long reading took."""
    yield gauge(
        "rag_database_up",
        "1 if corpus or dagster answers. If it does not, all metrics read from it are absent.",
        ("database",),
        by_name(up),
    )
    yield gauge(
        "rag_exporter_read_seconds",
        "Duration of the last read of the database.",
        ("database",),
        by_name(seconds),
    )
    yield gauge(
        "rag_disk_free_bytes",
        "Free space: home (RAG_HOME), inbox if it is a folder, database if its server is on this "
        "machine.",
        ("place",),
        by_name(free_bytes),
    )


def of_settings(settings: Settings) -> Iterator[Metric]:
    """Yield the limits that alerts compare with, so that each is defined once."""
    yield single(
        "rag_disk_floor_bytes",
        "RAG_DISK_FREE_GB: free space under which a disk counts as full.",
        settings.rag_disk_free_gb * 1e9,
    )
    yield single(
        "rag_index_rebuild_share",
        "RAG_INDEX_REBUILD_SHARE: share of changed rows above which a rebuild is due.",
        settings.rag_index_rebuild_share,
    )
    yield single(
        "rag_live_recall_floor",
        "RAG_LIVE_RECALL_FLOOR: recall@10 that live searches must reach.",
        settings.rag_live_recall_floor,
    )
    yield single(
        "rag_backfill_budget_usd",
        "RAG_BACKFILL_BUDGET_USD: dollars that one window of the backfill may spend.",
        settings.rag_backfill_budget_usd,
    )


def of_queue(queue: QueueFigures) -> Iterator[Metric]:
    """Yield the metrics of the document lanes. A job is one attempt at one document."""
    lanes = _with(DOCUMENT_LANES, (*queue.lanes, *(total.lane for total in queue.attempts)))
    found = {lane: queue.lanes.get(lane, LaneCounts(lane)) for lane in lanes}
    waiting = {lane: counts.waiting for lane, counts in found.items()}
    due = {lane: counts.claimable for lane, counts in found.items()}
    running = {lane: counts.running for lane, counts in found.items()}
    oldest = {lane: counts.oldest_waiting_s for lane, counts in found.items()}
    yield gauge(
        "rag_queue_length",
        "Waiting documents, including those that a dead run left behind.",
        ("lane",),
        by_name(waiting),
    )
    yield gauge(
        "rag_queue_due",
        "Waiting documents that are due, without those waiting for a retry.",
        ("lane",),
        by_name(due),
    )
    yield single(
        "rag_watches",
        "Connected processes of rag-assets watch; without one, documents wait for ticks.",
        queue.watches,
    )
    yield gauge(
        "rag_oldest_waiting_seconds",
        "How long the oldest waiting document has waited; 0 if none waits.",
        ("lane",),
        by_name(oldest),
    )
    yield gauge(
        "rag_worker_active_jobs",
        "Documents being processed by a live run.",
        ("lane",),
        by_name(running),
    )
    yield from _jobs(queue, lanes)
    classes = [kind.__name__ for kind in (*DocumentError.__subclasses__(), WorkerLostError)]
    yield gauge(
        "rag_dead_letters",
        "Dead letters: documents that failed for good, by error class.",
        ("error_class",),
        [((name,), queue.dead.get(name, 0)) for name in _with(classes, queue.dead)],
    )
    yield gauge(
        "rag_lane_paused",
        "1 while no run is started in the lane; includes rag_bible.",
        ("lane",),
        [((lane,), lane in queue.paused) for lane in _with(LANES, queue.paused)],
    )


def _jobs(queue: QueueFigures, lanes: Sequence[Lane]) -> Iterator[Metric]:
    ended = {(total.lane, total.outcome): total for total in queue.attempts}
    counts = {
        (lane, outcome): ended[lane, outcome].attempts if (lane, outcome) in ended else 0
        for lane, outcome in product(lanes, OUTCOMES)
    }
    yield counter(
        "rag_jobs_started",
        "Jobs started: those that ended, with any outcome, and those running.",
        ("lane",),
        [
            ((lane,), sum(counts[lane, outcome] for outcome in OUTCOMES) + queue.held.get(lane, 0))
            for lane in lanes
        ],
    )
    yield counter(
        "rag_jobs_completed",
        "Jobs that ended, by outcome: see below.",
        ("lane", "status"),
        counts.items(),
    )
    family = HistogramMetricFamily(
        "rag_job_duration_seconds",
        "Duration of jobs that succeeded, failed or became dead letters.",
        labels=("lane",),
    )
    for lane in lanes:
        taken = [ended[lane, how] for how in TO_THEIR_END if (lane, how) in ended]
        family.add_metric((lane,), *_histogram(taken, queue.bounds))
    yield family


def _histogram(
    totals: Sequence[AttemptTotals], bounds: Sequence[float]
) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets, as Prometheus expects them, and the sum of seconds."""
    each = [sum(column) for column in zip(*(total.buckets for total in totals), strict=True)]
    cumulated = accumulate(each or [0] * (len(bounds) + 1))
    names = [*map(repr, map(float, bounds)), "+Inf"]
    return list(zip(names, cumulated, strict=True)), sum(total.seconds for total in totals)


def of_provider(provider: ProviderFigures, keys_in_use: Sequence[str]) -> Iterator[Metric]:
    """Yield requests, tokens and cost by the key's fingerprint."""
    use = {key.key: key for key in provider.keys}
    keys = _with(keys_in_use, use)
    for name, text in {
        "requests": "Requests that were answered.",
        "retries": "Requests sent again after a time-out or 5xx.",
        "rate_limited": "Requests refused by a rate limit (429).",
        "tokens": "Tokens paid for.",
        "cost_usd": "Dollars paid, as far as prices are known.",
    }.items():
        samples = [((key,), getattr(use[key], name) if key in use else 0) for key in keys]
        yield counter(f"rag_embedding_{name}", text, ("key",), samples)
    yield gauge(
        "rag_provider_key_resting",
        "1 while the key is cooling down after a 429.",
        ("key",),
        [((key,), key in provider.resting) for key in _with(keys, sorted(provider.resting))],
    )
    yield single(
        "rag_provider_share",
        "Usable share of batch size and concurrency; the recovery lowers it.",
        provider.share,
    )


def of_batches(batches: BatchFigures) -> Iterator[Metric]:
    """Yield the metrics of the provider's batches."""
    for metric, name, text, states in (
        (gauge, "rag_batches_open", "Batches under way at the provider.", OPEN_BATCHES),
        (counter, "rag_batches_closed", "Batches that ended.", CLOSED_BATCHES),
    ):
        counts = [((state,), batches.batches.get(state, 0)) for state in states]
        yield metric(name, text, ("state",), counts)
    waiting = "Texts in batches that have no answer yet."
    yield single("rag_batch_texts_waiting", waiting, batches.texts)
    overdue = "How long ago the most overdue batch was due; 0 if none is overdue."
    yield single("rag_batch_overdue_seconds", overdue, batches.overdue_s)


def of_operations(
    runs: Sequence[RunTotals],
    failing: Sequence[FailedRun],
    states: Collection[str],
    incidents: int,
) -> Iterator[Metric]:
    """Yield runs and incidents. Prometheus reserves the label ``job``; ours is ``dagster_job``."""
    yield counter(
        "rag_runs_completed",
        "Ended runs of Dagster. The label is not job, which Prometheus uses itself.",
        ("dagster_job", "status"),
        [((run.job, run.status), run.runs) for run in runs],
    )
    yield gauge(
        "rag_runs_failing",
        "Partitions whose last run failed for good, until a later run has done the failed step; "
        "absent if there are none. Failures in an outage count from 30 minutes after its end. A "
        "run of selected assets is named by the assets.",
        ("dagster_job", "error_class"),
        Counter((one.work, one.error_class) for one in failing).items(),
    )
    yield gauge(
        "rag_incident_open",
        "1 for each state that an open incident is in: open, recovering, escalated.",
        ("state",),
        [((state,), state in states) for state in INCIDENT_STATES],
    )
    yield counter("rag_incidents", "Incidents opened.", (), [((), incidents)])


def of_backfill(window_spent_usd: float) -> Iterator[Metric]:
    """Yield the spending of the backfill's current window."""
    yield single(
        "rag_backfill_window_spent_usd",
        "Spending of the latest window: payments of its runs, from the ledger, and the estimated "
        "cost of documents that it requeued. Without what runs under way are still expected to "
        "pay.",
        window_spent_usd,
    )


def of_dagster(dagster: DagsterFigures) -> Iterator[Metric]:
    """Yield the runs under way, and the heartbeats of the daemon that starts them."""
    counts: dict[Labels, int] = dict.fromkeys(product(LANES, UNDER_WAY), 0)
    for run in dagster.runs:
        place = run.lane or NO_LANE, run.status
        counts[place] = counts.get(place, 0) + run.runs
    yield gauge(
        "rag_runs",
        "Dagster's runs under way; lane none for runs without a lane.",
        ("lane", "status"),
        counts.items(),
    )
    ages = {part: float("inf") for part in DAEMON_PARTS} | dict(dagster.heartbeat_age_s)
    yield gauge(
        "rag_daemon_heartbeat_age_seconds",
        "Seconds since the last heartbeat of a part of Dagster's daemon; +Inf if there was none.",
        ("daemon",),
        by_name(ages),
    )
