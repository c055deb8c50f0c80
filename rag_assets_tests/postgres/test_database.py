"""Connecting to PostgreSQL, and the messages for refusals, all from a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
    RagAssetsError,
)
from rag_assets.postgres import migrations
from rag_assets.postgres.database import Database, open_dagster_database, open_database
from rag_assets.settings.model import Settings
from rag_assets_tests.secrets import everything_shown

PASSWORD = "Tr0ub4dor-and-3"  # noqa: S105 -- valid nowhere


def url(database: Database, *, user: str, password: str = PASSWORD, name: str = "") -> str:
    """An address of the same server for another user, with a password."""
    host = conninfo_to_dict(database.conninfo)["host"]
    return f"postgresql://{user}:{password}@/{name or database.name}?host={host}"


@pytest.fixture(scope="module")
def walled_user(template_database: Database) -> Iterator[str]:
    """A user who must give a password and may create nothing."""
    with template_database.named("postgres").connect(autocommit=True) as connection:
        (hba,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        rules = Path(hba).read_text()
        Path(hba).write_text(f"local all walled scram-sha-256\n{rules}")
        connection.execute(f"CREATE ROLE walled LOGIN PASSWORD '{PASSWORD}'")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT pg_sleep(0.2)")  # the postmaster reads it at its next turn
    yield "walled"
    with template_database.named("postgres").connect(autocommit=True) as connection:
        Path(hba).write_text(rules)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE walled")


def connect(address: str) -> None:
    with open_database(Settings(rag_database_url=address)).connect() as connection:
        connection.execute("SELECT 1")


async def connect_async(address: str) -> None:
    async with open_database(Settings(rag_database_url=address)).connect_async() as connection:
        await connection.execute("SELECT 1")


WAYS: list[Callable[[str], None]] = [connect, lambda address: asyncio.run(connect_async(address))]


@pytest.mark.parametrize("reach", WAYS, ids=["sync", "async"])
def test_a_wrong_password_is_refused_with_what_to_correct(
    template_database: Database, walled_user: str, reach: Callable[[str], None]
) -> None:
    with pytest.raises(DatabaseUnusableError, match="correct them in RAG_DATABASE_URL") as caught:
        reach(url(template_database, user=walled_user, password=f"wrong-{PASSWORD}"))
    assert "as walled" in str(caught.value)
    assert PASSWORD not in everything_shown(caught.value)


def test_a_missing_password_is_refused_like_a_wrong_one(
    template_database: Database, walled_user: str
) -> None:
    with pytest.raises(DatabaseUnusableError, match="correct them in RAG_DATABASE_URL"):
        connect(url(template_database, user=walled_user).replace(f":{PASSWORD}", ""))


def test_the_right_password_is_let_in(template_database: Database, walled_user: str) -> None:
    connect(url(template_database, user=walled_user))


def test_a_user_that_may_not_create_the_database_learns_who_can(
    template_database: Database, walled_user: str
) -> None:
    missing = Settings(rag_database_url=url(template_database, user=walled_user, name="not_there"))
    with pytest.raises(DatabaseUnusableError, match='CREATE DATABASE "not_there" as an admin') as e:
        migrations.migrate(open_database(missing))
    assert PASSWORD not in everything_shown(e.value)


def test_a_user_that_may_not_create_the_extension_learns_who_can(
    template_database: Database, walled_user: str
) -> None:
    fresh = template_database.named("walled_corpus")
    with template_database.named("postgres").connect(autocommit=True) as admin:
        admin.execute("CREATE DATABASE walled_corpus OWNER walled")
        try:
            owned = Settings(
                rag_database_url=url(template_database, user=walled_user, name=fresh.name)
            )
            with pytest.raises(DatabaseUnusableError, match="CREATE EXTENSION vector") as caught:
                migrations.migrate(open_database(owned))
        finally:
            admin.execute("DROP DATABASE walled_corpus")
    assert PASSWORD not in everything_shown(caught.value)


@pytest.mark.parametrize("reach", WAYS, ids=["sync", "async"])
def test_a_database_that_is_down_is_unavailable_and_says_where(
    reach: Callable[[str], None],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DatabaseUnavailableError, match="is it running") as caught:
        reach(f"postgresql://someone:{PASSWORD}@127.0.0.1:{port}/corpus")
    assert f"corpus on 127.0.0.1:{port} as someone" in str(caught.value)
    assert PASSWORD not in everything_shown(caught.value)


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://u:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/d"
        settings = Settings(rag_database_url=address, rag_database_connect_timeout_s=1)
        with (
            pytest.raises(DatabaseUnavailableError, match="cannot be reached"),
            open_database(settings).connect(),
        ):
            pass


def test_a_missing_database_says_how_it_is_made(template_database: Database) -> None:
    with (
        pytest.raises(DatabaseUnusableError, match="`rag-assets db migrate` creates the database"),
        template_database.named("never_made").connect(),
    ):
        pass


@pytest.mark.parametrize(
    "address",
    [
        "Tr0ub4dor-and-3",
        "postgresql://u:Tr0ub4dor-and-3@[::1/corpus",
        "mysql://u:Tr0ub4dor-and-3@h/d",
    ],
)
def test_an_invalid_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host") as caught:
        open_database(Settings(rag_database_url=address))
    assert PASSWORD not in everything_shown(caught.value)


def test_an_address_without_a_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no database: end it with /bible_api"):
        open_database(Settings(rag_database_url=f"postgresql://u:{PASSWORD}@h:5432"))


@pytest.mark.parametrize("password", ["p@Tr0ub4dor", "p/Tr0ub4dor", "Tr0ub4dor/x@y", "1/Tr0ub4dor"])
def test_a_password_that_is_not_encoded_is_refused_before_a_part_of_it_is_taken_for_the_host(
    password: str,
) -> None:
    address = f"postgresql://u:{password}@127.0.0.1:1/corpus"
    with pytest.raises(ConfigurationError, match="%40 and %2F") as caught:
        open_database(Settings(rag_database_url=address)).describe()
    assert "Tr0ub4dor" not in everything_shown(caught.value)


def test_a_database_is_shown_without_its_password() -> None:
    database = open_database(Settings(rag_database_url=f"postgresql://u:{PASSWORD}@h:5433/corpus"))
    assert repr(database) == "Database(corpus on h:5433 as u)"
    assert database.parameters()["password"] == PASSWORD


def test_a_lost_connection_is_unavailable(template_database: Database) -> None:
    def use() -> None:
        with template_database.connect() as connection:
            _cut(template_database, connection.info.backend_pid)
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        use()


def test_a_lost_asynchronous_connection_is_unavailable(template_database: Database) -> None:
    async def use() -> None:
        async with template_database.connect_async() as connection:
            _cut(template_database, connection.info.backend_pid)
            await connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        asyncio.run(use())


def _cut(database: Database, pid: int) -> None:
    with database.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def test_an_error_in_a_statement_is_raised_unchanged_and_rolls_back(
    template_database: Database,
) -> None:
    def fail() -> None:
        with template_database.connect() as connection:
            connection.execute("CREATE TABLE half_done (n int)")
            connection.execute("SELECT 1/0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail()
    with template_database.connect() as connection:
        assert connection.execute("SELECT to_regclass('half_done')").fetchone() == (None,)


def test_concurrent_processes_create_a_database_once(
    template_database: Database,
) -> None:
    fresh = template_database.named(f"{template_database.name}_made_once")
    try:
        with ThreadPoolExecutor(6) as pool:
            made = list(pool.map(lambda _: fresh.create(), range(6)))
        assert sorted(made) == [False] * 5 + [True]
    finally:
        with template_database.named("postgres").connect(autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {fresh.name}")


def test_dagster_gets_its_own_database_on_the_same_server(template_database: Database) -> None:
    settings = Settings(rag_database_url=template_database.conninfo)
    dagster = open_dagster_database(settings)
    try:
        assert dagster.name == f"{template_database.name}_dagster"
        with dagster.connect() as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (dagster.name,)
    finally:
        with template_database.named("postgres").connect(autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {dagster.name}")


# Versions: a real connection on which other figures shadow those of the catalog.

OVERLAYS = {
    "PostgreSQL 14.11 is too old: 15 or newer": """
        CREATE FUNCTION older.current_setting(text) RETURNS text LANGUAGE sql AS
        $$ SELECT CASE $1 WHEN 'server_version' THEN '14.11' ELSE '140011' END $$""",
    "has no pgvector: install the package postgresql-18-pgvector": """
        CREATE VIEW older.pg_available_extensions AS
        SELECT 'plpgsql'::name AS name, '1.0'::text AS default_version;
        CREATE VIEW older.pg_extension AS SELECT 'plpgsql'::name AS extname, '1.0' AS extversion""",
    "pgvector 0.6.2 is too old: 0.7 or newer.*ALTER EXTENSION vector UPDATE": """
        CREATE VIEW older.pg_extension AS SELECT 'vector'::name AS extname, '0.6.2' AS extversion
        """,
}


@pytest.mark.parametrize("sentence", OVERLAYS)
def test_a_server_that_is_too_old_is_refused_with_what_to_install(
    template_database: Database, sentence: str
) -> None:
    with template_database.connect() as connection:
        connection.execute("CREATE SCHEMA older")
        connection.execute(OVERLAYS[sentence])  # type: ignore[arg-type]
        connection.execute("SET LOCAL search_path = older, pg_catalog, public")
        with pytest.raises(DatabaseUnusableError, match=sentence):
            migrations.check_server(connection)
        connection.rollback()


def test_a_real_server_without_pgvector_is_refused_before_anything_is_created(
    template_database: Database,
) -> None:
    """PostgreSQL 18 searches for extensions in a configured path."""
    fresh = template_database.named("without_pgvector")
    options = "-c extension_control_path=/nowhere"
    bare = Database(make_conninfo(fresh.conninfo, options=options))
    try:
        with pytest.raises(RagAssetsError, match="postgresql-18-pgvector"):
            migrations.migrate(bare)
        with fresh.connect() as connection:
            assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (
                None,
            )
    finally:
        with template_database.named("postgres").connect(autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS without_pgvector")


def test_the_server_of_these_tests_is_accepted(template_database: Database) -> None:
    with template_database.connect() as connection:
        found = migrations.check_server(connection)
    assert (found.postgres_major, found.pgvector_installed) == (18, True)
    assert found.pgvector is not None


def test_a_session_ended_by_the_server_is_detected_at_the_first_statement(
    database: Database,
) -> None:
    def be_ended() -> None:
        with (
            database.connect(autocommit=True) as connection,
            database.connect(autocommit=True) as other,
        ):
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        be_ended()
