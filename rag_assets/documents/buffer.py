"""A queue between two stages that is bounded by weight, not by number."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


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
