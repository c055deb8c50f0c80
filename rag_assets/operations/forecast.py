"""Forecast when the current limits will be exceeded, by a linear trend of the daily records. Pure.

A trend needs seven days, and yields a date only if it explains enough of the variance: most of the
apparent growth over a week is chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from rag_assets.settings.model import Settings

if TYPE_CHECKING:
    import pandas as pd

MIN_DAYS, MAX_DAYS = 7, 28
HORIZON_DAYS = 365
MIN_FIT = 0.3
"""Minimum share of the variance that a trend must explain (R²)."""
BUSY = 0.8
"""Maximum utilization of the runs: the rest is for bursts."""
_MINUTES = 24 * 60


@dataclass(frozen=True)
class Limit:
    """A limit, and the daily series that it applies to.

    :param name: what is limited; ``settings``: by which settings.
    :param most: the limit, in the series' unit; ``None`` if unknown, for the reason in ``note``.
    :param shown: formats a value of the series.
    """

    name: str
    settings: str
    series: pd.Series[float]
    maximum: float | None
    shown: Callable[[float], str]
    note: str = ""


@dataclass(frozen=True)
class Forecast:
    """The forecast for one limit.

    :param now: the trend's value on the last day, or without a trend that day's own value.
    :param reached_on: when the trend reaches the limit; ``None`` if not within a year.
    :param reasoning: the reasoning.
    """

    name: str
    settings: str
    now: float | None
    maximum: float | None
    per_day: float | None
    reached_on: date | None
    reasoning: str


def limits_of(
    table: pd.DataFrame, settings: Settings, *, free_bytes: int | None
) -> tuple[Limit, ...]:
    """Return the limits in force, each with its series.

    :param table: one row per day, with the columns of ``capacity_days``.
    :param free_bytes: free space on the database's disk; ``None`` if unknown.
    """
    size = table["database_bytes"].astype(float)
    room = None
    if free_bytes is not None and len(size):
        room = float(size.iloc[-1]) + max(0.0, free_bytes - settings.rag_disk_free_gb * 1e9)
    weekly = table["cost_usd"].astype(float).rolling("7D", min_periods=7).sum()
    windows = len(settings.backfill_weekdays())
    return (
        Limit(
            "time of the documents' runs",
            "RAG_DOCUMENT_RUNS, RAG_LARGE_DOCUMENT_RUNS",
            table["busy_share"].astype(float),
            BUSY,
            "{:.1%}".format,
            "above it, bursts of documents wait long",
        ),
        Limit(
            "requests a day",
            "RAG_EMBEDDING_RATE_LIMIT",
            table["requests"].astype(float),
            settings.rag_embedding_rate_limit * _MINUTES,
            "{:,.0f}".format,
        ),
        Limit(
            "tokens a day",
            "RAG_EMBEDDING_TOKEN_LIMIT",
            table["tokens"].astype(float),
            settings.rag_embedding_token_limit * _MINUTES,
            "{:,.0f}".format,
        ),
        Limit(
            "database",
            "the disk, less RAG_DISK_FREE_GB",
            size,
            room,
            lambda size: f"{size / 1e9:.3f} GB",
            "" if room is not None else "the free space on the database server is unknown",
        ),
        Limit(
            "cost of seven days",
            "RAG_BACKFILL_BUDGET_USD",
            weekly,
            settings.rag_backfill_budget_usd * windows,
            "${:,.4f}".format,
            "all embedding costs, compared with the budget of a week's windows",
        ),
    )


def forecast(limit: Limit) -> Forecast:
    """Fit a line to the last four weeks, and compute when it crosses the limit."""
    days = limit.series.dropna().tail(MAX_DAYS)
    if len(days) < MIN_DAYS:
        words = f"not enough days: {len(days)} of the {MIN_DAYS} that a trend needs"
        return _forecast(limit, words, now=float(days.iloc[-1]) if len(days) else None)
    places = np.array([day.toordinal() for day in days.index], dtype=float)
    values = days.to_numpy(dtype=float)
    slope, fit = _line(places, values)
    middle = float(values.mean() + slope * (places[-1] - places.mean()))
    last = days.index[-1].date()
    if limit.maximum is None:
        return _forecast(
            limit, f"at {limit.shown(middle)}; {limit.note}", now=middle, per_day=slope
        )
    at = f"at {limit.shown(middle)} of {limit.shown(limit.maximum)}"
    of_days = f"over {len(days)} days, which explains {fit:.0%} of their variance"
    if middle >= limit.maximum:
        words, reached = f"{at}: the limit is reached", last
    elif slope <= 0 or fit < MIN_FIT:
        words, reached = f"{at}: no rising trend in {len(days)} days", None
    elif (wait := (limit.maximum - middle) / slope) > HORIZON_DAYS:
        words, reached = f"{at}: not within a year, by the trend {of_days}", None
    else:
        reached = last + timedelta(days=int(np.ceil(round(wait, 6))))
        words = (
            f"{at}, rising by {limit.shown(slope)} a day: reached on {reached}, by the trend "
            f"{of_days}"
        )
    note = f"; {limit.note}" if limit.note else ""
    return _forecast(limit, words + note, now=middle, per_day=slope, reached_on=reached)


def _line(places: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the slope of the least-squares line and its R²."""
    x, y = places - places.mean(), values - values.mean()
    slope = float(x @ y / (x @ x))
    total = float(y @ y)
    return slope, float((slope * x) @ (slope * x)) / total if total > 0 else 0.0


def _forecast(
    limit: Limit,
    words: str,
    *,
    now: float | None = None,
    per_day: float | None = None,
    reached_on: date | None = None,
) -> Forecast:
    return Forecast(limit.name, limit.settings, now, limit.maximum, per_day, reached_on, words)
