"""A pool of connections for a service that searches constantly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.time_limit import limited

Answer = TypeVar("Answer")


class Pool:
    """At most ``size`` autocommitting connections.

    Opening it does not wait for the database; while that is unreachable, every use raises.

    :param prepare: called with each new connection, before its first use.
    :param pooled: connections go through a transaction pooler, so no statement is prepared.
    :param name: shown in the pool's own warnings and thread names.
    """

    def __init__(
        self,
        database: Database,
        *,
        size: int,
        wait_s: float,
        prepare: Callable[[Connection], None] | None = None,
        pooled: bool = False,
        name: str = "retrieval",
    ) -> None:
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            database.conninfo,
            min_size=1,
            max_size=size,
            timeout=wait_s,
            max_idle=600,
            reconnect_timeout=1,
            kwargs={"autocommit": True} | ({"prepare_threshold": None} if pooled else {}),
            configure=prepare,
            open=False,
            name=name,
        )
        self._where = database.describe()

    def __enter__(self) -> Pool:
        self._pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close(timeout=5)

    def run(
        self, work: Callable[[Connection], Answer], timeout_ms: int = 0, *, tries: int = 2
    ) -> Answer:
        """Do read-only work on a connection, and retry on another if that one turns out to be dead.

        After a restart of the server every open connection is dead, which only using it shows.

        :param timeout_ms: time limit of each statement; 0 for work that limits its statements
            itself.
        :param tries: 1 if another server can do the work.
        :raises DatabaseUnavailableError: no connection in time, the server is unreachable, it is a
            standby and the work writes, or replay on the standby cancelled the statement.
        :raises SearchTimeoutError: a statement ran into its time limit.
        """
        for left in reversed(range(tries)):
            with self._explained():
                with self._pool.connection() as connection:
                    try:
                        if not timeout_ms:
                            return work(connection)
                        with limited(connection, timeout_ms, writes=True):
                            return work(connection)
                    except psycopg.OperationalError:
                        if not left or not connection.broken:
                            raise
                self._pool.check()
        raise AssertionError("not reached")

    def statistics(self) -> dict[str, int]:
        """Numbers of connections and waiting requests, with psycopg_pool's names."""
        return self._pool.get_stats()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout:
            raise DatabaseUnavailableError(
                f"no connection to PostgreSQL became free in time ({self._where})"
            ) from None
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise DatabaseUnavailableError(
                f"PostgreSQL is a standby, where nothing can be written ({self._where})"
            ) from error
        except psycopg.errors.SerializationFailure as error:
            raise DatabaseUnavailableError(
                f"what was read is gone on the primary by now: try again ({self._where})"
            ) from error
        except (psycopg.OperationalError, PoolClosed) as error:
            raise DatabaseUnavailableError(
                f"PostgreSQL cannot be reached ({self._where})"
            ) from error
