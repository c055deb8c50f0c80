"""Dagster's own state: a database beside the corpus, found by the same settings."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, make_url

from rag_assets.defs.dagster_private import (
    Step,
    check_targets,
    failed_partitions,
    store_evaluations,
    store_materializations,
)
from rag_assets.defs.documents.readable import READABLE
from rag_assets.defs.storage import CorpusSidePostgresStorage, dagster_url
from rag_assets.errors import ConfigurationError, DatabaseUnusableError
from rag_assets.postgres.database import Database

ROOT = Path(__file__).parents[2]
PASSWORD = "p@ss:w/o?r#d %41&'\"\\é€=+ "  # noqa: S105
TABLES = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'"


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


def test_an_instance_keeps_one_connection_and_replaces_it_after_a_restart(
    instance_beside: dg.DagsterInstance, beside: Database
) -> None:
    others = (
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"  # autovacuum comes and goes
    )
    keys = []
    with beside.connect(autocommit=True) as connection:
        for key in ("a", "b"):
            instance_beside.add_dynamic_partitions("documents", [key])
            instance_beside.report_runless_asset_event(
                dg.AssetMaterialization("made", partition=key)
            )
            instance_beside.add_run_tags(
                instance_beside.create_run_for_job(no_job).run_id, {"tag": key}
            )
            keys += connection.execute(sql.SQL("SELECT pid {}").format(sql.SQL(others))).fetchall()
            connection.execute(
                sql.SQL("SELECT pg_terminate_backend(pid) {}").format(sql.SQL(others))
            )
    assert len(keys) == 2, "one each time"
    assert instance_beside.get_dynamic_partitions("documents") == ["a", "b"]


@dg.job
def no_job() -> None: ...


def test_500_documents_are_reported_in_a_few_transactions(
    instance_beside: dg.DagsterInstance, beside: Database
) -> None:
    count = (
        "SELECT xact_commit::int FROM pg_stat_database, pg_stat_force_next_flush()"
        " WHERE datname = current_database()"
    )
    step = Step(instance_beside.create_run_for_job(no_job).run_id, no_job.name, "document_lane")
    keys = [f"d-{number}.md" for number in range(500)]

    def report(*, passed: bool) -> None:
        for asset in ("document_chunks", "document_embeddings"):
            store_materializations(
                instance_beside,
                [dg.AssetMaterialization(asset, partition=key, metadata={"n": 1}) for key in keys],
                step,
            )
        targets = check_targets(instance_beside, READABLE.asset_key, keys)
        evaluations = [
            dg.AssetCheckEvaluation(
                check_name=READABLE.name,
                asset_key=READABLE.asset_key,
                passed=passed,
                partition=key,
                target_materialization_data=targets[key],
            )
            for key in keys
        ]
        store_evaluations(instance_beside, evaluations, step)

    with beside.connect(autocommit=True) as connection:
        before = connection.execute(count).fetchone()
        report(passed=False)
        assert set(failed_partitions(instance_beside, READABLE, keys)) == set(keys)
        report(passed=True)
        time.sleep(1.1)  # a session reports its transactions at most once a second
        instance_beside.get_runs_count()
        after = connection.execute(count).fetchone()
    assert before
    assert after
    assert after[0] - before[0] < 200, "one by one it is 8,000"
    assert failed_partitions(instance_beside, READABLE, keys) == ()
    for asset in ("document_chunks", "document_embeddings"):
        assert instance_beside.get_materialized_partitions(dg.AssetKey(asset)) == set(keys)
    (entry,) = instance_beside.get_asset_records([READABLE.asset_key])
    last = entry.asset_entry.last_materialization
    assert last is not None
    assert last.run_id == step.run_id
    infos = instance_beside.event_log_storage.get_asset_check_partition_info([READABLE])
    assert len(infos) == 500
    assert all(info.is_current for info in infos)
    history = instance_beside.event_log_storage.get_asset_check_execution_history(
        READABLE, limit=2000
    )
    assert len(history) == 500, "one per run and partition"


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
