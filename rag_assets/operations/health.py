"""What one look at the system sees: lanes, runs, keys, dependencies. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rag_assets.documents.sql import attempts as document_attempts
from rag_assets.documents.sql import lanes as lane_control
from rag_assets.documents.sql.attempts import Ended
from rag_assets.documents.sql.documents import LaneCounts, queue_counts
from rag_assets.documents.sql.lanes import KeyState, Pause, Share
from rag_assets.lanes import DOCUMENT_LANES, Lane
from rag_assets.operations.dependencies import (
    DependencyProbe,
    probe_broker,
    probe_inbox,
    probe_provider,
    probe_vectors,
    probe_workers,
)
from rag_assets.operations.sql import queue_health, samples
from rag_assets.operations.sql.dagster_state import EndedRun, RunCount
from rag_assets.operations.sql.queue_health import AtWork, Server
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings

COMPLETED = ("succeeded", "dead")
"""How an attempt ends after which its document no longer waits."""


@dataclass(frozen=True)
class LaneHealth:
    """Whether work goes on in one lane: its documents, its runs, and what holds it back.

    :param runs: that are queued or at work.
    :param last_completed_at: within the time in which stagnation would show.
    :param longest: the document that has been worked on for longest.
    """

    documents: LaneCounts
    runs: int = 0
    last_completed_at: datetime | None = None
    longest: AtWork | None = None
    paused: Pause | None = None

    @property
    def lane(self) -> Lane:
        return self.documents.lane

    @property
    def held_by_person(self) -> bool:
        return self.paused is not None and self.paused.paused_by == "command"


@dataclass(frozen=True)
class Health:
    """The system as one look saw it.

    :param server: PostgreSQL's clock, which all times are of, and its start.
    :param leases_over: documents that a run left behind.
    :param silent_runs: by lane, runs that Dagster takes for started and that hold nothing for long.
    :param unseen_runs: runs that count as started and have no session at the database now, with
        their lane or job.
    :param faults: runs whose process ended by itself, new since the look before, and that are
        started again: the last try is a failed job.
    :param failures: attempts that failed since the look before, by class of error.
    :param rate_limited: new 429s, by key; ``answered``: new answers, of all keys.
    :param probes: of the dependencies that were looked at.
    :param heartbeats: seconds since each part of Dagster's daemon showed that it lives.
    :param paused: every paused lane, that of the Bible, too.
    """

    server: Server
    lanes: tuple[LaneHealth, ...]
    leases_over: int = 0
    silent_runs: Mapping[Lane, tuple[str, ...]] = field(default_factory=dict)
    unseen_runs: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[EndedRun, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[KeyState, ...] = ()
    rate_limited: Mapping[str, int] = field(default_factory=dict)
    answered: int = 0
    shares: tuple[Share, ...] = ()
    probes: tuple[DependencyProbe, ...] = ()
    heartbeats: Mapping[str, float] = field(default_factory=dict)
    paused: Mapping[Lane, Pause] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.server.now

    @property
    def wanted(self) -> tuple[LaneHealth, ...]:
        """Lanes that no person has paused: those in which work should go on."""
        return tuple(lane for lane in self.lanes if not lane.held_by_person)

    @property
    def queue(self) -> int:
        return sum(lane.documents.waiting for lane in self.lanes)

    @property
    def active(self) -> int:
        return sum(lane.documents.running for lane in self.lanes)

    @property
    def last_completed_at(self) -> datetime | None:
        return max(
            (lane.last_completed_at for lane in self.lanes if lane.last_completed_at), default=None
        )


def look(
    connection: Connection,
    settings: Settings,
    *,
    since: datetime | None,
    runs: Sequence[RunCount],
    new_runs: Sequence[EndedRun],
    silent_runs: Mapping[Lane, tuple[str, ...]],
    unseen_runs: Mapping[str, str],
    heartbeats: Mapping[str, datetime],
    probes: Sequence[DependencyProbe],
) -> Health:
    """Read the queue, and note a sample of it. One pass over the documents, the rest by indexes.

    :param since: when the look before was; ``None`` for the first one.
    """
    server = queue_health.about_server(connection)
    window = server.now - timedelta(seconds=settings.rag_stagnation_s)
    since = since or server.now
    ended = document_attempts.ended_since(connection, min(window, since))
    counts = queue_counts(connection)
    paused = lane_control.paused_lanes(connection)
    longest = queue_health.longest_at_work(connection)
    succeeded = {
        totals.lane: totals.attempts
        for totals in document_attempts.totals(connection)
        if totals.outcome == "succeeded"
    }
    samples.add_queue_samples(connection, DOCUMENT_LANES, counts, succeeded)
    bought = samples.add_provider_samples(connection)
    return Health(
        server=server,
        lanes=tuple(
            LaneHealth(
                counts.get(lane, LaneCounts(lane)),
                runs=sum(count.runs for count in runs if count.lane == lane),
                last_completed_at=_last_completed(ended, lane),
                longest=longest.get(lane),
                paused=paused.get(lane),
            )
            for lane in DOCUMENT_LANES
        ),
        leases_over=queue_health.leases_over(connection),
        silent_runs=silent_runs,
        unseen_runs=unseen_runs,
        faults=tuple(run for run in new_runs if run.fault and run.cause is None),
        failures=_failures(document_attempts.ended_since(connection, since)),
        keys=lane_control.key_states(connection),
        rate_limited={one.key_fingerprint: one.rate_limited for one in bought if one.rate_limited},
        answered=sum(one.requests for one in bought),
        shares=lane_control.provider_shares(connection),
        probes=tuple(probes),
        paused=paused,
        heartbeats={part: (server.now - seen).total_seconds() for part, seen in heartbeats.items()},
    )


def look_at_dependencies(
    database: Database, settings: Settings, *, provider: bool
) -> tuple[DependencyProbe, ...]:
    """Those without which no document can be processed, but the database, which was asked before.

    :param provider: whether to ask it, too: only where that matters now.
    """
    # A disk that runs full is an alert's affair: work goes on until it is full.
    roomy = settings.model_copy(update={"rag_disk_free_gb": 0.0})
    probes = [
        probe_vectors(database, timeout_s=settings.rag_probe_timeout_s),
        probe_inbox(roomy),
    ]
    if settings.rag_celery_broker_url is not None:
        probes += [probe_broker(settings), probe_workers(settings)]
    return (*probes, probe_provider(settings)) if provider else tuple(probes)


def _last_completed(ended: Iterable[Ended], lane: Lane) -> datetime | None:
    return max(
        (one.last_at for one in ended if one.lane == lane and one.outcome in COMPLETED),
        default=None,
    )


def _failures(ended: Iterable[Ended]) -> dict[str, int]:
    failures: dict[str, int] = {}
    for one in ended:
        if one.error_class and one.outcome != "succeeded":
            failures[one.error_class] = failures.get(one.error_class, 0) + one.attempts
    return failures
