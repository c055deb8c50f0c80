"""The leases that runs hold on documents: extending them, and collecting expired ones."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from psycopg.conninfo import make_conninfo

from rag_assets.postgres.database import Connection, Database

log = logging.getLogger("rag_assets.documents")
LOST = "WorkerLostError"
"""Error class of a document whose run died or hung."""
_SESSIONS = "documents of run {}"
"""Application name. PostgreSQL truncates it to 63 bytes, which is enough for a run id."""
_STUCK_LEASES = 10


def sessions_of_run(database: Database, run_id: str) -> Database:
    """Return the same database, with sessions that can be terminated when a lease expires."""
    name = _SESSIONS.format(run_id)
    return Database(make_conninfo(database.conninfo, application_name=name))


def bound_silence(connection: Connection, seconds: float) -> None:
    """Let the server end this session if its process stops in the middle of a transaction.

    The locks that it holds would block every other run.
    """
    connection.execute(
        "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
        (str(round(1000 * seconds)),),
    )


def extend_leases(connection: Connection, run_id: str, lease_s: float) -> int:
    """Extend all leases of a run; return their number.

    Documents being published are skipped: the lock on their row protects them like a lease.
    """
    return connection.execute(
        """
        UPDATE documents
           SET lease_until = greatest(lease_until, now() + make_interval(secs => %s))
         WHERE document_id IN (
               SELECT document_id FROM documents WHERE state = 'running' AND run_id = %s
                  FOR UPDATE SKIP LOCKED)
        """,
        (lease_s, run_id),
    ).rowcount


def extend_lease(connection: Connection, document_id: int, run_id: str, lease_s: float) -> None:
    """Extend the lease of a document whose publication will take long and lock its row."""
    connection.execute(
        """
        UPDATE documents SET lease_until = now() + make_interval(secs => %s)
         WHERE document_id = %s AND run_id = %s AND state = 'running'
        """,
        (lease_s, document_id, run_id),
    )


def collect_lost(connection: Connection, max_attempts: int) -> None:
    """Requeue documents with an expired lease behind the others, and end their runs' sessions.

    A locked row is being published by a run that is alive. A hanging run is ended because its
    session would keep other runs from embedding the texts that it has claimed.
    """
    lost = connection.execute(
        """
        UPDATE documents
           SET state = CASE WHEN attempts < %(max_attempts)s THEN 'waiting' ELSE 'dead' END,
               lease_until = NULL, queued_at = now(), ended_at = now(), error_class = %(lost)s,
               error = format(
                   'run %%s, which was processing %%s, died or hung (attempt %%s)%%s',
                   run_id, path, attempts, CASE WHEN attempts < %(max_attempts)s THEN '' ELSE
                   ': the document may need more memory than is available. Read the run''s log,'
                   ' then `rag-assets documents retry ' || document_key || '`' END)
         WHERE document_id IN (
               SELECT document_id FROM documents WHERE state = 'running' AND lease_until < now()
                  FOR UPDATE SKIP LOCKED)
        RETURNING run_id
        """,
        {"max_attempts": max_attempts, "lost": LOST},
    ).fetchall()
    for run_id, documents in Counter(row[0] for row in lost).items():
        log.warning("worker lost: run %s, which held %d documents", run_id, documents)
    _end_sessions(connection, [row[0] for row in lost])


def end_stuck(connection: Connection, lease_s: float) -> None:
    """End the sessions of runs that hang in a publication, which never takes this many leases."""
    stuck = connection.execute(
        """
        SELECT DISTINCT run_id FROM documents
         WHERE state = 'running' AND lease_until < now() - make_interval(secs => %s)
        """,
        (_STUCK_LEASES * lease_s,),
    ).fetchall()
    _end_sessions(connection, [row[0] for row in stuck])


def _end_sessions(connection: Connection, run_ids: Sequence[str]) -> None:
    if not run_ids:
        return
    connection.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = current_user
           AND application_name = ANY(%s) AND pid <> pg_backend_pid()
        """,
        ([_SESSIONS.format(run_id)[:63] for run_id in run_ids],),
    )
