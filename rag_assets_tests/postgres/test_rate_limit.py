"""The rate limiter: its pace, and identical counting in memory and in a table."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_assets.postgres.database import Database, one
from rag_assets.postgres.rate_limit import LimitTable, Pace, pace

WINDOW_S = 60.0

SOME = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.integers(1, 10_000_000))
def test_a_pace_is_positive_and_close_to_its_limit(limit: int) -> None:
    found = pace(limit)
    per_minute = WINDOW_S / found.interval_s
    assert 0 < per_minute <= limit
    if limit >= 100:
        assert per_minute > 0.9 * limit


KEYS = LimitTable("api_limits", "key_id", ("arrives_at",), refuses=True)


@SOME
@given(
    burst=st.integers(0, 4),
    pauses=st.lists(st.integers(0, 6).map(lambda halves: 30.0 * halves), min_size=5, max_size=25),
)
def test_a_refusing_table_counts_like_a_limit_in_memory(
    database: Database, burst: int, pauses: list[float]
) -> None:
    """Both take requests after the same pauses, which end half an interval from any decision."""
    pace = Pace(60.0, 60.0 * burst + 15.0)
    values = KEYS.values("key", (pace, 1))
    now, due = 0.0, -math.inf
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE api_limits")
        for pause in pauses:
            now += pause
            connection.execute(
                "UPDATE api_limits SET arrives_at = arrives_at - make_interval(secs => %s)",
                (pause,),
            )
            wait_s, next_due = pace.take(due, now)
            row = connection.execute(KEYS.taking, values).fetchone()
            assert (row is not None) == (wait_s <= 0)
            if row is None:
                row = one(connection.execute(KEYS.waiting, values))
            else:
                due = next_due
            assert row[0] == pytest.approx(wait_s, abs=10)
