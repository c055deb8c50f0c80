"""Read a snapshot: a full one for the doctor, or the part that the recovery acts on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rag_assets.audit.sql.reports import last_audit
from rag_assets.documents.sql import attempts as document_attempts
from rag_assets.documents.sql import lanes as lane_control
from rag_assets.documents.sql.attempts import EndedAttempts
from rag_assets.documents.sql.documents import LaneCounts, dead_by_class, queue_counts
from rag_assets.documents.sql.lanes import KeyState, Pause
from rag_assets.documents.sql.wake import listeners
from rag_assets.embedding.sql.batches import failed_batches, open_batches
from rag_assets.embedding.sql.profiles import profile_in_use
from rag_assets.errors import ConfigurationError, RagAssetsError
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import builds_in_progress
from rag_assets.lanes import DOCUMENT_LANES, Lane
from rag_assets.operations import dependencies
from rag_assets.operations.automation import automation_now
from rag_assets.operations.backfill import WindowRun, open_window, runs_of_open_window
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.snapshot import (
    CorpusState,
    IndexState,
    LaneState,
    ReleaseState,
    Snapshot,
)
from rag_assets.operations.sql import queue_health, samples
from rag_assets.operations.sql.dagster_state import (
    AT_WORK,
    EndedRun,
    RunCount,
    daemon_heartbeats,
    runs_under_way,
)
from rag_assets.operations.sql.failed_runs import failing
from rag_assets.operations.sql.heavy_documents import heavy_documents
from rag_assets.operations.sql.incidents import current_incident
from rag_assets.operations.sql.messages import unsent_messages
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.operations.thresholds import keys_in_use
from rag_assets.postgres.database import Connection, Database, dagster_database, open_database
from rag_assets.postgres.migrations import pending, server_versions
from rag_assets.release.refusal import grouped
from rag_assets.release.releasing import evaluate_gate
from rag_assets.retrieval.sql.live_recall import live_recall
from rag_assets.settings.model import Settings
from rag_assets.settings.names import unknown_names
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import ROLES
from rag_assets.vectors.sql.tables import VectorTable, revision

SPEED_S = 600
"""Period over which throughput and mean time are measured."""
COMPLETED = ("succeeded", "dead")
"""Outcomes of an attempt that complete its document."""


def survey(settings: Settings) -> Snapshot:
    """Read everything, probing dependencies concurrently. Read-only; tolerates those that are down.

    :raises ConfigurationError: RAG_DATABASE_URL is not a valid address.
    """
    now = datetime.now(UTC)
    try:
        database = open_database(settings)
    except ConfigurationError:
        raise
    except RagAssetsError as error:  # the embedded server does not start
        down = DependencyProbe(
            "database", False, 0.0, str(error), "see its log; then `rag-assets db status`"
        )
        return Snapshot(
            now,
            (down, *_probe_all(settings, None)),
            unread=str(error),
            unknown_names=tuple(unknown_names()),
        )
    probes = _probe_all(settings, database)
    heartbeats, runs, of_window = _dagster(settings, now)
    seen = Snapshot(
        now,
        (*probes, _daemon(heartbeats)),
        daemon_was_seen=bool(heartbeats),
        unknown_names=tuple(unknown_names()),
    )
    if not probes[0].ok:  # the probe reports it
        return seen
    try:
        with database.connect() as connection:
            seen = replace(seen, versions=server_versions(connection))
        waiting = pending(database)
        if waiting:
            return replace(seen, pending=waiting)
        with database.connect() as connection:
            seen = _read_all(connection, settings, seen, runs)
            window = open_window(connection, settings, of_window, now)
            return replace(seen, corpus=seen.corpus and replace(seen.corpus, window=window))
    except RagAssetsError as error:
        return replace(seen, unread=str(error))


def survey_queue(
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
) -> Snapshot:
    """Read the queue and store a sample of it. Scans the documents; the rest uses indexes.

    :param since: when the last check was; ``None`` for the first one.
    """
    server = queue_health.server_state(connection)
    since = since or server.now
    window = server.now - timedelta(seconds=settings.rag_stagnation_s)
    counts = queue_counts(connection)
    succeeded = {
        totals.lane: totals.attempts
        for totals in document_attempts.totals(connection)
        if totals.outcome == "succeeded"
    }
    samples.add_queue_samples(connection, DOCUMENT_LANES, counts, succeeded)
    new_use = samples.add_provider_samples(connection)
    return Snapshot(
        server.now,
        tuple(probes),
        daemon_was_seen=bool(heartbeats),
        server_started_at=server.started_at,
        lanes=_lanes(
            connection,
            counts,
            runs,
            document_attempts.ended_since(connection, min(window, since)),
        ),
        leases_over=queue_health.leases_over(connection),
        silent_runs=silent_runs,
        unseen_runs=unseen_runs,
        faults=tuple(run for run in new_runs if run.fault and run.cause is None),
        failures=_failures(document_attempts.ended_since(connection, since)),
        keys=_keys(connection, settings),
        rate_limited={one.key_fingerprint: one.rate_limited for one in new_use if one.rate_limited},
        answered=sum(one.requests for one in new_use),
        shares=lane_control.provider_shares(connection),
        heartbeats={part: (server.now - seen).total_seconds() for part, seen in heartbeats.items()},
    )


def probe_needed(
    database: Database, settings: Settings, *, provider: bool
) -> tuple[DependencyProbe, ...]:
    """Probe the dependencies that document processing needs, except for the database.

    :param provider: whether to probe the provider, which is only done when it matters.
    """
    # A disk that is filling up is left to alerts: work continues until it is full.
    roomy = settings.model_copy(update={"rag_disk_free_gb": 0.0})
    probes = [
        dependencies.probe_vectors(database, timeout_s=settings.rag_probe_timeout_s),
        dependencies.probe_inbox(roomy),
        *_probe_broker(settings),
    ]
    return (*probes, dependencies.probe_provider(settings)) if provider else tuple(probes)


def _probe_broker(settings: Settings) -> tuple[DependencyProbe, ...]:
    if settings.rag_celery_broker_url is None:
        return ()
    return dependencies.probe_broker(settings), dependencies.probe_workers(settings)


def _probe_all(settings: Settings, database: Database | None) -> tuple[DependencyProbe, ...]:
    timeout_s = settings.rag_probe_timeout_s
    groups = [
        lambda: (dependencies.probe_provider(settings),),
        lambda: (dependencies.probe_inbox(settings),),
        lambda: (
            dependencies.probe_disk(
                settings.rag_home, settings.rag_disk_free_gb, timeout_s=timeout_s
            ),
        ),
        lambda: _probe_broker(settings),
    ]
    if database is not None:
        groups = [
            lambda: (dependencies.probe_database(database, timeout_s=timeout_s),),
            lambda: (dependencies.probe_vectors(database, timeout_s=timeout_s),),
            lambda: (dependencies.probe_dagster(settings),),
            *groups,
        ]
    with ThreadPoolExecutor(len(groups)) as threads:
        found = threads.map(lambda group: group(), groups)
        return tuple(probe for probes in found for probe in probes)


def _daemon(heartbeats: Mapping[str, datetime] | None) -> DependencyProbe:
    if heartbeats is None:
        return DependencyProbe("daemon", False, 0.0, "unknown while Dagster's database is down")
    return dependencies.probe_daemon(heartbeats, datetime.now(UTC))


def _dagster(
    settings: Settings, now: datetime
) -> tuple[Mapping[str, datetime] | None, tuple[RunCount, ...], tuple[WindowRun, ...]]:
    """Read the daemon's heartbeats (``None`` if they cannot be read), the runs under way, and
    those of the backfill's open window.
    """
    try:
        with dagster_database(settings).connect() as connection:
            return (
                daemon_heartbeats(connection),
                runs_under_way(connection),
                runs_of_open_window(connection, settings, now),
            )
    except RagAssetsError:  # the probe reports it
        return None, (), ()


def _read_all(
    connection: Connection, settings: Settings, seen: Snapshot, runs: Sequence[RunCount]
) -> Snapshot:
    server = queue_health.server_state(connection)
    window_s = max(SPEED_S, settings.rag_stagnation_s)
    ended = document_attempts.ended_since(connection, server.now - timedelta(seconds=window_s))
    recent = document_attempts.ended_since(connection, server.now - timedelta(seconds=SPEED_S))
    return replace(
        seen,
        now=server.now,
        server_started_at=server.started_at,
        lanes=_lanes(connection, queue_counts(connection), runs, ended, recent),
        keys=_keys(connection, settings),
        shares=lane_control.provider_shares(connection),
        corpus=CorpusState(
            heavy=heavy_documents(connection, from_mb=settings.rag_large_document_mb),
            dead=dead_by_class(connection),
            builds=builds_in_progress(connection),
            indexes=_indexes(connection, settings),
            release=_release(connection, settings),
            incident=current_incident(connection),
            failing=failing(connection),
            providers={
                role: str(profile)
                for role in ROLES
                if (profile := profile_in_use(connection, settings, role))
            },
            live_recall=live_recall(connection),
            batches=(*open_batches(connection), *failed_batches(connection)),
            audit=last_audit(connection),
            watches=listeners(connection),
            unsent_messages=sum(bool(one.attempts) for one in unsent_messages(connection)),
        ),
        leases_over=queue_health.leases_over(connection, read_only=True),
    )


def _lanes(
    connection: Connection,
    counted: Mapping[Lane, LaneCounts],
    runs: Iterable[RunCount],
    ended: Sequence[EndedAttempts],
    recent: Sequence[EndedAttempts] = (),
) -> tuple[LaneState, ...]:
    """:param ended: attempts to find the last completion in; ``recent``: the last ten minutes'."""
    # Keys include unknown lanes; runs without a lane are shown as "others".
    counts = dict[str, LaneCounts](counted.items())
    paused = dict[str, Pause](lane_control.paused_lanes(connection).items())
    longest = dict[str, AtWork](queue_health.longest_at_work(connection).items())
    by_lane: dict[str, list[RunCount]] = {}
    for run in runs:
        by_lane.setdefault(run.lane or "others", []).append(run)
    return tuple(
        _lane(
            name,
            counts.get(name),
            by_lane.get(name, ()),
            [one for one in ended if one.lane == name],
            [one for one in recent if one.lane == name],
            longest.get(name),
            paused.get(name),
        )
        for name in dict.fromkeys([*DOCUMENT_LANES, *counts, *by_lane, *paused])
    )


