"""Capacity records: due days, measurements, and the CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from rag_assets.errors import ConfigurationError
from rag_assets.operations.capacity import csv_path, due_days, forecasts, record
from rag_assets.operations.sql.capacity import Measured
from rag_assets.operations.windows import DailyTime
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import make_ready
from rag_assets_tests.vectors.vectors import space_of

DAILY = DailyTime(ZoneInfo("America/Sao_Paulo"), "23:00")
DAY = date(2026, 11, 20)
ENDS = DAILY.on(DAY)
BEGINS = ENDS - timedelta(days=1)


def day(place: int) -> date:
    return date(2026, 11, place)


@pytest.mark.parametrize(
    ("now", "recorded", "since", "due"),
    [
        # Before 23:00 the last day that ended is yesterday.
        (ENDS - timedelta(minutes=1), {}, BEGINS - timedelta(hours=1), [19]),
        (ENDS, {}, BEGINS, [20]),
        (ENDS, {20: ENDS}, BEGINS, []),
        (ENDS, {20: ENDS - timedelta(hours=5)}, BEGINS, [20]),  # recorded before it ended
        (ENDS, {19: ENDS}, BEGINS - timedelta(hours=30), [18, 20]),
        (ENDS, {}, datetime(2020, 1, 1, tzinfo=UTC), [14, 15, 16, 17, 18, 19, 20]),
        (ENDS, {}, ENDS - timedelta(minutes=1), [20]),
        (ENDS, {}, ENDS, []),  # installed since
    ],
)
def test_days_of_the_last_week_without_a_record_are_due(
    now: datetime, recorded: dict[int, datetime], since: datetime, due: list[int]
) -> None:
    found = due_days(now, DAILY, recorded={day(n): at for n, at in recorded.items()}, since=since)
    assert list(found) == [day(n) for n in due]


def test_each_day_is_due_once_across_clock_changes() -> None:
    berlin = DailyTime(ZoneInfo("Europe/Berlin"), "02:30")
    first = datetime(2026, 3, 27, tzinfo=UTC)
    recorded: dict[date, datetime] = {}
    for place in range(4 * 24 * 6):
        now = first + timedelta(minutes=10 * place)
        for one in due_days(now, berlin, recorded=recorded, since=first):
            assert one not in recorded
            recorded[one] = now
    assert sorted(recorded) == [date(2026, 3, n) for n in (27, 28, 29, 30)]


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(rag_operations_keep_days=100_000)


@pytest.fixture(autouse=True)
def connection(database: Database) -> Iterator[Connection]:
    """To a corpus that was installed a month before."""
    with database.connect(autocommit=True) as connection:
        installed(connection, BEGINS - timedelta(days=30))
        yield connection


def installed(connection: Connection, at: datetime) -> None:
    connection.execute("UPDATE schema_migrations SET applied_at = %s", (at,))


def attempt(connection: Connection, ended: datetime, seconds: float, outcome: str) -> None:
    connection.execute(
        "INSERT INTO document_attempts (document_id, lane, outcome, bytes, started_at, ended_at)"
        " VALUES (1, 'rag_processing', %s, 1, %s, %s)",
        (outcome, ended - timedelta(seconds=seconds), ended),
    )


def fill(connection: Connection, space_id: int) -> None:
    """Add data of every kind within a day, and just outside of it."""
    inside, outside = BEGINS, ENDS
    for seconds in range(1, 101):
        attempt(connection, inside + timedelta(minutes=seconds), seconds, "succeeded")
    for outcome in ("failed", "lost", "dead", "returned", "superseded"):
        attempt(connection, inside, 900, outcome)
    attempt(connection, outside, 900, "succeeded")
    attempt(connection, inside - timedelta(seconds=1), 900, "dead")
    for moment, lane, waiting in (
        (inside, "rag_processing", 40),
        (inside, "rag_large_docs", 2),
        (inside + timedelta(hours=1), "rag_processing", 41),
        (outside, "rag_processing", 1000),
    ):
        connection.execute(
            "INSERT INTO queue_samples VALUES (%s, %s, %s, 0, 0, 0)", (moment, lane, waiting)
        )
    hour = timedelta(hours=1)
    for number, (lane, status, begun, ended) in enumerate(
        (
            ("rag_processing", "SUCCESS", inside - 2 * hour, inside + hour),  # 1 h in it
            ("rag_processing", "FAILURE", inside + hour, inside + 3 * hour),  # 2 h
            ("rag_large_docs", "SUCCESS", outside - 6 * hour, outside + hour),  # 6 h, ended later
            ("rag_bible", "SUCCESS", inside, outside - hour),  # not one of documents
        )
    ):
        connection.execute(
            "INSERT INTO ended_runs VALUES (%s, 'job', %s, %s, %s, %s)",
            (str(number), lane, status, begun, ended),
        )
    for run, last, usd in (("in", inside, 0.25), ("late", outside, 9.0)):
        connection.execute(
            "INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id,"
            " key_fingerprint, requests, rate_limited, tokens, cost_usd, first_at, last_at)"
            " VALUES (%s, 'bible', 'EN_A', %s, 'key', 10, 2, 300, %s, %s, %s)",
            (run, space_id, usd, last, last),
        )


def test_a_record_covers_exactly_its_period(
    database: Database, settings: Settings, connection: Connection
) -> None:
    space = space_of(database, settings)
    make_ready(database, space, "a", ["one", "two"])
    connection.execute("TRUNCATE document_attempts")
    fill(connection, space.space_id)
    (recorded,) = record(database, settings, DAY, now=ENDS)
    assert recorded.day == DAY
    measured = recorded.measured
    assert measured.database_bytes > 1e6
    assert measured == Measured(
        jobs=100,
        failed=2,
        dead=1,
        mean_seconds=50.5,
        p95_seconds=pytest.approx(95.05),
        queue_peak=42,
        runs=3,
        failed_runs=1,
        busy_share=pytest.approx(9 / (3 * 24)),
        requests=10,
        rate_limited=2,
        tokens=300,
        cost_usd=0.25,
        vectors=2,
        database_bytes=measured.database_bytes,
    )


def test_an_idle_day_has_a_record_of_zeros(database: Database, settings: Settings) -> None:
    (recorded,) = record(database, settings, DAY, now=ENDS)
    measured = recorded.measured
    assert (measured.jobs, measured.queue_peak, measured.runs, measured.cost_usd) == (0, 0, 0, 0)
    assert (measured.mean_seconds, measured.p95_seconds, measured.busy_share) == (None, None, 0)
    assert [one.reasoning.split(":")[0] for one in forecasts([recorded], settings)] == [
        "not enough days"
    ] * 5


def test_recording_a_day_again_replaces_its_record(
    database: Database, settings: Settings, connection: Connection
) -> None:
    attempt(connection, BEGINS, 1, "succeeded")
    early = record(database, settings, DAY, now=BEGINS + timedelta(hours=1))  # as far as it is
    attempt(connection, ENDS - timedelta(seconds=1), 1, "succeeded")
    connection.execute("UPDATE capacity_days SET recorded_at = %s, vectors = 7", (BEGINS,))
    (whole,) = record(database, settings, DAY, now=ENDS)
    assert (early[0].measured.jobs, whole.measured.jobs) == (1, 2)
    assert whole.measured.vectors == 0
    connection.execute("UPDATE capacity_days SET vectors = 7")  # what there was at its end
    (again,) = record(database, settings, DAY, now=ENDS + timedelta(days=30))
    assert (again.measured.jobs, again.measured.vectors) == (2, 7)


def test_future_days_and_days_without_data_are_refused(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    with pytest.raises(ConfigurationError, match="has not begun"):
        record(database, settings, DAY + timedelta(days=2), now=ENDS)
    with pytest.raises(ConfigurationError, match="RAG_OPERATIONS_KEEP_DAYS = 90"):
        record(database, settings, DAY, now=ENDS + timedelta(days=90))


def test_the_first_day_begins_with_the_installation(
    database: Database, settings: Settings, connection: Connection
) -> None:
    noon = ENDS - timedelta(hours=11)
    installed(connection, noon)
    connection.execute(
        "INSERT INTO ended_runs VALUES ('1', 'job', 'rag_processing', 'SUCCESS', %s, %s)",
        (noon, noon + timedelta(hours=3)),
    )
    with pytest.raises(ConfigurationError, match="2026-11-19 ended before the installation"):
        record(database, settings, DAY - timedelta(days=1), now=ENDS)
    (first,) = record(database, settings, DAY, now=ENDS)
    assert first.measured.busy_share == pytest.approx(3 / (3 * 11))
    attempt(connection, BEGINS - timedelta(days=2), 1, "succeeded")  # of a restored corpus
    record(database, settings, DAY - timedelta(days=1), now=ENDS)


def test_the_csv_contains_every_record_and_is_replaced_atomically(
    database: Database, settings: Settings, connection: Connection
) -> None:
    attempt(connection, BEGINS, 2, "succeeded")
    path = csv_path(settings)
    record(database, settings, DAY + timedelta(days=1), now=ENDS + timedelta(days=1))
    before = path.stat().st_ino
    record(database, settings, DAY, now=ENDS)
    assert path == Path(settings.rag_home) / "capacity/capacity.csv"
    assert path.stat().st_ino != before
    assert [one.name for one in path.parent.iterdir()] == ["capacity.csv"]
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(row["day"], row["jobs"], row["mean_seconds"]) for row in rows] == [
        ("2026-11-20", "1", "2.0"),
        ("2026-11-21", "0", ""),
    ]
    assert pd.Timestamp(rows[0]["recorded_at"]).tzinfo is not None
