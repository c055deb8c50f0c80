"""Figures for the metrics: one snapshot of each database, read within a time limit.

Reads keep no state: counters are sums over rows that are never removed, and so survive restarts.
The figures of vectors are in :mod:`.vector_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.conninfo import make_conninfo

from rag_assets.audit.sql.reports import AuditFigures, audit_figures
from rag_assets.documents.sql import attempts as document_attempts
from rag_assets.documents.sql.attempts import AttemptTotals
from rag_assets.documents.sql.documents import LaneCounts, dead_by_class, queue_counts
from rag_assets.documents.sql.wake import listeners
from rag_assets.errors import DatabaseUnavailableError, DatabaseUnusableError
from rag_assets.index.sql.builds import builds_in_progress, free_disk_bytes
from rag_assets.lanes import Lane
from rag_assets.operations.sql import backfill, dagster_state
from rag_assets.operations.sql.dagster_state import RunCount, RunTotals
from rag_assets.operations.sql.failed_runs import Failing, failing
from rag_assets.operations.sql.vector_metrics import CheckNow, VectorsNow, checks_now, vectors_now
from rag_assets.postgres.database import Connection, Database, fetch_all, one
from rag_assets.retrieval.sql.live_recall import LiveRecall, live_recall
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class QueueFigures:
    """The document lanes; a lane that never had a document is missing.

    :param held: claimed documents, including those with an expired lease: attempts that have begun
        and not ended.
    :param dead: dead letters by error class.
    :param bounds: bucket bounds of the attempts' histogram, in seconds.
    :param watches: processes of `rag-assets watch`.
    """

    lanes: Mapping[Lane, LaneCounts]
    held: Mapping[Lane, int]
    dead: Mapping[str, int]
    attempts: tuple[AttemptTotals, ...]
    bounds: tuple[float, ...]
    paused: frozenset[Lane]
    watches: int


@dataclass(frozen=True)
class KeyUse:
    """All-time use of one provider key. ``key`` is its fingerprint."""

    key: str
    requests: int
    retries: int
    rate_limited: int
    tokens: int
    cost_usd: float


@dataclass(frozen=True)
class ProviderFigures:
    """The embedding provider.

    :param resting: keys that are cooling down.
    :param share: usable share of batch size and concurrency; 1 without limits.
    """

    keys: tuple[KeyUse, ...]
    resting: frozenset[str]
    share: float


@dataclass(frozen=True)
class BatchFigures:
    """The provider's batches.

    :param batches: all-time number, by state.
    :param texts: texts that have no answer yet.
    :param overdue_s: how long ago the most overdue batch was due; 0 if none is.
    """

    batches: Mapping[str, int]
    texts: int
    overdue_s: float


@dataclass(frozen=True)
class ReleaseFigures:
    """The active release.

    :param number: 0 if there is none; ``age_s`` is then ``None``.
    :param refused_age_s: seconds since the gate refused a release; ``None`` if one passed since.
    """

    number: int
    age_s: float | None
    refused_age_s: float | None


@dataclass(frozen=True)
class CorpusFigures:
    """All figures of the corpus database, from one snapshot.

    :param incident_states: states of incidents that are not closed.
    :param incidents: all-time number.
    :param builds: index builds in progress.
    :param audit: ``None`` before the first audit.
    :param free_bytes: free space of the server's data directory; ``None`` if it is not local.
    """

    queue: QueueFigures
    provider: ProviderFigures
    batches: BatchFigures
    release: ReleaseFigures
    runs: tuple[RunTotals, ...]
    failing: Failing
    incident_states: frozenset[str]
    incidents: int
    vectors: tuple[VectorsNow, ...]
    checks: tuple[CheckNow, ...]
    live_recall: tuple[LiveRecall, ...]
    builds: int
    free_bytes: int | None
    audit: AuditFigures | None


@dataclass(frozen=True)
class DagsterFigures:
    """All figures of Dagster's database.

    :param heartbeat_age_s: seconds since the last heartbeat, by part of the daemon.
    :param tagged: ids of the runs with the requested tag.
    """

    runs: tuple[RunCount, ...]
    heartbeat_age_s: Mapping[str, float]
    tagged: frozenset[str]


def read_corpus(database: Database, settings: Settings, *, timeout_s: float) -> CorpusFigures:
    """Read the figures of the corpus.

    :param timeout_s: for the connection, and for each statement.
    :raises DatabaseUnavailableError: the database is down, or does not answer in time.
    :raises DatabaseUnusableError: it refuses the connection, or its migrations are not up to date.
    """
    with snapshot(database, timeout_s) as connection:
        return CorpusFigures(
            queue=queue_figures(connection),
            provider=_provider(connection),
            batches=_batches(connection),
            release=_release(connection),
            runs=dagster_state.run_totals(connection),
            failing=failing(connection),
            incident_states=_incident_states(connection),
            incidents=_count_incidents(connection),
            vectors=vectors_now(connection),
            checks=checks_now(connection, settings),
            live_recall=live_recall(connection),
            builds=builds_in_progress(connection),
            free_bytes=free_disk_bytes(connection),
            audit=audit_figures(connection),
        )


def read_window_spent(
    database: Database, *, opens: datetime, run_ids: frozenset[str], timeout_s: float
) -> float:
    """Return the dollars that a backfill window has spent. Raises like :func:`read_corpus`.

    :param run_ids: runs that the window started. The cost of requeued documents is an estimate.
    """
    with snapshot(database, timeout_s) as connection:
        paid = backfill.spent_by_runs(connection, run_ids)
        return sum(paid.values()) + backfill.documents_cost(connection, opens)


def read_dagster(database: Database, *, tag: tuple[str, str], timeout_s: float) -> DagsterFigures:
    """Read the figures of Dagster. Raises like :func:`read_corpus`.

    :param tag: key and value of the runs to return as ``tagged``.
    """
    with snapshot(database, timeout_s) as connection:
        (now,) = one(connection.execute("SELECT now()"))
        beats = dagster_state.daemon_heartbeats(connection)
        return DagsterFigures(
            runs=dagster_state.runs_under_way(connection),
            heartbeat_age_s={
                name: max(0.0, (now - seen).total_seconds()) for name, seen in beats.items()
            },
            tagged=frozenset(run.run_id for run in dagster_state.tagged_runs(connection, *tag)),
        )


@contextmanager
def snapshot(database: Database, timeout_s: float) -> Iterator[Connection]:
    """Open a read-only transaction with a single snapshot.

    Otherwise an attempt that ends between two statements would be missing from both, and a counter
    would decrease.
    """
    timeout = {"connect_timeout": str(max(2, math.ceil(timeout_s)))}  # libpq's minimum is 2
    limited = Database(make_conninfo(database.conninfo, **timeout))
    try:
        with limited.connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.prepare_threshold = None  # prepared statements leak in transaction poolers
            # Parallel workers do not speed up a scan of 100,000 rows, and use a second core.
            connection.execute(
                """
                SELECT set_config('statement_timeout', %s, true),
                       set_config('max_parallel_workers_per_gather', '0', true)
                """,
                (f"{timeout_s * 1000:.0f}ms",),
            )
            yield connection
    except psycopg.errors.QueryCanceled:
        raise DatabaseUnavailableError(
            f"PostgreSQL did not answer within {timeout_s:g} s ({database.describe()}): "
            "raise RAG_PROBE_TIMEOUT_S"
        ) from None
    except psycopg.Error as error:  # most likely a missing table
        raise DatabaseUnusableError(
            f"the metrics cannot be read from {database.name} "
            f"({error.diag.message_primary or type(error).__name__}): `rag-assets db migrate`"
        ) from error


def queue_figures(connection: Connection) -> QueueFigures:
    """Read the document lanes within a :func:`snapshot`."""
    held = connection.execute(  # uses the index on running documents
        "SELECT lane, count(*) FROM documents WHERE state = 'running' GROUP BY lane"
    ).fetchall()
    paused = connection.execute("SELECT lane FROM paused_lanes").fetchall()
    return QueueFigures(
        lanes=queue_counts(connection),
        held=dict(held),
        dead=dead_by_class(connection),
        attempts=document_attempts.totals(connection),
        bounds=document_attempts.bounds(connection),
        paused=frozenset(lane for (lane,) in paused),
        watches=listeners(connection),
    )


def _provider(connection: Connection) -> ProviderFigures:
    """Scan the ledger, which is never pruned: 30 ms for 100,000 rows."""
    keys = fetch_all(
        connection,
        KeyUse,
        """
        SELECT key_fingerprint AS key, sum(requests)::bigint AS requests,
               sum(retries)::bigint AS retries, sum(rate_limited)::bigint AS rate_limited,
               sum(tokens)::bigint AS tokens,
               coalesce(sum(cost_usd), 0)::float8 AS cost_usd
          FROM embedding_ledger GROUP BY key_fingerprint ORDER BY key_fingerprint
        """,
    )
    resting = connection.execute(
        "SELECT DISTINCT key_fingerprint FROM provider_keys WHERE resting_until > clock_timestamp()"
    ).fetchall()
    (share,) = one(connection.execute("SELECT coalesce(min(share), 1) FROM provider_limits"))
    return ProviderFigures(keys, frozenset(key for (key,) in resting), float(share))


def _batches(connection: Connection) -> BatchFigures:
    """Scan the batches, which are few, and count the reserved texts: 10 ms for 100,000."""
    counted = connection.execute(
        "SELECT state, count(*) FROM embedding_batches GROUP BY state"
    ).fetchall()
    (texts,) = one(connection.execute("SELECT count(*) FROM embedding_batch_texts"))
    (overdue_s,) = one(
        connection.execute(
            """
            SELECT greatest(0, extract(epoch FROM now() - min(due_at)))::float8
              FROM embedding_batches WHERE state = 'submitted'
            """
        )
    )
    return BatchFigures(dict(counted), int(texts), overdue_s)


def _release(connection: Connection) -> ReleaseFigures:
    """Uses the index on the active release, and the primary key."""
    active = connection.execute(
        """
        SELECT release_id, extract(epoch FROM now() - activated_at)::float8
          FROM releases WHERE state = 'active'
        """
    ).fetchone()
    refused = connection.execute(
        """
        SELECT extract(epoch FROM now() - last.created_at)::float8
          FROM (SELECT state, created_at FROM releases ORDER BY release_id DESC LIMIT 1) AS last
         WHERE last.state = 'refused' AND NOT EXISTS
               (SELECT FROM releases WHERE state = 'active' AND activated_at > last.created_at)
        """
    ).fetchone()
    number, age_s = active or (0, None)
    return ReleaseFigures(number, age_s, refused[0] if refused else None)


def _incident_states(connection: Connection) -> frozenset[str]:
    """Uses the index on incidents that are not closed."""
    rows = connection.execute("SELECT DISTINCT state FROM incidents WHERE state <> 'closed'")
    return frozenset(state for (state,) in rows)


def _count_incidents(connection: Connection) -> int:
    (count,) = one(connection.execute("SELECT count(*) FROM incidents"))
    return int(count)
