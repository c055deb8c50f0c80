"""``rag-assets backfill plan`` and ``rag-assets capacity``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.operations.backfill import ESTIMATE_TAG, WINDOW_TAG
from rag_assets.operations.sql.capacity import Measured, record_day
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import register_space
from rag_assets_tests.cli.conftest import Done, Run


@pytest.fixture
def run(workplace: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process: starting the program takes a second each."""
    monkeypatch.chdir(workplace)

    def run(*arguments: str, **extra: str) -> Done:
        done = CliRunner().invoke(app, arguments, env=environment | extra, catch_exceptions=False)
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


def measured(*, jobs: int, busy_share: float) -> Measured:
    """A day of which the rest does not matter."""
    return Measured(jobs, 1, 0, 2.5, 4.0, 7, 3, 0, busy_share, 9, 0, 99, 0.5, 5, 10_000_000)


def test_the_plan_of_the_next_window_is_in_order_within_the_budget_and_starts_nothing(
    run: Run, database: Database
) -> None:
    told = run("backfill", "plan", "--json", RAG_EMBEDDING_PROVIDER="openai").json
    assert [one["version"] for one in told["start"]] == ["PT_SAMPLE", "EN_SAMPLE"]
    assert all(one["rows"] == 502 for one in told["start"])  # 251 verses, two spaces
    assert told["held"] is None
    opens, closes = (datetime.fromisoformat(told[name]) for name in ("opens", "closes"))
    assert closes - opens == timedelta(hours=6)
    assert opens > datetime.now(UTC)
    price = told["start"][0]["usd"]
    poor = run(
        "backfill",
        "plan",
        RAG_EMBEDDING_PROVIDER="openai",
        RAG_BACKFILL_BUDGET_USD=f"{price * 1.5:.9f}",
    ).out
    assert "PT_SAMPLE" in poor
    assert "EN_SAMPLE waits: it would cost about" in poor
    assert "America/Sao_Paulo, in" in poor
    with database.connect() as connection:
        row = connection.execute("SELECT count(*) FROM verses").fetchone()
    assert row == (0,)


OPEN = {
    "RAG_EMBEDDING_PROVIDER": "openai",
    "RAG_TIMEZONE": "UTC",
    "RAG_BACKFILL_DAYS": "mon,tue,wed,thu,fri,sat,sun",
    "RAG_BACKFILL_START": "00:00",
    "RAG_BACKFILL_HOURS": "24",
    "RAG_PUBLIC_URL": "https://dagster.example.org",
}
"""A window that is open whatever the time."""


@pytest.fixture
def window_run(
    workplace: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A run of the open window, under way for EN_SAMPLE, of which $1 of the $2 expected is paid."""
    monkeypatch.setenv("RAG_DATABASE_URL", database.conninfo)
    monkeypatch.chdir(workplace)
    key = datetime.now(UTC).strftime("%Y-%m-%dT00:00+00:00")
    tags = {WINDOW_TAG: key, ESTIMATE_TAG: "2.000000", "dagster/partition": "EN_SAMPLE"}
    with dg.DagsterInstance.from_config(str(workplace)) as instance:
        for status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE):
            run = instance.add_run(dg.DagsterRun("bible_embeddings", status=status, tags=tags))
            tags = {**tags, WINDOW_TAG: "another window"}
            with database.connect() as connection:
                space = register_space(connection, Settings(), "small")
                connection.execute(
                    "INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id,"
                    " key_fingerprint, cost_usd) VALUES (%s, 'bible', 'EN_SAMPLE', %s, 'key', 1)",
                    (run.run_id, space.space_id),
                )
    yield f"https://dagster.example.org/runs?q%5B%5D=tag%3Arag%2Fwindow%3D{quote(key, safe='')}"
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database.name}_dagster WITH (FORCE)")


def test_what_is_left_of_an_open_window_and_the_page_of_its_runs_are_shown(
    run: Run, window_run: str
) -> None:
    told = run("backfill", "plan", "--json", **OPEN).json
    now_open = told["open"]
    assert (now_open["budget_usd"], now_open["left_usd"]) == (5.0, 3.0)
    assert (now_open["runs"], now_open["under_way"], now_open["url"]) == (1, 1, window_run)
    assert [one["version"] for one in now_open["start"]] == ["PT_SAMPLE"]
    assert told["start"] == []
    poor = run("backfill", "plan", **OPEN, RAG_BACKFILL_BUDGET_USD="2").out
    assert "$0.0000 of $2.0000 and" in poor
    assert "1 run started, 1 under way\n" + window_run in poor
    assert "PT_SAMPLE waits: it would cost about" in poor
    doctor = " ".join(run("doctor", **OPEN).out.split())
    assert "backfill open until" in doctor
    assert "$3.0000 of $5.0000 and" in doctor
    assert window_run in doctor.replace(" ", "")


def test_no_window_is_open_on_other_days(run: Run) -> None:
    other = (datetime.now(UTC) + timedelta(days=3)).strftime("%a").lower()
    closed = OPEN | {"RAG_BACKFILL_DAYS": other}
    assert run("backfill", "plan", "--json", **closed).json["open"] is None
    assert "backfill" not in run("doctor", **closed).out


def test_capacity_shows_the_days_and_what_is_to_be_expected(run: Run, database: Database) -> None:
    first = date(2026, 11, 1)
    with database.connect() as connection:
        for place in range(10):
            record_day(
                connection,
                first + timedelta(days=place),
                measured(jobs=10 + place, busy_share=0.1 + 0.02 * place),
                datetime(2026, 11, 1, tzinfo=UTC),
            )
    shown = run("capacity", "--days", "3", "--json").json
    assert [one["day"] for one in shown["days"]] == ["2026-11-08", "2026-11-09", "2026-11-10"]
    busy = shown["forecast"][0]
    assert busy["reached_on"] == "2026-12-06"  # 0.28 and 0.02 more each day, to 0.8
    assert "by the trend over 10 days" in busy["told"]
    assert "reached on" in run("capacity").out
    rows = list(csv.DictReader(run("capacity", "--csv").out.splitlines()))
    assert [row["jobs"] for row in rows] == [str(10 + place) for place in range(10)]
