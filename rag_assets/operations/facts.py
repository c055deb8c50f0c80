"""Gathers what :mod:`rag_assets.operations.doctor` judges. Changes nothing, and never raises for a
dependency that is away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rag_assets.documents.sql import lanes as lane_control
from rag_assets.documents.sql.attempts import Ended, ended_since
from rag_assets.documents.sql.documents import LaneCounts, dead_by_class, queue_counts
from rag_assets.documents.sql.lanes import KeyState, Pause
from rag_assets.errors import ConfigurationError, RagAssetsError
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import builds_in_progress
from rag_assets.lanes import DOCUMENT_LANES
from rag_assets.operations import dependencies
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.doctor import (
    SPEED_S,
    CorpusFacts,
    Facts,
    IndexFacts,
    LaneFacts,
    ReleaseFacts,
)
from rag_assets.operations.sql import queue_health
from rag_assets.operations.sql.dagster_state import (
    AT_WORK,
    RunCount,
    daemon_heartbeats,
    runs_under_way,
)
from rag_assets.operations.sql.failed_runs import failing
from rag_assets.operations.sql.heavy_documents import heavy_documents
from rag_assets.operations.sql.incidents import current_incident
from rag_assets.operations.sql.messages import unsent_messages
from rag_assets.operations.sql.queue_health import AtWork
from rag_assets.postgres.database import Connection, Database, dagster_database, open_database
from rag_assets.postgres.migrations import pending, server_versions
from rag_assets.release.releasing import evaluate_gate
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.tables import VectorTable, revision


def gather_facts(settings: Settings) -> Facts:
    """Look at everything, the dependencies all at once.

    :raises ConfigurationError: RAG_DATABASE_URL is not an address.
    """
    now = datetime.now(UTC)
    try:
        database = open_database(settings)
    except ConfigurationError:
        raise
    except RagAssetsError as error:  # the embedded server does not start
        away = DependencyProbe(
            "database", False, 0.0, str(error), "see its log; then `rag-assets db status`"
        )
        return Facts(now, (away, *_probes(settings, None)), unread=str(error))
    probes = _probes(settings, database)
    heartbeats, runs = _dagster(settings)
    probes = (*probes, _daemon(heartbeats))
    seen = bool(heartbeats)
    facts = Facts(now, probes, daemon_was_seen=seen)
    if not probes[0].ok:  # told already
        return facts
    try:
        with database.connect() as connection:
            facts = replace(facts, versions=server_versions(connection))
        waiting = pending(database)
        if waiting:
            return replace(facts, pending=waiting)
        return replace(facts, stored=_read(database, settings, runs))
    except RagAssetsError as error:
        return replace(facts, unread=str(error))


def _probes(settings: Settings, database: Database | None) -> tuple[DependencyProbe, ...]:
    timeout_s = settings.rag_probe_timeout_s
    looks = [
        lambda: dependencies.probe_provider(settings),
        lambda: dependencies.probe_inbox(settings),
        lambda: dependencies.probe_disk(
            settings.rag_home, settings.rag_disk_free_gb, timeout_s=timeout_s
        ),
    ]
    if settings.rag_celery_broker_url is not None:
        looks += [
            lambda: dependencies.probe_broker(settings),
            lambda: dependencies.probe_workers(settings),
        ]
    if database is not None:
        looks = [
            lambda: dependencies.probe_database(database, timeout_s=timeout_s),
            lambda: dependencies.probe_vectors(database, timeout_s=timeout_s),
            lambda: dependencies.probe_dagster(settings),
            *looks,
        ]
    with ThreadPoolExecutor(len(looks)) as threads:
        return tuple(threads.map(lambda look: look(), looks))


def _daemon(heartbeats: Mapping[str, datetime] | None) -> DependencyProbe:
    if heartbeats is None:
        return DependencyProbe("daemon", False, 0.0, "not known while Dagster's database is away")
    return dependencies.probe_daemon(heartbeats, datetime.now(UTC))


def _dagster(settings: Settings) -> tuple[Mapping[str, datetime] | None, tuple[RunCount, ...]]:
    """The daemon's signs of life and the runs under way; ``None`` where they cannot be read."""
    try:
        with dagster_database(settings).connect() as connection:
            return daemon_heartbeats(connection), runs_under_way(connection)
    except RagAssetsError:  # the look at it tells
        return None, ()


