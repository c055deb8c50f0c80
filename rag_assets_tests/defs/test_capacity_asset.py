"""The asset ``capacity_report``, materialized: its row, its file, its metadata."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import matplotlib.image
import pytest

from rag_assets.definitions import build_defs
from rag_assets.defs.operations.capacity import capacity_days
from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.defs.conftest import Run

TODAY = datetime.now(UTC).date()


@pytest.fixture
def corpus(make_settings: MakeSettings, database: Database) -> CorpusResource:
    """A corpus whose days end just before now, with what one of them did."""
    settings = make_settings(rag_timezone="UTC", rag_capacity_at="00:00")
    begun = datetime.combine(TODAY, datetime.min.time(), UTC) - timedelta(hours=12)
    with database.connect() as connection:
        connection.execute("UPDATE schema_migrations SET applied_at = now() - interval '9 days'")
        for seconds in range(1, 21):
            connection.execute(
                "INSERT INTO document_attempts (document_id, lane, outcome, bytes, started_at,"
                " ended_at) VALUES (1, 'rag_processing', 'succeeded', 1, %s, %s)",
                (begun, begun + timedelta(seconds=seconds)),
            )
        connection.execute(
            "INSERT INTO queue_samples VALUES (%s, 'rag_processing', 17, 0, 0, 0)", (begun,)
        )
    return CorpusResource(settings, database)


def run(corpus: CorpusResource, instance: dg.DagsterInstance, day: date) -> Run:
    job = build_defs(resources={"corpus": corpus}).resolve_job_def("capacity_record")
    return Run(
        job.execute_in_process(
            instance=instance, partition_key=day.isoformat(), raise_on_error=False
        )
    )


def pixels(metadata: Mapping[str, Any], name: str) -> Any:
    """The picture in a piece of Markdown."""
    encoded = metadata[name].partition("base64,")[2].rstrip(")")
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)))


def test_a_day_is_recorded_plotted_and_forecast(
    corpus: CorpusResource, instance: dg.DagsterInstance
) -> None:
    earlier = run(corpus, instance, TODAY - timedelta(days=1))
    assert earlier.success
    assert earlier.metadata("capacity_report")["jobs"] == 0
    shown = run(corpus, instance, TODAY).metadata("capacity_report")
    figures = {name: shown[name] for name in ("jobs", "failed", "dead", "queue_peak")}
    assert figures == {"jobs": 20, "failed": 0, "dead": 0, "queue_peak": 17}
    assert (shown["mean_seconds"], shown["p95_seconds"]) == (10.5, 19.05)
    assert shown["dagster/row_count"] == 2
    height, width, _ = pixels(shown, "days").shape
    assert (height, width) == (660, 1100)
    assert shown["forecast"].count("not enough days") == 5
    head, _, latest, before = shown["table"].splitlines()
    assert head.startswith("| day | jobs | failed | dead | mean_seconds |")
    assert latest.startswith(f"| {TODAY} | 20 | 0 | 0 | 10.500 | 19.050 | 17 |")
    assert before.startswith(f"| {TODAY - timedelta(days=1)} | 0 | 0 | 0 | – | – | 0 |")
    assert Path(shown["csv"]).read_text("utf-8").count("\n") == 3
    with corpus.database.connect() as connection:
        rows = connection.execute("SELECT day, jobs FROM capacity_days ORDER BY day").fetchall()
    assert rows == [(TODAY - timedelta(days=1), 0), (TODAY, 20)]


def test_a_day_without_data_fails_with_a_clear_message(
    corpus: CorpusResource, instance: dg.DagsterInstance
) -> None:
    settings = corpus.settings.model_copy(update={"rag_operations_keep_days": 1})
    brief = CorpusResource(settings, corpus.database)
    failure = run(brief, instance, TODAY - timedelta(days=3)).failure("capacity_report")
    assert "RAG_OPERATIONS_KEEP_DAYS" in failure.description


@pytest.mark.parametrize("hours", [-12, 0, 14])
def test_today_is_a_partition_in_every_zone(hours: int) -> None:
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    local = (now + timedelta(hours=hours)).date().isoformat()
    assert local in capacity_days.get_partition_keys(current_time=now)