def _lane(
    name: str,
    counts: LaneCounts | None,
    runs: Sequence[RunCount],
    ended: Sequence[EndedAttempts],
    recent: Sequence[EndedAttempts],
    longest: AtWork | None,
    paused: Pause | None,
) -> LaneState:
    at_work = sum(run.runs for run in runs if run.status in AT_WORK)
    succeeded = [one for one in recent if one.outcome == "succeeded"]
    attempts = sum(one.attempts for one in succeeded)
    seconds = sum(one.mean_s * one.attempts for one in succeeded)
    return LaneState(
        name,
        waiting=counts.waiting if counts else 0,
        claimable=counts.claimable if counts else 0,
        running=counts.running if counts else 0,
        dead=counts.dead if counts else 0,
        oldest_waiting_s=counts.oldest_waiting_s if counts else 0.0,
        runs_queued=sum(run.runs for run in runs) - at_work,
        runs_at_work=at_work,
        longest=longest,
        last_completed_at=max(
            (one.last_at for one in ended if one.outcome in COMPLETED), default=None
        ),
        succeeded=attempts,
        failed=sum(one.attempts for one in recent) - attempts,
        mean_s=seconds / attempts if attempts else None,
        paused=paused,
    )


def _failures(ended: Iterable[EndedAttempts]) -> dict[str, int]:
    failures: dict[str, int] = {}
    for one in ended:
        if one.error_class and one.outcome != "succeeded":
            failures[one.error_class] = failures.get(one.error_class, 0) + one.attempts
    return failures


