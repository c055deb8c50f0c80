"""The limits: asked of the real tables, whose answers say when each request may start."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_assets.embedding.sql.limits import (
    mark_out_of_quota,
    rest_key,
    resting_keys,
    take_slot,
)
from rag_assets.postgres.database import AsyncConnection, Database
from rag_assets.postgres.rate_limit import Pace, pace

UNLIMITED = Pace(0.0, 0.0)
WINDOW_S = 60.0
SLACK_S = 0.1  # between a slot's place and our clock

SOME = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Start = tuple[float, int]
"""When a request may start (Unix time), and its cost in tokens."""


async def take(
    connection: AsyncConnection, requests: Pace, tokens: Pace, costs: Sequence[int]
) -> list[Start]:
    """Take a slot for each cost, one after another, without waiting for any."""
    starts = []
    for cost in costs:
        slot = await take_slot(
            connection, "endpoint", requests=requests, tokens=tokens, cost_tokens=cost
        )
        starts.append((time.time() + slot.wait_s, cost))
    return starts


async def forget(connection: AsyncConnection) -> None:
    await connection.execute("TRUNCATE provider_limits")


async def let_pass(connection: AsyncConnection, seconds: float) -> None:
    """As if so much time had passed since the last slot was taken."""
    await connection.execute(
        "UPDATE provider_limits SET requests_at = requests_at - make_interval(secs => %s),"
        " tokens_at = tokens_at - make_interval(secs => %s)",
        (seconds, seconds),
    )


def most_in_a_minute(starts: Sequence[Start], *, tokens: bool = False) -> int:
    """The greatest sum (of requests, or of their tokens) within any 60 s."""
    ordered = sorted(starts)
    best = first = total = 0
    for at, cost in ordered:
        total += cost if tokens else 1
        while ordered[first][0] <= at - (WINDOW_S - SLACK_S):
            total -= ordered[first][1] if tokens else 1
            first += 1
        best = max(best, total)
    return best


@SOME
@given(limit=st.integers(1, 90), pauses=st.lists(st.floats(0, 90), min_size=1, max_size=4))
def test_no_60_seconds_see_more_requests_than_the_limit(
    database: Database, limit: int, pauses: list[float]
) -> None:
    async def ask() -> list[Start]:
        starts: list[Start] = []
        shift = 0.0
        async with database.connect_async() as connection:
            await forget(connection)
            for pause in pauses:
                taken = await take(connection, pace(limit), UNLIMITED, [1] * (limit + 3))
                starts += [(at + shift, cost) for at, cost in taken]
                await let_pass(connection, pause)
                shift += pause
        return starts

    assert most_in_a_minute(asyncio.run(ask())) <= limit


@SOME
@given(
    limit=st.integers(100, 5000),
    shares=st.lists(st.floats(0.001, 1.0), min_size=30, max_size=60),
)
def test_no_60_seconds_see_more_tokens_than_the_limit(
    database: Database, limit: int, shares: list[float]
) -> None:
    """Whatever the requests cost, up to the most that one may take."""
    largest = max(1, limit // 20)
    costs = [max(1, int(share * largest)) for share in shares] + [largest] * 10

    async def ask() -> list[Start]:
        async with database.connect_async() as connection:
            await forget(connection)
            return await take(connection, UNLIMITED, pace(limit, largest=largest), costs)

    assert most_in_a_minute(asyncio.run(ask()), tokens=True) <= limit


def test_the_limit_is_used_and_not_only_kept(database: Database) -> None:
    """A pace that let nothing through would keep every limit, too."""

    async def ask() -> list[Start]:
        async with database.connect_async() as connection:
            await forget(connection)
            return await take(connection, pace(600), UNLIMITED, [1] * 1200)

    starts = asyncio.run(ask())
    assert max(at for at, _ in starts) - time.time() < 2.2 * WINDOW_S
    assert most_in_a_minute(starts) > 0.9 * 600


def test_connections_that_ask_at_once_share_one_limit(database: Database) -> None:
    async def ask_one(database: Database) -> list[Start]:
        async with database.connect_async() as connection:
            return await take(connection, pace(40), UNLIMITED, [1] * 20)

    async def ask() -> list[list[Start]]:
        async with database.connect_async() as connection:
            await forget(connection)
        return await asyncio.gather(*(ask_one(database) for _ in range(5)))

    taken = asyncio.run(ask())
    assert most_in_a_minute([start for each in taken for start in each]) <= 40
    assert all(any(at > time.time() for at, _ in each) for each in taken), "each was made to wait"


def _take_in_a_process(conninfo: str, count: int) -> list[Start]:
    async def ask() -> list[Start]:
        async with Database(conninfo).connect_async() as connection:
            return await take(connection, pace(30), UNLIMITED, [1] * count)

    return asyncio.run(ask())


def test_processes_share_one_limit(database: Database) -> None:
    async def clear() -> None:
        async with database.connect_async() as connection:
            await forget(connection)

    asyncio.run(clear())
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
        taken = list(pool.map(_take_in_a_process, [database.conninfo] * 2, [40] * 2))
    starts = [start for each in taken for start in each]
    assert len(starts) == 80
    assert most_in_a_minute(starts) <= 30


def test_endpoints_do_not_share_limits(database: Database) -> None:
    async def ask() -> tuple[float, float]:
        async with database.connect_async() as connection:
            await forget(connection)
            slow = pace(1)
            await take(connection, slow, UNLIMITED, [1, 1])
            waits = [
                await take_slot(connection, name, requests=slow, tokens=UNLIMITED, cost_tokens=1)
                for name in ("endpoint", "another")
            ]
            return waits[0].wait_s, waits[1].wait_s

    busy, idle = asyncio.run(ask())
    assert busy > 60
    assert idle == 0


@pytest.mark.parametrize(("limit", "interval_s"), [(1, 60.0), (2, 30.0), (3, 60 / 1.85)])
def test_the_smallest_limits_have_no_burst_beyond_them(limit: int, interval_s: float) -> None:
    assert pace(limit).interval_s == pytest.approx(interval_s)
    assert pace(limit).burst_s < interval_s


async def _resting(database: Database) -> tuple[dict[str, float], dict[str, float]]:
    async with database.connect_async() as connection:
        await rest_key(connection, "endpoint", "long", 30)
        await rest_key(connection, "endpoint", "long", 1)
        await rest_key(connection, "endpoint", "over", 0.05)
        await rest_key(connection, "another", "elsewhere", 30)
        await asyncio.sleep(0.1)
        await mark_out_of_quota(connection, "endpoint", "long")
        await mark_out_of_quota(connection, "endpoint", "poor")
        names = ["long", "over", "elsewhere", "poor", "unknown"]
        return (
            await resting_keys(connection, "endpoint", names),
            await resting_keys(connection, "another", names),
        )


def test_a_key_rests_for_the_longest_that_was_asked_and_at_its_endpoint_only(
    database: Database,
) -> None:
    here, elsewhere = asyncio.run(_resting(database))
    assert here == {"long": pytest.approx(30, abs=1)}
    assert elsewhere == {"elsewhere": pytest.approx(30, abs=1)}
    with database.connect() as connection:
        poor = connection.execute(
            "SELECT key_fingerprint FROM provider_keys WHERE out_of_quota_at IS NOT NULL ORDER BY 1"
        ).fetchall()
    assert poor == [("long",), ("poor",)]
