"""A time limit and other settings apply to one transaction, however it ends."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from rag_assets.errors import SearchTimeoutError
from rag_assets.postgres.database import Connection, Database, one
from rag_assets.postgres.time_limit import limited

SORTS = {"enable_sort": "off"}


def shown(connection: Connection) -> tuple[str, str]:
    return tuple(
        one(connection.execute(f"SHOW {name}"))[0] for name in ("statement_timeout", "enable_sort")
    )


def write(connection: Connection, *numbers: int) -> None:
    with limited(connection, 5000):
        for number in numbers:
            connection.execute("INSERT INTO written VALUES (%s)", (number,))


@pytest.mark.parametrize("autocommit", [True, False])
def test_settings_end_with_the_transaction(database: Database, autocommit: bool) -> None:
    with database.connect(autocommit=autocommit) as connection:
        with limited(connection, 5000, SORTS):
            found = connection.execute(
                "SELECT current_setting('statement_timeout'), current_setting('enable_sort')"
            ).fetchone()
        assert found == ("5s", "off")
        assert shown(connection) == ("0", "on")


def test_within_a_transaction_settings_end_with_the_block(database: Database) -> None:
    with database.connect(autocommit=True) as connection, connection.transaction():
        for _ in range(7):  # as of a prepared statement, too
            with limited(connection, 5000, SORTS):
                found = connection.execute("SELECT current_setting('enable_sort')")
            assert one(found) == ("off",)
            assert shown(connection) == ("0", "on")
        with suppress(psycopg.errors.DivisionByZero), limited(connection, 5000, SORTS):
            connection.execute("SELECT 1/0")
        assert shown(connection) == ("0", "on")


def test_writes_are_committed_together_or_not_at_all(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE written (n int PRIMARY KEY)")
        write(connection, 1, 2)
        with pytest.raises(psycopg.errors.UniqueViolation):
            write(connection, 3, 1)
        rows = connection.execute("SELECT n FROM written ORDER BY n").fetchall()
        assert rows == [(1,), (2,)]


def test_any_error_rolls_back_writes(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE written (n int)")
        with suppress(LookupError), limited(connection, 5000, writes=True):
            connection.execute("INSERT INTO written VALUES (1)")
            raise LookupError
        assert one(connection.execute("SELECT count(*) FROM written")) == (0,)


def test_a_statement_that_failed_to_be_prepared_is_prepared_later(database: Database) -> None:
    with database.connect(autocommit=True) as connection, database.connect() as other:
        connection.execute("CREATE TABLE read (n int)")

        def read() -> None:
            with limited(connection, 200):
                connection.execute("SELECT n FROM read")

        for _ in range(connection.prepare_threshold or 0):
            read()
        other.execute("LOCK TABLE read IN ACCESS EXCLUSIVE MODE")
        for _ in range(2):
            with pytest.raises(SearchTimeoutError):
                read()
        other.rollback()
        for _ in range(3):
            read()


def test_within_a_transaction_the_limit_ends_with_its_block(database: Database) -> None:
    with database.connect(autocommit=True) as connection, connection.transaction():
        connection.execute("CREATE TABLE written (n int PRIMARY KEY)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            write(connection, 1, 1)
        connection.execute("INSERT INTO written VALUES (1)")


def test_each_statement_is_cancelled_after_its_time_limit(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        with limited(connection, 400):
            for _ in range(3):
                connection.execute("SELECT pg_sleep(0.2)")
        with pytest.raises(SearchTimeoutError, match="more than 100 ms"), limited(connection, 100):
            connection.execute("SELECT pg_sleep(30)")
        assert shown(connection) == ("0", "on")
