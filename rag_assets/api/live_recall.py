"""Repeats a share of the searches exactly in the background, to measure the recall of users."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from rag_assets.retrieval.live_recall import Recalled, is_exact, recalled, repeated
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult
from rag_assets.retrieval.sql.live_recall import LiveRecall

log = logging.getLogger("rag_assets.api")
KEEP_EVERY_S = 5.0
Repeat = Callable[[SearchRequest], SearchResult]
Place = tuple[int, str, str]
"""Release, corpora and plan."""


@dataclass
class LiveRecallSampler:
    """Compares searches of one worker process, and counts the results.

    At most one repetition runs, and it starts right after the search, so that both see the same
    rows. Then it pauses until the repetition was at most ``budget`` of the time.

    :param share: share of the searches to repeat; 0 for none.
    :param budget: maximum share of the time in which a repetition runs.
    :param keep: stores what was counted.
    """

    share: float
    budget: float
    keep: Callable[[Sequence[LiveRecall]], Awaitable[None]]
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    _counted: dict[Place, LiveRecall] = field(default_factory=dict)
    _running: asyncio.Task[None] | None = None
    _keeping: asyncio.Task[None] | None = None
    _rests_until: float = 0.0

    def start(self) -> None:
        """Store what is counted every few seconds, in the background."""
        if self.share > 0:
            self._keeping = asyncio.create_task(self._keep_counted())

    async def aclose(self) -> None:
        """Stop, and store what was counted."""
        for task in (self._running, self._keeping):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._keep_once(failing=False)

    def offer(self, request: SearchRequest, result: SearchResult, repeat: Repeat) -> None:
        """Repeat this search in the background if it is sampled; never delays the caller.

        :param repeat: searches exactly; called in a thread.
        """
        if self.chance() >= self.share or is_exact(result):
            return
        place = result.release_id, request.corpus, result.plan_name
        if self._running is not None or self.clock() < self._rests_until:
            self._add(place, skipped=1)
            return
        self._running = asyncio.create_task(self._compare(place, request, result, repeat))

    async def _compare(
        self, place: Place, request: SearchRequest, result: SearchResult, repeat: Repeat
    ) -> None:
        began = self.clock()
        try:
            exact = await asyncio.to_thread(repeat, repeated(request))
            self._add(place, recalled(request, result, exact), compared=1)
        except Exception as error:  # a user's answer never depends on it
            log.info("a search could not be repeated exactly: %s", error)
            self._add(place, failed=1)
        finally:
            now = self.clock()
            self._rests_until = now + (now - began) * (1 / self.budget - 1)
            self._running = None

    def _add(self, place: Place, found: Recalled | None = None, **counts: int) -> None:
        one = self._counted.get(place) or LiveRecall(*place)
        if found is not None:
            counts |= {"hits": found.hits, "hits_found": found.found}
        more = {name: getattr(one, name) + count for name, count in counts.items()}
        self._counted[place] = replace(one, **more)

    async def _keep_counted(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            failing = await self._keep_once(failing=failing)

    async def _keep_once(self, *, failing: bool) -> bool:
        """Store what was counted, or keep it for the next time; return whether that failed."""
        counted, self._counted = self._counted, {}
        if not counted:
            return failing
        try:
            await self.keep(tuple(counted.values()))
        except Exception as error:  # also a role that may not write the table
            if not failing:  # log it once
                log.warning("recall of live searches cannot be stored: %s", error)
            self._add_back(counted)
            return True
        return False

    def _add_back(self, counted: dict[Place, LiveRecall]) -> None:
        for place, one in counted.items():
            self._add(
                place, Recalled(one.hits, one.hits_found),
                compared=one.compared, failed=one.failed, skipped=one.skipped,
            )  # fmt: skip