def _keys(connection: Connection, settings: Settings) -> tuple[KeyState, ...]:
    """Return the states of the keys in use; a key that never cooled down has no row yet."""
    known = {key.key_fingerprint: key for key in lane_control.key_states(connection)}
    return tuple(known.get(name) or KeyState("", name, 0.0, None) for name in keys_in_use(settings))


def _indexes(connection: Connection, settings: Settings) -> tuple[IndexState, ...]:
    try:
        tables = indexed_tables(connection, settings)
    except ConfigurationError:  # nothing is embedded yet
        return ()
    return tuple(_index(connection, table) for table in tables)


def _index(connection: Connection, table: VectorTable) -> IndexState:
    decision = generations.last_decision(connection, table)
    if decision is not None and decision.generation is None:
        used = decision.codes.code_set if decision.codes else None
        return IndexState(str(table), None, None, 0, 0.0, used)
    ready = generations.ready_generations(connection, table)
    made = next((one for one in reversed(ready) if one.probes is not None), None)
    if made is None:
        return IndexState(str(table), None, None, 0, 0.0)
    changed = revision(connection, table).rows_changed - made.changed_at_build
    share = changed / max(1, made.rows_at_build)
    return IndexState(str(table), made.number, made.lists, made.rows_at_build, share)


def _release(connection: Connection, settings: Settings) -> ReleaseState:
    active = active_release(connection)
    evidence, verdict = evaluate_gate(connection, settings)
    return ReleaseState(
        active.release_id if active else None,
        active.activated_at if active else None,
        grouped(verdict.reasons, automation_now(settings)) if verdict.reasons else (),
        evidence.unverified_rows(),
    )
