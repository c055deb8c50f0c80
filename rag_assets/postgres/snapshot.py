"""One state of a database for several connections, while others write to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from rag_assets.postgres.database import Connection, Database, one

_REPEATABLE_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


@dataclass(frozen=True)
class Snapshot:
    """The state that a database had when the snapshot was taken."""

    database: Database
    name: str

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading that state, in one transaction."""
        with self.database.connect(autocommit=True) as connection, connection.transaction():
            connection.execute(_REPEATABLE_READ)
            connection.execute(
                sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self.name))
            )
            yield connection


@contextmanager
def taken_snapshot(database: Database) -> Iterator[Snapshot]:
    """Take a snapshot, which exists until the end of the block.

    Until then vacuum keeps the rows that it shows, and a concurrent index build waits for it.
    """
    with database.connect(autocommit=True) as connection, connection.transaction():
        connection.execute(_REPEATABLE_READ)
        # Its session is idle while others read.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        (name,) = one(connection.execute("SELECT pg_export_snapshot()"))
        yield Snapshot(database, name)
