"""Dagster's own state: a database beside the corpus, found by the same settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, make_url

from rag_assets.defs.storage import CorpusSidePostgresStorage, dagster_url
from rag_assets.errors import ConfigurationError, DatabaseUnusableError
from rag_assets.postgres.database import Database

ROOT = Path(__file__).parents[2]
PASSWORD = "p@ss:w/o?r#d %41&'\"\\é€=+ "  # noqa: S105
TABLES = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'"


@pytest.fixture
def beside(database: Database) -> Iterator[Database]:
    """Where Dagster's state should go; dropped afterwards."""
    expected = database.named(f"{database.name}_dagster")
    yield expected
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(expected.name))
        )


def tables(database: Database) -> set[str]:
    """Names of the tables in a database."""
    with database.connect() as connection:
        return {name for (name,) in connection.execute(TABLES).fetchall()}


def test_the_instance_of_dagster_yaml_keeps_its_state_beside_the_corpus(
    database: Database, beside: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", database.conninfo)
    monkeypatch.chdir(tmp_path)  # dagster.yaml's folders are relative
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    before = tables(database)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("bible_version", ["EN_KEPT"])
        storage = instance.event_log_storage
        assert type(storage).__module__.startswith("dagster_postgres")
    assert {"runs", "event_logs", "dynamic_partitions", "instigators"} <= tables(beside)
    assert tables(database) == before
    with beside.connect() as connection:
        assert connection.execute(
            "SELECT partitions_def_name, partition FROM dynamic_partitions"
        ).fetchall() == [("bible_version", "EN_KEPT")]


def test_another_name_can_be_set_and_an_existing_database_is_used(
    database: Database, beside: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", database.conninfo)
    monkeypatch.setenv("RAG_DAGSTER_DATABASE", beside.name)
    assert make_url(dagster_url()).database == beside.name
    assert make_url(dagster_url()).database == beside.name


def test_the_url_takes_psycopg2_and_survives_a_password_of_special_characters(
    database: Database, beside: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = database.parameters()["host"]
    monkeypatch.setenv(
        "RAG_DATABASE_URL",
        f"postgresql://postgres:{quote(PASSWORD, safe='')}@/{database.name}"
        f"?host={quote(folder, safe='')}&application_name=a%20%26b",
    )
    url = make_url(dagster_url())
    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.database) == ("postgres", PASSWORD, beside.name)
    engine = create_engine(url)
    _, given = engine.dialect.create_connect_args(url)
    assert (given["password"], given["host"]) == (PASSWORD, folder)
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT current_database()::text, current_setting('application_name')")
        assert cursor.fetchone() == (beside.name, "a &b")
    engine.dispose()

    assert make_url(CorpusSidePostgresStorage.from_config_value(None, {}).postgres_url) == url
    assert PASSWORD not in repr(url)


@pytest.mark.parametrize(
    ("address", "error", "sentence"),
    [
        ("not an address", ConfigurationError, "RAG_DATABASE_URL is not an address of PostgreSQL"),
        ("postgresql://u:geheim@h:1/", ConfigurationError, "names no database: end it with"),
    ],
)
def test_an_invalid_address_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str, error: type[Exception], sentence: str
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", address)
    with pytest.raises(error, match=sentence) as raised:
        dagster_url()
    assert "geheim" not in str(raised.value)


def test_a_user_who_may_not_create_the_database_learns_what_to_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS no_creator")
        connection.execute("CREATE ROLE no_creator LOGIN")
    try:
        folder = database.parameters()["host"]
        monkeypatch.setenv(
            "RAG_DATABASE_URL", f"host={folder} user=no_creator dbname={database.name}"
        )
        with pytest.raises(DatabaseUnusableError, match=f'CREATE DATABASE "{database.name}_dag'):
            dagster_url()
    finally:
        with database.connect() as connection:
            connection.execute("DROP ROLE no_creator")
