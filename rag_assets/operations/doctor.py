"""What is wrong, and what mends it: decided from facts. Pure.

The facts are gathered in :mod:`rag_assets.operations.facts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rag_assets.documents.sql.lanes import KeyState, Pause
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.job_failures import RETRY_CHANCE, split_explained
from rag_assets.operations.sql.failed_runs import Failing
from rag_assets.operations.sql.heavy_documents import HeavyDocument
from rag_assets.operations.sql.incidents import Incident
from rag_assets.postgres import pgvector_faults
from rag_assets.postgres.migrations import ServerVersions
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import DOCUMENTS

Level = Literal["problem", "warning", "information"]
_LEVELS: tuple[Level, ...] = ("problem", "warning", "information")
"""The worst first."""
SPEED_S = 600
"""Speed and mean time are those of the last ten minutes."""
QUOTA_S = 86_400
"""A key that was refused for want of quota longer ago may have been paid for."""


@dataclass(frozen=True)
class LaneFacts:
    """What is shown of one lane: its documents, its runs, its last ten minutes.

    A name that is no lane of ours stands for the runs that have that tag, ``others`` for those that
    have none.

    :param claimable: of the waiting, those whose time has come.
    :param slowest: the document that has been worked on for longest, and its seconds.
    :param succeeded: attempts; ``failed`` all that ended otherwise.
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
    slowest: tuple[str, float] | None = None
    succeeded: int = 0
    failed: int = 0
    mean_s: float | None = None
    paused: Pause | None = None


@dataclass(frozen=True)
class IndexFacts:
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
class ReleaseFacts:
    """What is served, and what the gate would say now.

    :param reasons: against another release; empty where the gate would let it through.
    :param unverified: vectors that no embedding run wrote, by version, or ``documents``.
    """

    release_id: int | None
    activated_at: datetime | None
    reasons: tuple[str, ...] = ()
    unverified: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CorpusFacts:
    """What the corpus' database says.

    :param dead: dead letters by class of error.
    :param share: of batch size and concurrency that may be used.
    :param failing: jobs whose last run failed, and what may explain it.
    """

    lanes: tuple[LaneFacts, ...]
    heavy: tuple[HeavyDocument, ...]
    dead: Mapping[str, int]
    keys: tuple[KeyState, ...]
    share: float
    builds: int
    indexes: tuple[IndexFacts, ...]
    release: ReleaseFacts
    incident: Incident | None
    unsent_messages: int
    failing: Failing


