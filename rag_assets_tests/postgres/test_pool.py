"""A pool: connections are reused, replaced when dead, and waited for only so long."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from rag_assets.errors import DatabaseBusyError, DatabaseUnavailableError, SearchTimeoutError
from rag_assets.postgres.database import Connection, Database, one
from rag_assets.postgres.pool import Pool
from rag_assets.vectors.sql.nearest import prepare_connection

SIZE = 3


@pytest.fixture
def pool(database: Database) -> Iterator[Pool]:
    with Pool(database, size=SIZE, wait_s=1, prepare=prepare_connection) as opened:
        yield opened


def backend(connection: Connection) -> int:
    """The server process of a connection."""
    return int(one(connection.execute("SELECT pg_backend_pid()"))[0])


def end_others(database: Database) -> None:
    """End every other connection to the database, as a restart would."""
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_connections_are_reused_and_prepared_for_vectors(pool: Pool) -> None:
    assert len({pool.run(backend) for _ in range(20)}) <= SIZE
    (found,) = pool.run(lambda c: one(c.execute("SELECT '[1,2]'::vector(2)")))
    assert list(found.to_list()) == [1, 2]
    assert pool.statistics()["pool_size"] >= 1


def test_a_dead_connection_is_replaced_transparently(pool: Pool, database: Database) -> None:
    before = {pool.run(backend) for _ in range(20)}
    end_others(database)
    assert pool.run(backend) not in before


def test_all_connections_may_die_together(pool: Pool, database: Database) -> None:
    def hold(meet: threading.Barrier) -> int:
        def work(connection: Connection) -> int:
            meet.wait(10)
            return backend(connection)

        return pool.run(work)

    for _ in range(2):
        meet = threading.Barrier(SIZE)
        with ThreadPoolExecutor(SIZE) as threads:
            used = list(threads.map(hold, [meet] * SIZE))
        assert len(set(used)) == SIZE
        end_others(database)
    assert pool.run(backend) not in used


def test_work_is_done_twice_at_most(pool: Pool, database: Database) -> None:
    tries: list[int] = []

    def dying(connection: Connection) -> None:
        tries.append(backend(connection))
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        pool.run(dying)
    assert len(tries) == len(set(tries)) == 2
    assert pool.run(backend) > 0


def test_an_error_in_the_work_is_raised_and_costs_no_connection(pool: Pool) -> None:
    lost = pool.statistics().get("connections_lost", 0)
    for _ in range(SIZE):
        with pytest.raises(psycopg.errors.UndefinedTable):
            pool.run(lambda c: c.execute("SELECT 1 FROM nowhere"))
        with pytest.raises(KeyError):
            pool.run(lambda _: {}["nothing"])
    assert pool.run(backend) > 0
    assert pool.statistics().get("connections_lost", 0) == lost


def test_waiting_for_a_free_connection_times_out(pool: Pool) -> None:
    done, taken = threading.Event(), threading.Barrier(SIZE + 1)

    def hold(_: Connection) -> None:
        taken.wait(10)
        done.wait(20)

    with ThreadPoolExecutor(SIZE) as threads:
        busy = [threads.submit(pool.run, hold) for _ in range(SIZE)]
        taken.wait(10)
        try:
            with pytest.raises(DatabaseBusyError, match=f"all {SIZE} connections .* in use"):
                pool.run(backend)
        finally:
            done.set()
        for one_of_them in busy:
            one_of_them.result()
    assert pool.run(backend) > 0


def test_a_statement_is_cancelled_in_time_and_the_limit_ends_with_it(pool: Pool) -> None:
    with pytest.raises(SearchTimeoutError, match="more than 50 ms"):
        pool.run(lambda c: c.execute("SELECT pg_sleep(20)").fetchone(), timeout_ms=50)
    assert pool.run(lambda c: one(c.execute("SHOW statement_timeout"))) == ("0",)
    assert pool.run(lambda c: one(c.execute("SELECT 42")), timeout_ms=5000) == (42,)


def test_writes_within_a_limit_are_committed(pool: Pool, database: Database) -> None:
    pool.run(lambda c: c.execute("CREATE TABLE written AS SELECT 1 AS a"), timeout_ms=5000)
    with database.connect() as connection:
        assert connection.execute("SELECT a FROM written").fetchone() == (1,)


def test_opening_does_not_wait_for_a_database_and_using_reports_it_unreachable(
    database: Database,
) -> None:
    nowhere = Database("host=127.0.0.1 port=1 dbname=nothing user=nobody connect_timeout=1")
    with (
        Pool(nowhere, size=1, wait_s=0.3) as away,
        pytest.raises(
            DatabaseUnavailableError, match=r"nothing on 127\.0\.0\.1:1 .*[Cc]onnection refused"
        ) as refused,
    ):
        away.run(backend)
    assert not isinstance(refused.value, DatabaseBusyError)


def test_a_server_that_does_not_answer_is_not_taken_for_a_busy_pool() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"host=127.0.0.1 port={silent.getsockname()[1]} connect_timeout=9")
        with (
            Pool(database, size=1, wait_s=0.3) as pool,
            pytest.raises(DatabaseUnavailableError, match=r"did not answer within 0\.3 s"),
        ):
            pool.run(backend)


def test_a_server_without_a_free_slot_is_named_as_such(database: Database) -> None:
    full = "connection failed: FATAL:  sorry, too many clients already"
    assert "takes no more connections" in str(database.explain(full))


def test_a_closed_pool_is_unavailable(database: Database) -> None:
    with Pool(database, size=1, wait_s=1) as pool:
        pool.run(backend)
    with pytest.raises(DatabaseUnavailableError):
        pool.run(backend)
