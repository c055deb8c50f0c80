"""How the work on documents goes, for who watches it: the longest at work, leases, the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class AtWork:
    """The document of a lane that a living run has worked on for longest."""

    lane: Lane
    key: str
    run_id: str
    started_at: datetime


@dataclass(frozen=True)
class Server:
    """Its clock, and since when it runs."""

    now: datetime
    started_at: datetime


def longest_at_work(connection: Connection) -> dict[Lane, AtWork]:
    """One of each lane in which there is any. Uses the index of the running."""
    found = fetch_all(
        connection,
        AtWork,
        """
        SELECT DISTINCT ON (lane) lane, document_key AS key, run_id, started_at
          FROM documents
         WHERE state = 'running' AND lease_until >= now() ORDER BY lane, started_at
        """,
    )
    return {document.lane: document for document in found}


_OVER = sql.SQL("SELECT 1 FROM documents WHERE state = 'running' AND lease_until < now()")
_OVER_AND_FREE = _OVER + sql.SQL(" FOR UPDATE SKIP LOCKED")


def leases_over(connection: Connection, *, read_only: bool = False) -> int:
    """Documents whose run no longer extends its lease. Uses the index of the running.

    A document whose row is locked is being published just now: its run lives.

    :param read_only: count without locking: those that are being published, too.
    """
    return len(connection.execute(_OVER if read_only else _OVER_AND_FREE).fetchall())


def about_server(connection: Connection) -> Server:
    """What it tells of itself."""
    (server,) = fetch_all(
        connection, Server, "SELECT now() AS now, pg_postmaster_start_time() AS started_at"
    )
    return server
