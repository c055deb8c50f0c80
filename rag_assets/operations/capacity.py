"""Daily capacity records: which days are due, the row in the database, and the CSV of all rows.

A record covers the 24 hours (23 or 25 when clocks change) that end at RAG_CAPACITY_AT of its day,
so that it is complete when it is written.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rag_assets.errors import ConfigurationError
from rag_assets.lanes import DOCUMENT_LANES, runs_at_once
from rag_assets.operations.forecast import Forecast, forecast, limits_of
from rag_assets.operations.sql.capacity import (
    CapacityDay,
    Measured,
    capacity_days,
    measure,
    record_day,
    watched_since,
)
from rag_assets.operations.windows import DailyTime
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

if TYPE_CHECKING:
    import pandas as pd

_DAY = timedelta(days=1)
_CATCH_UP_DAYS = 7


def due_days(
    now: datetime,
    daily: DailyTime,
    *,
    recorded: Mapping[date, datetime],
    since: datetime,
) -> tuple[date, ...]:
    """Return the days of the past week that have ended without a complete record, oldest first.

    :param recorded: when each day was recorded.
    :param since: when data begins: days that ended earlier have none.
    """
    today = daily.last(now).astimezone(daily.zone).date()
    week = (today - place * _DAY for place in reversed(range(_CATCH_UP_DAYS)))
    return tuple(
        day
        for day in week
        if since < daily.on(day) and not (day in recorded and recorded[day] >= daily.on(day))
    )


def record(
    database: Database, settings: Settings, day: date, *, now: datetime
) -> tuple[CapacityDay, ...]:
    """Measure and record a day and rewrite the CSV; return all records.

    A day that has not ended is recorded up to now, and again by the schedule. The first day begins
    with the installation.

    :raises ConfigurationError: the day has not begun, it ended before the installation, or its data
        is already deleted.
    """
    daily = DailyTime(ZoneInfo(settings.rag_timezone), settings.rag_capacity_at)
    since, until = daily.on(day - _DAY), daily.on(day)
    if since >= now:
        raise ConfigurationError(f"the day {day} has not begun: {since:%Y-%m-%d %H:%M} UTC")
    if since < now - settings.rag_operations_keep_days * _DAY:
        raise ConfigurationError(
            f"the data of {day} is deleted after RAG_OPERATIONS_KEEP_DAYS = "
            f"{settings.rag_operations_keep_days} days: its record, if there is one, is kept"
        )
    with database.connect() as connection:
        begins = watched_since(connection)
        if until <= begins:
            raise ConfigurationError(
                f"the day {day} ended before the installation, {begins:%Y-%m-%d %H:%M %Z}: there "
                "is nothing to record"
            )
        measured = measure(
            connection,
            max(since, begins),
            min(until, now),
            lanes=DOCUMENT_LANES,
            allowed_runs=sum(runs_at_once(settings)[lane] for lane in DOCUMENT_LANES),
        )
        record_day(connection, day, measured, until)
        days = capacity_days(connection)
    write_csv(days, csv_path(settings))
    return days


def csv_path(settings: Settings) -> Path:
    """Return the path of the CSV file of all records."""
    return settings.rag_home / "capacity" / "capacity.csv"


def frame(days: Sequence[CapacityDay]) -> pd.DataFrame:
    """Return the records as a table with one row per day; missing figures are NaN."""
    # Lazy import: it takes half a second.
    import pandas as pd  # noqa: PLC0415

    names = [*(field.name for field in fields(Measured)), "recorded_at"]
    rows = [(*astuple(one.measured), one.recorded_at) for one in days]
    index = pd.DatetimeIndex([one.day for one in days], name="day")
    table = pd.DataFrame(rows, columns=names, index=index)
    return table.astype(
        dict.fromkeys(("mean_seconds", "p95_seconds", "busy_share", "cost_usd"), float)
    )


def as_csv(days: Sequence[CapacityDay]) -> str:
    """Return the records as CSV, with a header line."""
    table = frame(days)
    table.index = table.index.map(lambda day: day.date().isoformat()).rename("day")
    return str(table.to_csv(lineterminator="\n"))


def write_csv(days: Sequence[CapacityDay], path: Path) -> None:
    """Replace the file with all records, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".capacity-", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        fresh.write_text(as_csv(days), encoding="utf-8")
        fresh.replace(path)


def free_bytes(settings: Settings) -> int | None:
    """Return the free space on the database's disk; ``None`` for an external server."""
    if settings.rag_database_url is not None:
        return None
    return shutil.disk_usage(settings.rag_home).free


def forecasts(days: Sequence[CapacityDay], settings: Settings) -> tuple[Forecast, ...]:
    """Forecast when each limit in force will be exceeded."""
    if not days:
        return ()
    limits = limits_of(frame(days), settings, free_bytes=free_bytes(settings))
    return tuple(map(forecast, limits))
