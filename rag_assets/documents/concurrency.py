"""Building blocks for asyncio stages: a queue bounded by weight, and work in threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, ParamSpec, TypeVar

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Buffer(Generic[Item]):
    """A FIFO queue for one event loop.

    :param capacity: total weight above which ``put`` waits. A heavier item is admitted alone.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._weight = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._changed = asyncio.Condition()

    async def put(self, item: Item, weight: int = 1) -> None:
        """Append an item once there is room for it."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._items or self._weight + weight <= self._capacity
            )
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()

    async def take(self) -> Item:
        """Wait for an item and remove it."""
        return (await self.take_up_to(0))[0]

    async def take_up_to(self, weight: int) -> list[Item]:
        """Wait for an item, and remove it and those behind it up to a total weight."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            taken: list[Item] = []
            total = 0
            while self._items and (not taken or total + self._items[0][1] <= weight):
                item, its = self._items.popleft()
                taken.append(item)
                total += its
            self._weight -= total
            self._changed.notify_all()
            return taken


async def in_thread(
    work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Run blocking work in a thread. It cannot be stopped: cancelling waits until it is done."""
    return await stoppable(None, work, *args, **kwargs)


async def stoppable(
    stop: Callable[[], None] | None,
    work: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """Run blocking work that can be stopped in a thread.

    :param stop: called when cancelled; makes the work end soon, with any result.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop:
            stop()
        with suppress(Exception):
            await task
        raise


async def finished(work: Coroutine[Any, Any, Result], grace_s: float) -> Result:
    """Await work; when cancelled, give it ``grace_s`` seconds to finish."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=grace_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