@dataclass(frozen=True)
class Facts:
    """All that a diagnosis is made of.

    :param pending: migrations that are not applied.
    :param daemon_was_seen: whether a sign of life of the daemon is kept: it is meant to run.
    :param versions: of the database's server; ``None`` where it cannot be read.
    :param stored: ``None`` where the database cannot be read, for the reason in ``unread``.
    """

    at: datetime
    probes: tuple[DependencyProbe, ...]
    pending: tuple[str, ...] = ()
    daemon_was_seen: bool = False
    versions: ServerVersions | None = None
    stored: CorpusFacts | None = None
    unread: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    :param command: what mends it, or shows more.
    """

    area: str
    level: Level
    told: str
    command: str


def diagnose(facts: Facts, settings: Settings) -> tuple[Finding, ...]:
    """What is wrong, the problems first; empty is well."""
    found = [*_dependencies(facts), *_database(facts), *_pgvector(facts, settings)]
    if facts.stored is not None:
        stored = facts.stored
        found += _incident(stored)
        found += _failing(stored, settings)
        alive = any(probe.name == "daemon" and probe.ok for probe in facts.probes)
        for lane in stored.lanes:
            found += _lane(lane, settings, daemon_alive=alive)
        found += _dead(stored)
        found += _provider(stored)
        found += _index(stored, settings)
        found += _release(stored)
        found += _unverified(stored.release.unverified)
        if stored.unsent_messages:
            found.append(
                Finding(
                    "messages",
                    "warning",
                    f"Slack did not take {_count(stored.unsent_messages, 'message')}; they are "
                    "sent again",
                    "correct SLACK_WEBHOOK_URL",
                )
            )
    return tuple(sorted(found, key=lambda finding: _LEVELS.index(finding.level)))


_STANDS_ON = {
    "vectors": ("database",),
    "dagster": ("database",),
    "daemon": ("database", "dagster"),
    "workers": ("broker",),
}
"""Where the one is away, nothing is known of the other."""


def _dependencies(facts: Facts) -> Iterator[Finding]:
    waiting = facts.stored is not None and any(lane.claimable for lane in facts.stored.lanes)
    away = {probe.name for probe in facts.probes if not probe.ok}
    for probe in facts.probes:
        if probe.ok or away.intersection(_STANDS_ON.get(probe.name, ())):
            continue
        # Who works by commands alone needs no daemon.
        idle = probe.name in ("daemon", "dagster") and not (facts.daemon_was_seen or waiting)
        yield Finding(probe.name, "warning" if idle else "problem", probe.told, probe.remedy)


def _database(facts: Facts) -> Iterator[Finding]:
    if facts.pending:
        yield Finding(
            "database",
            "problem",
            f"not applied: {', '.join(facts.pending)}",
            "`rag-assets db migrate`",
        )
    if facts.unread is not None:
        yield Finding("database", "problem", facts.unread, "`rag-assets db status`")


def _pgvector(facts: Facts, settings: Settings) -> Iterator[Finding]:
    verdict = pgvector_faults.judge_pgvector(facts.versions) if facts.versions else None
    if verdict is None or not verdict.told:
        return
    embedded = settings.rag_database_url is None
    # No newer pgvector can be installed in the embedded server, and an outdated extension is as
    # good as a new one but for what the new one adds.
    level: Level = "warning" if verdict.faults and not embedded else "information"
    yield Finding("vectors", level, verdict.told, verdict.remedy(embedded=embedded))


def _incident(stored: CorpusFacts) -> Iterator[Finding]:
    incident = stored.incident
    if incident is None:
        return
    escalated = incident.state == "escalated"
    yield Finding(
        "incident",
        "problem" if escalated else "warning",
        f"{incident.name} is {incident.state}: {incident.cause} {incident.subject}".rstrip(),
        "a person is needed: docs/operations/runbook-queue.md"
        if escalated
        else "wait: the recovery is at work, and tells when it is not enough",
    )


def _failing(stored: CorpusFacts, settings: Settings) -> Iterator[Finding]:
    standing = split_explained(stored.failing)
    for incident, failed in standing.explained:
        yield Finding(
            "job",
            "warning",
            f"{failed.which} in {incident.name}: {failed.why}",
            "wait: what runs automatically is run again; what is not done "
            f"{span(RETRY_CHANCE.total_seconds())} after the outage is reported",
        )
    for failed in standing.reported.values():
        yield Finding(
            "job",
            "problem",
            f"{failed.which}, last {failed.runs[-1].ended_at:%Y-%m-%d %H:%M %Z}: {failed.why}",
            failed.remedy(settings.rag_public_url),
        )


def _lane(lane: LaneFacts, settings: Settings, *, daemon_alive: bool) -> Iterator[Finding]:
    if lane.paused is not None:
        yield Finding(
            lane.lane,
            "warning",
            f"paused {lane.paused.told}",
            "wait: it is resumed when what it needs is back"
            if lane.paused.paused_by == "recovery"
            else f"`rag-assets documents resume {lane.lane}`",
        )
        return
    runs = lane.runs_queued + lane.runs_at_work
    if lane.claimable and not (lane.running or runs):
        late = lane.oldest_waiting_s > settings.rag_no_worker_s
        yield Finding(
            lane.lane,
            "problem" if late else "warning",
            f"{_count(lane.claimable, 'document')} wait, the oldest for "
            f"{span(lane.oldest_waiting_s)}, and no run is at work or asked for",
            "wait half a minute for a run; if none comes, see *Automation* in Dagster's UI"
            if daemon_alive
            else "see that the daemon runs: `rag-assets up`",
        )
    elif (
        lane.waiting > settings.rag_stagnation_queue
        and not lane.succeeded
        and lane.oldest_waiting_s > settings.rag_stagnation_s
    ):
        yield Finding(
            lane.lane,
            "problem",
            f"stagnation: {_count(lane.waiting, 'document')} wait and none was completed in the "
            f"last {span(SPEED_S)}",
            "docs/operations/runbook-queue.md",
        )
    if lane.slowest is not None and lane.waiting:
        key, seconds = lane.slowest
        if seconds > settings.rag_slow_document_s:
            yield Finding(
                lane.lane,
                "warning",
                f"{key} has been worked on for {span(seconds)} while others wait",
                f"`rag-assets documents show {key}`",
            )


def _dead(stored: CorpusFacts) -> Iterator[Finding]:
    if stored.dead:
        classes = ", ".join(f"{count} {name}" for name, count in stored.dead.items())
        yield Finding("dead letters", "warning", classes, "`rag-assets documents dlq`")


def _provider(stored: CorpusFacts) -> Iterator[Finding]:
    broke = [
        key.key_fingerprint
        for key in stored.keys
        if key.out_of_quota_s is not None and key.out_of_quota_s < QUOTA_S
    ]
    if broke:
        yield Finding(
            "provider",
            "problem" if len(broke) == len(stored.keys) else "warning",
            f"out of quota: {_keys(broke)}",
            "pay, or take the key out of OPENAI_API_KEYS",
        )
    resting = [key for key in stored.keys if key.resting_s > 0]
    if resting:
        longest_s = max(key.resting_s for key in resting)
        yield Finding(
            "provider",
            "warning",
            f"the rate is limited: {_keys([key.key_fingerprint for key in resting])} rests, for "
            f"{span(longest_s)} at most",
            "wait, or lower RAG_EMBEDDING_RATE_LIMIT to what the provider allows",
        )
    if stored.share < 1:
        yield Finding(
            "provider",
            "warning",
            f"batch size and concurrency are at {stored.share:.0%} after limited rates",
            "wait: they rise by themselves after each quiet minute",
        )


def _index(stored: CorpusFacts, settings: Settings) -> Iterator[Finding]:
    for index in stored.indexes:
        if index.generation is not None and index.changed > settings.rag_index_rebuild_share:
            yield Finding(
                "index",
                "warning",
                f"{index.table}: {index.changed:.0%} of its rows changed since the build",
                "wait for the night, or `rag-assets index build`",
            )


def _release(stored: CorpusFacts) -> Iterator[Finding]:
    release = stored.release
    if not stored.indexes:  # nothing is embedded yet
        return
    told = [] if release.release_id is not None else ["nothing is served yet"]
    if release.reasons:
        more = f" (and {len(release.reasons) - 1} more)" if len(release.reasons) > 1 else ""
        told.append(f"the gate refuses the next release: {release.reasons[0]}{more}")
    if told:
        yield Finding("release", "warning", "; ".join(told), "`rag-assets release gate`")


def _unverified(rows: Mapping[str, int]) -> Iterator[Finding]:
    """Vectors that a client of the database wrote past the embedding runs."""
    for subject, count in rows.items():
        yield Finding(
            "provenance",
            "problem",
            f"{subject}: {_count(count, 'vector')} not written by an embedding run",
            "materialize document_embeddings of the documents that `rag-assets release gate` names"
            if subject == DOCUMENTS
            else f"`rag-assets bible embed {subject}`",
        )


def _keys(fingerprints: Sequence[str]) -> str:
    return " and ".join(f"key {name}" for name in fingerprints)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """A stretch of time, for people: ``42 s``, ``7 min``, ``3.5 h``, ``12 d``."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