def _read(database: Database, settings: Settings, runs: Iterable[RunCount]) -> CorpusFacts:
    with database.connect() as connection:
        return CorpusFacts(
            lanes=_lanes(connection, runs),
            heavy=heavy_documents(connection, from_mb=settings.rag_large_document_mb),
            dead=dead_by_class(connection),
            keys=_keys(connection, settings),
            share=min((one.share for one in lane_control.provider_shares(connection)), default=1.0),
            builds=builds_in_progress(connection),
            indexes=_indexes(connection, settings),
            release=_release(connection, settings),
            incident=current_incident(connection),
            failing=failing(connection),
            unsent_messages=sum(bool(told.attempts) for told in unsent_messages(connection)),
        )


def _lanes(connection: Connection, runs: Iterable[RunCount]) -> tuple[LaneFacts, ...]:
    # By any name: runs of no lane are shown as "others".
    counts = dict[str, LaneCounts](queue_counts(connection).items())
    paused = dict[str, Pause](lane_control.paused_lanes(connection).items())
    slowest = dict[str, AtWork](queue_health.longest_at_work(connection).items())
    now = datetime.now(UTC)
    ended = ended_since(connection, now - timedelta(seconds=SPEED_S))
    by_lane: dict[str, list[RunCount]] = {}
    for run in runs:
        by_lane.setdefault(run.lane or "others", []).append(run)
    return tuple(
        _lane(
            LaneFacts(name) if name not in counts else _counted(counts[name]),
            by_lane.get(name, ()),
            [one for one in ended if one.lane == name],
            _for_how_long(slowest.get(name), now),
            paused.get(name),
        )
        for name in dict.fromkeys([*DOCUMENT_LANES, *counts, *by_lane, *paused])
    )


def _counted(counts: LaneCounts) -> LaneFacts:
    return LaneFacts(
        counts.lane,
        waiting=counts.waiting,
        claimable=counts.claimable,
        running=counts.running,
        dead=counts.dead,
        oldest_waiting_s=counts.oldest_waiting_s,
    )


def _lane(
    documents: LaneFacts,
    runs: Sequence[RunCount],
    ended: Sequence[Ended],
    slowest: tuple[str, float] | None,
    pause: Pause | None,
) -> LaneFacts:
    succeeded = [one for one in ended if one.outcome == "succeeded"]
    completed = sum(one.attempts for one in succeeded)
    at_work = sum(run.runs for run in runs if run.status in AT_WORK)
    return replace(
        documents,
        runs_queued=sum(run.runs for run in runs) - at_work,
        runs_at_work=at_work,
        slowest=slowest,
        succeeded=completed,
        failed=sum(one.attempts for one in ended) - completed,
        mean_s=sum(one.mean_s * one.attempts for one in succeeded) / completed
        if completed
        else None,
        paused=pause,
    )


def _for_how_long(document: AtWork | None, now: datetime) -> tuple[str, float] | None:
    return (document.key, (now - document.started_at).total_seconds()) if document else None


def _keys(connection: Connection, settings: Settings) -> tuple[KeyState, ...]:
    """The keys of the settings; one that never rested has no row yet."""
    known = {key.key_fingerprint: key for key in lane_control.key_states(connection)}
    try:
        names = [fingerprint(key) for key in settings.api_keys()]
    except ConfigurationError:  # the look at the provider tells
        return ()
    return tuple(known.get(name) or KeyState("", name, 0.0, None) for name in names)


def _indexes(connection: Connection, settings: Settings) -> tuple[IndexFacts, ...]:
    try:
        tables = indexed_tables(connection, settings)
    except ConfigurationError:  # nothing is embedded yet
        return ()
    return tuple(_index(connection, table) for table in tables)


def _index(connection: Connection, table: VectorTable) -> IndexFacts:
    decision = generations.last_decision(connection, table)
    if decision is not None and decision.generation is None:
        used = decision.codes.code_set if decision.codes else None
        return IndexFacts(str(table), None, None, 0, 0.0, used)
    ready = generations.ready_generations(connection, table)
    made = next((one for one in reversed(ready) if one.probes is not None), None)
    if made is None:
        return IndexFacts(str(table), None, None, 0, 0.0)
    changed = revision(connection, table).rows_changed - made.changed_at_build
    share = changed / max(1, made.rows_at_build)
    return IndexFacts(str(table), made.number, made.lists, made.rows_at_build, share)


def _release(connection: Connection, settings: Settings) -> ReleaseFacts:
    active = active_release(connection)
    evidence, verdict = evaluate_gate(connection, settings)
    return ReleaseFacts(
        active.release_id if active else None,
        active.activated_at if active else None,
        tuple(map(str, verdict.reasons)),
        evidence.unverified_rows(),
    )
