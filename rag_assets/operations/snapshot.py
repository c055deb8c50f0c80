"""A snapshot of the system: dependencies, lanes, runs, keys, index, release. Pure data.

:mod:`.survey` reads it, and :mod:`.diagnosis` turns it into findings, which the doctor prints and
the recovery acts on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rag_assets.audit.sql.reports import StoredAudit
from rag_assets.documents.sql.lanes import KeyState, Pause, Share
from rag_assets.embedding.sql.batches import StoredBatch
from rag_assets.lanes import DOCUMENT_LANES, Lane
from rag_assets.operations.backfill import OpenWindow
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.sql.dagster_state import EndedRun
from rag_assets.operations.sql.failed_runs import Failing
from rag_assets.operations.sql.heavy_documents import HeavyDocument
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.postgres.migrations import ServerVersions
from rag_assets.release.refusal import FixGroup
from rag_assets.retrieval.sql.live_recall import LiveRecall


@dataclass(frozen=True)
class LaneState:
    """One lane: its documents, its runs, and its recent results.

    Runs tagged with an unknown lane are listed under that name, runs without a lane as ``others``.

    :param claimable: waiting documents that are due.
    :param longest: the document that has been in processing for longest.
    :param last_completed_at: within RAG_STAGNATION_S, or ``None``.
    :param succeeded: attempts of the last ten minutes; ``failed``: those that ended otherwise.
    :param mean_s: mean duration of those that succeeded; ``None`` if none did.
    :param paused: ``None`` if it is not paused.
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
        """Runs queued or in progress."""
        return self.runs_queued + self.runs_at_work

    @property
    def paused_by_operator(self) -> bool:
        return self.paused is not None and self.paused.paused_by == "command"


@dataclass(frozen=True)
class IndexState:
    """How one table is searched: by its index, by a scan of codes, or exactly.

    :param code_set: the codes scanned if there is no index; ``None`` for an exact search.
    :param changed: share of the rows at build time that changed since.
    """

    table: str
    generation: int | None
    lists: int | None
    rows_at_build: int
    changed: float
    code_set: int | None = None


@dataclass(frozen=True)
class ReleaseState:
    """The active release, and what the gate would decide now.

    :param fixes: why the gate would refuse the next release, by what fixes it; empty if it would
        pass.
    :param unverified: vectors that no embedding run wrote, by version, or ``documents``.
    """

    release_id: int | None
    activated_at: datetime | None
    fixes: tuple[FixGroup, ...] = ()
    unverified: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CorpusState:
    """State of the corpus database apart from the queue, read for the doctor only.

    :param dead: dead letters by error class.
    :param failing: jobs whose last run failed, and incidents that may explain it.
    :param providers: profile of the server by role, where it was probed.
    :param live_recall: of the sampled searches of users, by plan.
    :param batches: the provider's batches that are open, or failed within the last day.
    :param window: of the weekend backfill, if one is open.
    :param audit: the last audit, if there was one.
    :param watches: processes of `rag-assets watch`.
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
    live_recall: tuple[LiveRecall, ...] = ()
    batches: tuple[StoredBatch, ...] = ()
    window: OpenWindow | None = None
    audit: StoredAudit | None = None
    watches: int = 0


OF_RECOVERY = (
    *("silent_runs", "unseen_runs", "faults", "failures"),
    *("rate_limited", "answered", "heartbeats"),
)
"""Fields of a snapshot that are read for the recovery only."""


@dataclass(frozen=True)
class Snapshot:
    """State of the system at one time. Fields that could not be read are empty.

    :param now: PostgreSQL's clock if it answers; all times are in that clock.
    :param probes: results for the dependencies that were probed.
    :param daemon_was_seen: whether the daemon has ever sent a heartbeat, and so is meant to run.
    :param unread: why the database cannot be read; ``pending``: migrations that are not applied.
    :param server_started_at: PostgreSQL's start.
    :param lanes: the document lanes, and any other with runs or a pause.
    :param leases_over: documents whose lease has expired.
    :param silent_runs: by lane, runs that count as started but have held no document for long.
    :param unseen_runs: runs that count as started but have no database session, with their lane or
        job.
    :param faults: runs whose process died since the last check and that are retried; a final
        attempt is a failed job instead.
    :param failures: attempts that failed since the last check, by error class.
    :param keys: the keys in use.
    :param rate_limited: new 429s, by key; ``answered``: new answers, over all keys.
    :param heartbeats: seconds since the last heartbeat of each part of Dagster's daemon.
    :param unknown_names: a sentence for each ``RAG_*`` name that is no setting.
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
    unknown_names: tuple[str, ...] = ()

    @property
    def document_lanes(self) -> tuple[LaneState, ...]:
        return tuple(lane for lane in self.lanes if lane.lane in DOCUMENT_LANES)

    @property
    def wanted(self) -> tuple[LaneState, ...]:
        """Document lanes that no operator has paused: work is expected to progress there."""
        return tuple(lane for lane in self.document_lanes if not lane.paused_by_operator)

    @property
    def paused(self) -> Mapping[str, Pause]:
        """Every paused lane, including the Bible's."""
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
