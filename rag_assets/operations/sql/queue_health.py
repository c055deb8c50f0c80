"""State of the queue for monitoring: longest-running documents, expired leases, the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class AtWork:
    """The document of a lane that has been in processing for longest."""

    lane: Lane
    key: str
    run_id: str
    started_at: datetime


@dataclass(frozen=True)
class Server:
    """The server's clock and start time."""

    now: datetime
    started_at: datetime


def longest_at_work(connection: Connection) -> dict[Lane, AtWork]:
    """Return the longest-running document of each lane. Uses the index on running documents."""
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
    """Count documents with an expired lease. Uses the index on running documents.

    A locked row is being published, so its run is alive.

    :param read_only: count without locking, including documents being published.
    """
    return len(connection.execute(_OVER if read_only else _OVER_AND_FREE).fetchall())


def server_state(connection: Connection) -> Server:
    """Read the server's clock and start time."""
    (server,) = fetch_all(
        connection, Server, "SELECT now() AS now, pg_postmaster_start_time() AS started_at"
    )
    return server
