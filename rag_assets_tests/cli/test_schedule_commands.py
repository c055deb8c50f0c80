"""``rag-assets backfill plan`` and ``rag-assets capacity``."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.operations.sql.capacity import Measured, record_day
from rag_assets.postgres.database import Database
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
