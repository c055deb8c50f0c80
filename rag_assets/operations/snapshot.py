"""What one look at the world sees: dependencies, lanes, runs, keys, index, release. Pure data.

:mod:`.survey` reads it, :mod:`.findings` judges it; the doctor prints what is found, the recovery
acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rag_assets.documents.sql.lanes import KeyState, Pause, Share
from rag_assets.lanes import DOCUMENT_LANES, Lane
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.sql.dagster_state import EndedRun
from rag_assets.operations.sql.failed_runs import Failing
from rag_assets.operations.sql.heavy_documents import HeavyDocument
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.postgres.migrations import ServerVersions


@dataclass(frozen=True)
class LaneState:
    """One lane: its documents, its runs, and how its work went lately.

    A name that is no lane of ours stands for the runs that have that tag, ``others`` for those that
    have none.

    :param claimable: of the waiting, those whose time has come.
    :param longest: the document that has been worked on for longest.
    :param last_completed_at: within the time in which stagnation would show.
    :param succeeded: attempts of the last ten minutes; ``failed`` all that ended otherwise.
    :param mean_s: of those that succeeded; ``None`` without any.
    :param paused: ``None`` for a lane that is not.
    """

    lane: str
    waiting: int = 0
    claimable: int = 0
    running: int = 0
    dead: int = 0
    oldest_waiting_s: float = 0.0
    runs_queued: int = 0
    runs_at_work: int = 0
    longest: AtWork | None = None
    last_completed_at: datetime | None = None
    succeeded: int = 0
    failed: int = 0
    mean_s: float | None = None
    paused: Pause | None = None

    @property
    def runs(self) -> int:
        """That are queued or at work."""
        return self.runs_queued + self.runs_at_work

    @property
    def held_by_person(self) -> bool:
        return self.paused is not None and self.paused.paused_by == "command"


@dataclass(frozen=True)
class IndexState:
    """How one table is searched: by its index, by a scan of codes, or exactly.

    :param code_set: that is scanned where there is no index; ``None`` where there is none either.
    :param changed: share of the rows at build that changed since.
    """

    table: str
    generation: int | None
    lists: int | None
    rows_at_build: int
    changed: float
    code_set: int | None = None


@dataclass(frozen=True)
class ReleaseState:
    """What is served, and what the gate would say now.

    :param reasons: against another release; empty where the gate would let it through.
    :param unverified: vectors that no embedding run wrote, by version, or ``documents``.
    """

    release_id: int | None
    activated_at: datetime | None
    reasons: tuple[str, ...] = ()
    unverified: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CorpusState:
    """What the corpus' database says beside the queue: only the doctor has it read.

    :param dead: dead letters by class of error.
    :param failing: jobs whose last run failed, and what may explain it.
    :param providers: by role, what its server does, where that was probed.
    """

    heavy: tuple[HeavyDocument, ...]
    dead: Mapping[str, int]
    builds: int
    indexes: tuple[IndexState, ...]
    release: ReleaseState
    incident: Incident | None
    unsent_messages: int
    failing: Failing
    providers: Mapping[str, str]


OF_RECOVERY = (
    *("silent_runs", "unseen_runs", "faults", "failures"),
    *("rate_limited", "answered", "heartbeats"),
)
"""Fields of a snapshot that only the recovery has read."""


@dataclass(frozen=True)
class Snapshot:
    """The world as one look saw it. What a look cannot see is empty.

    :param now: PostgreSQL's clock where it answers, which all times are of.
    :param probes: of the dependencies that were looked at.
    :param daemon_was_seen: whether a sign of life of the daemon is kept: it is meant to run.
    :param unread: why the database cannot be read; ``pending``: migrations that are not applied.
    :param server_started_at: PostgreSQL's start.
    :param lanes: those of documents, and any other with runs or a pause.
    :param leases_over: documents that a run left behind.
    :param silent_runs: by lane, runs that Dagster takes for started and that hold nothing for long.
    :param unseen_runs: runs that count as started and have no session at the database now, with
        their lane or job.
    :param faults: runs whose process ended by itself, new since the look before, and that are
        started again: the last try is a failed job.
    :param failures: attempts that failed since the look before, by class of error.
    :param keys: those in use.
    :param rate_limited: new 429s, by key; ``answered``: new answers, of all keys.
    :param heartbeats: seconds since each part of Dagster's daemon showed that it lives.
    """

    now: datetime
    probes: tuple[DependencyProbe, ...] = ()
    daemon_was_seen: bool = False
    pending: tuple[str, ...] = ()
    unread: str | None = None
    versions: ServerVersions | None = None
    server_started_at: datetime | None = None
    lanes: tuple[LaneState, ...] = ()
    leases_over: int = 0
    silent_runs: Mapping[Lane, tuple[str, ...]] = field(default_factory=dict)
    unseen_runs: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[EndedRun, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    keys: tuple[KeyState, ...] = ()
    rate_limited: Mapping[str, int] = field(default_factory=dict)
    answered: int = 0
    shares: tuple[Share, ...] = ()
    heartbeats: Mapping[str, float] = field(default_factory=dict)
    corpus: CorpusState | None = None

    @property
    def document_lanes(self) -> tuple[LaneState, ...]:
        return tuple(lane for lane in self.lanes if lane.lane in DOCUMENT_LANES)

    @property
    def wanted(self) -> tuple[LaneState, ...]:
        """Lanes of documents that no person has paused: those in which work should go on."""
        return tuple(lane for lane in self.document_lanes if not lane.held_by_person)

    @property
    def paused(self) -> Mapping[str, Pause]:
        """Every paused lane, that of the Bible, too."""
        return {lane.lane: lane.paused for lane in self.lanes if lane.paused is not None}

    @property
    def queue(self) -> int:
        return sum(lane.waiting for lane in self.lanes)

    @property
    def active(self) -> int:
        return sum(lane.running for lane in self.lanes)

    @property
    def last_completed_at(self) -> datetime | None:
        return max(
            (lane.last_completed_at for lane in self.lanes if lane.last_completed_at), default=None
        )
