"""What stages of an event loop are built with: a queue bounded by weight, and work in threads."""

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
    """First in, first out, for one event loop.

    :param most: weight at which putting waits. An item that alone is heavier goes in alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._changed = asyncio.Condition()

    async def put(self, item: Item, weight: int = 1) -> None:
        """Append an item as soon as there is room for it."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self._items or self._weight + weight <= self._most
            )
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()

    async def take(self) -> Item:
        """The first item, as soon as there is one."""
        return (await self.take_up_to(0))[0]

    async def take_up_to(self, weight: int) -> list[Item]:
        """The first item, as soon as there is one, and those behind it up to a weight together."""
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
    """Do blocking work in a thread. When cancelled, wait until it is done: it cannot be stopped."""
    return await stoppable(None, work, *args, **kwargs)


async def stoppable(
    stop: Callable[[], None] | None,
    work: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """The same for work that can be stopped.

    :param stop: called when cancelled; makes the work end soon, whatever its result.
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
    """Await work; when cancelled, give it so many seconds to end by itself."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=grace_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
