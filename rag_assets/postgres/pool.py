"""A pool of connections for a service that searches constantly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from rag_assets.errors import DatabaseBusyError, DatabaseUnavailableError
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
        self._size, self._wait_s = size, wait_s
        self._lent = 0
        self._counting = threading.Lock()
        self._failure: str | None = None  # of the last attempt to connect
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            database.conninfo,
            min_size=1,
            max_size=size,
            timeout=wait_s,
            max_idle=600,
            reconnect_timeout=1,
            kwargs={"autocommit": True} | ({"prepare_threshold": None} if pooled else {}),
            connection_class=self._recording_failures(),
            configure=prepare,
            open=False,
            name=name,
        )
        self._database = database
        self._where = database.describe()

    def _recording_failures(self) -> type[Connection]:
        """A class of connections that keeps why the last attempt to connect failed.

        The pool connects in threads of its own, and only logs what happens there.
        """
        pool = self

        class Recorded(psycopg.Connection[Any]):
            @classmethod
            def connect(cls, *args: Any, **kwargs: Any) -> Any:
                try:
                    connection = super().connect(*args, **kwargs)
                except psycopg.Error as error:
                    pool._failure = str(error)
                    raise
                pool._failure = None
                return connection

        return Recorded

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
                with self._connection() as connection:
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

    def shortage(self) -> DatabaseUnavailableError:
        """Why no connection became free in time: all are in use, or none can be made."""
        if self._lent >= self._size:
            return DatabaseBusyError(
                f"the database answers, but all {self._size} connections to it were in use for "
                f"{self._wait_s:g} s ({self._where}): try again, or raise RAG_API_POOL_SIZE"
            )
        if self._failure is not None:
            return DatabaseUnavailableError(str(self._database.explain(self._failure)))
        return DatabaseUnavailableError(
            f"PostgreSQL did not answer within {self._wait_s:g} s ({self._where})"
        )

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._pool.connection() as connection:
            self._count(1)
            try:
                yield connection
            finally:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._counting:
            self._lent += change

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout:
            raise self.shortage() from None
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise DatabaseUnavailableError(
                f"PostgreSQL is a standby, where nothing can be written ({self._where})"
            ) from error
        except psycopg.errors.SerializationFailure as error:
            raise DatabaseUnavailableError(
                f"what was read is gone on the primary by now: try again ({self._where})"
            ) from error
        except PoolClosed as error:
            raise DatabaseUnavailableError(f"the service is stopping ({self._where})") from error
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(str(self._database.explain(error))) from error
