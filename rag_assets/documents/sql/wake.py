"""Notifications that documents wait: the trigger ``wake`` on ``documents`` sends them."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from rag_assets.postgres.database import Connection, Database, one

_NAME = "rag-assets watch"


def listener(database: Database) -> Database:
    """The same database, with sessions that :func:`listeners` counts."""
    return Database(make_conninfo(database.conninfo, application_name=_NAME))


def listeners(connection: Connection) -> int:
    """How many processes of `rag-assets watch` are connected."""
    (found,) = one(
        connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            (_NAME,),
        )
    )
    return int(found)


def listen(connection: Connection) -> None:
    """Receive them from now on; the connection must be in autocommit mode.

    Behind a pooler that shares connections between transactions none arrives.
    """
    connection.execute("LISTEN rag_documents_waiting")


def wait(connection: Connection, timeout_s: float) -> bool:
    """Return whether one came in time."""
    return any(True for _ in connection.notifies(timeout=timeout_s, stop_after=1))
