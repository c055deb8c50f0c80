"""A signal in the middle of an event loop: its handler is called, once the loop has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType

import pytest

from rag_assets.interrupts import run_async

NUMBERS = [signal.SIGINT, signal.SIGTERM]


class Interrupted(BaseException):
    """As Dagster's: neither an ``Exception`` nor a ``KeyboardInterrupt``."""


def interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, interrupt) for number in NUMBERS}
    yield
    left = {number: signal.getsignal(number) for number in NUMBERS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert set(left.values()) == {interrupt}, "the handlers that there were before are there again"


async def in_a_task_of_a_group(send: Callable[[], None]) -> None:
    async def step() -> None:
        send()

    async with asyncio.TaskGroup() as group:
        group.create_task(step())
        await asyncio.sleep(60)


async def in_a_callback(send: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(send)
    await asyncio.sleep(60)


async def while_nothing_happens(send: Callable[[], None]) -> None:
    timer = threading.Timer(0.2, send)
    timer.start()
    try:
        await asyncio.sleep(60)
    finally:
        timer.join()


async def as_it_ends(send: Callable[[], None]) -> None:
    send()


Work = Callable[[Callable[[], None]], Coroutine[None, None, None]]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "work", [in_a_task_of_a_group, in_a_callback, while_nothing_happens, as_it_ends]
)
def test_a_signal_ends_the_work_and_then_its_handler_raises(
    work: Work, number: signal.Signals
) -> None:
    ended: list[str] = []

    async def main() -> None:
        try:
            await work(lambda: os.kill(os.getpid(), number))
        finally:
            ended.append("in order")

    with pytest.raises(Interrupted) as raised:
        run_async(main())
    assert raised.value.args == (number,)
    assert ended == ["in order"]


def test_a_signal_of_which_nothing_is_wanted_ends_nothing() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def main() -> str:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        return "went on"

    try:
        assert run_async(main()) == "went on"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_results_and_errors_come_through_in_every_thread() -> None:
    async def fail() -> None:
        raise ValueError("ours")

    async def succeed() -> int:
        return 7

    def both() -> None:
        with pytest.raises(ValueError, match="ours"):
            run_async(fail())
        found.append(run_async(succeed()))

    found: list[int] = []
    both()
    thread = threading.Thread(target=both)
    thread.start()
    thread.join()
    assert found == [7, 7]
