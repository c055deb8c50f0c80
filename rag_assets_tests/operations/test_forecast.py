"""Forecasts of limits: what a trend shows, and when it shows nothing."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.operations.forecast import Limit, forecast, limits_of
from rag_assets.settings.model import Settings

FIRST = "2026-11-01"


def limit(values: list[float], most: float | None = 100, note: str = "") -> Limit:
    days = pd.date_range(FIRST, periods=len(values), freq="D")
    return Limit(
        "queue", "RAG_X", pd.Series(values, days, dtype=float), most, "{:.1f}".format, note
    )


@pytest.mark.parametrize(
    ("values", "reached", "told"),
    [
        ([], None, "not enough days: 0 of the 7 that a trend needs"),
        ([1, 2, 3, 4, 5, 6], None, "not enough days: 6 of the 7 that a trend needs"),
        # 2 a day from 10 on: 22 on the 7th day, 100 after 39 days more.
        (
            [10, 12, 14, 16, 18, 20, 22],
            date(2026, 12, 16),
            "at 22.0 of 100.0, rising by 2.0 a day: reached on 2026-12-16, by the trend over 7 "
            "days, which explains 100% of their variance",
        ),
        ([20] * 7, None, "at 20.0 of 100.0: no rising trend in 7 days"),
        ([22, 20, 18, 16, 14, 12, 10], None, "at 10.0 of 100.0: no rising trend in 7 days"),
        ([10, 60, 12, 55, 9, 61, 14], None, "at 32.8 of 100.0: no rising trend in 7 days"),
        ([10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6], None, "at 10.6 of 100.0: not within a year"),
        ([94, 96, 98, 100, 102, 104, 106], date(2026, 11, 7), "at 106.0 of 100.0: the limit is"),
    ],
)
def test_a_limit_is_reached_where_a_significant_trend_crosses_it(
    values: list[float], reached: date | None, told: str
) -> None:
    found = forecast(limit(values))
    assert found.reached_on == reached
    assert found.reasoning.startswith(told)


def test_only_the_last_four_weeks_count_and_days_without_a_value_do_not() -> None:
    long_ago = [500.0 - place for place in range(40)]
    found = forecast(limit([*long_ago, *(float(place) for place in range(28))]))
    assert found.per_day == pytest.approx(1)
    assert found.reached_on == date(2027, 3, 21)
    gaps = forecast(limit([1, float("nan"), 3, 4, 5, float("nan"), 7, 8, 9]))
    assert gaps.per_day == pytest.approx(1)


def test_an_unknown_limit_is_reported_as_such() -> None:
    found = forecast(limit([1, 2, 3, 4, 5, 6, 7], None, "the disk is elsewhere"))
    assert (found.reached_on, found.reasoning) == (None, "at 7.0; the disk is elsewhere")


@given(
    st.lists(st.floats(0, 1e6), max_size=40),
    st.floats(1, 1e6),
)
def test_a_date_is_never_before_the_last_day_nor_beyond_a_year(
    values: list[float], most: float
) -> None:
    found = forecast(limit(values, most))
    if found.reached_on is not None:
        last = (pd.Timestamp(FIRST) + pd.Timedelta(days=len(values) - 1)).date()
        assert 0 <= (found.reached_on - last).days <= 365
        assert len(values) >= 7


def table(days: int) -> pd.DataFrame:
    places = np.arange(days, dtype=float)
    return pd.DataFrame(
        {
            "busy_share": 0.4 + 0.01 * places,
            "requests": 1000 + 10 * places,
            "tokens": 1e6 + places,
            "database_bytes": 1e9 + 1e8 * places,
            "cost_usd": 0.5 + 0.1 * places,
        },
        index=pd.date_range(FIRST, periods=days, freq="D"),
    )


def test_each_limit_is_compared_with_its_own_series() -> None:
    settings = Settings(rag_disk_free_gb=5, rag_backfill_budget_usd=20)
    limits = {one.name: one for one in limits_of(table(20), settings, free_bytes=int(15e9))}
    busy = forecast(limits["time of the documents' runs"])
    assert busy.now == pytest.approx(0.59)
    assert busy.reached_on == date(2026, 12, 11)  # 21 days at 0.01 to 0.8
    assert limits["requests a day"].maximum == 1000 * 1440
    assert limits["tokens a day"].maximum == 1_000_000 * 1440
    size = limits["database"]
    assert size.maximum == pytest.approx(2.9e9 + 10e9)
    assert forecast(size).reached_on == date(2027, 2, 28)
    cost = limits["cost of seven days"]
    assert cost.maximum == 40  # two windows a week
    assert cost.series.dropna().size == 14
    assert forecast(cost).reached_on == date(2026, 12, 27)


def test_the_disk_of_another_server_is_not_guessed() -> None:
    limits = {one.name: one for one in limits_of(table(7), Settings(), free_bytes=None)}
    assert "is unknown" in forecast(limits["database"]).reasoning
