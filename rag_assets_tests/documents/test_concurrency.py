"""The bounded queue between stages, and work in threads that ends cleanly."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rag_assets.documents.concurrency import Buffer, finished, in_thread, stoppable


def test_what_is_put_comes_out_in_order_by_weight() -> None:
    async def work() -> None:
        buffer: Buffer[str] = Buffer(10)
        for item, weight in (("a", 3), ("b", 4), ("c", 1)):
            await buffer.put(item, weight)
        assert await buffer.take_up_to(7) == ["a", "b"]
        assert await buffer.take() == "c"

    asyncio.run(work())


def test_an_item_that_is_too_heavy_comes_alone() -> None:
    async def work() -> None:
        buffer: Buffer[str] = Buffer(10)
        await buffer.put("heavy", 50)
        blocked = asyncio.ensure_future(buffer.put("light", 1))
        await asyncio.sleep(0)
        assert not blocked.done()
        assert await buffer.take_up_to(20) == ["heavy"]
        await blocked
        assert await buffer.take() == "light"

    asyncio.run(work())


def test_putting_waits_for_room_and_taking_for_an_item() -> None:
    async def work() -> None:
        buffer: Buffer[int] = Buffer(2)
        taken: list[int] = []

        async def take() -> None:
            while len(taken) < 50:
                taken.append(await buffer.take())

        taker = asyncio.ensure_future(take())
        for number in range(50):
            await buffer.put(number)
        await taker
        assert taken == list(range(50))

    asyncio.run(work())


def test_a_taker_that_is_cancelled_takes_nothing_along() -> None:
    async def work() -> None:
        buffer: Buffer[str] = Buffer(2)
        taker = asyncio.ensure_future(buffer.take())
        await asyncio.sleep(0)
        taker.cancel()
        await asyncio.gather(taker, return_exceptions=True)
        await buffer.put("a")
        assert await buffer.take() == "a"

    asyncio.run(work())


def test_work_in_a_thread_that_is_cancelled_is_waited_for() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        may_end.wait(10)
        done.append("work")

    async def run() -> None:
        task = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        done.append("cancelled")

    asyncio.run(run())
    assert done == ["work", "cancelled"]


def test_stoppable_work_is_stopped() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(10)
        raise ValueError("stopped")

    async def run() -> None:
        task = asyncio.ensure_future(stoppable(may_end.set, work))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.mark.parametrize(("grace_s", "ended"), [(10, ["work"]), (0, [])])
def test_cancelled_work_gets_its_grace_period(grace_s: float, ended: list[str]) -> None:
    done: list[str] = []

    async def run() -> None:
        may_end = asyncio.Event()

        async def work() -> None:
            await may_end.wait()
            done.append("work")

        task = asyncio.ensure_future(finished(work(), grace_s))
        await asyncio.sleep(0)
        task.cancel()
        if ended:
            may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert done == ended
