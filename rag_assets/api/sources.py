"""Where the API reads and writes: the primary and, where there is one, a replica of it.

Each server is searched through the release that it shows itself: what a replica lags behind with is
whole, vectors, index and release, as it was some seconds ago. So the primary can always stand in
for a replica in the midst of a search, and the other way round only from the next one on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Connection
from rag_assets.postgres.pool import Pool
from rag_assets.retrieval.current import CurrentRelease

Answer = TypeVar("Answer")
Work = Callable[[Connection], Answer]
UNLIMITED = anyio.CapacityLimiter(10_000)
"""A source's own limiter counts; the default of anyio would count again."""


@dataclass
class Source:
    """One server.

    :param size: searches at once; others wait for ``wait_s``.
    :param patience_s: of who can ask another server instead.
    """

    name: Literal["primary", "replica"]
    pool: Pool
    current: CurrentRelease
    size: int
    wait_s: float
    patience_s: float
    limiter: anyio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = anyio.CapacityLimiter(self.size)

    async def run(self, work: Work[Answer], timeout_ms: int, *, tries: int = 2) -> Answer:
        """Do work on a pooled connection, in a thread; see :meth:`Pool.run`."""
        await self._take_turn()
        try:
            # A server that hangs keeps the thread and its connection, but not who waits for them.
            if tries == 1:
                with anyio.fail_after(self.patience_s):
                    return await self._in_thread(work, timeout_ms, tries)
            return await self._in_thread(work, timeout_ms, tries)
        except TimeoutError:
            raise DatabaseUnavailableError(
                f"the {self.name} did not answer within {self.patience_s:g} s"
            ) from None
        finally:
            self.limiter.release()

    async def _take_turn(self) -> None:
        try:
            self.limiter.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(self.wait_s):
                    await self.limiter.acquire()
            except TimeoutError:
                raise DatabaseUnavailableError(
                    "every database connection is busy: try again, or raise RAG_API_POOL_SIZE"
                ) from None

    async def _in_thread(self, work: Work[Answer], timeout_ms: int, tries: int) -> Answer:
        return await anyio.to_thread.run_sync(
            lambda: self.pool.run(work, timeout_ms, tries=tries),
            limiter=UNLIMITED,
            abandon_on_cancel=tries == 1,
        )


class Sources:
    """The servers, and which of them does what.

    :param max_lag_s: seconds that the replica may be behind.
    :param fell_back: told each time that another server had to do what the replica could not.
    """

    def __init__(
        self,
        primary: Source,
        replica: Source | None,
        *,
        max_lag_s: float,
        fell_back: Callable[[], None],
    ) -> None:
        self.primary = primary
        self.replica = replica
        self._max_lag_s = max_lag_s
        self._fell_back = fell_back

    @property
    def lag_s(self) -> float:
        """Seconds by which the replica is behind the primary; 0 where that cannot be told."""
        return self.replica.current.behind(self.primary.current) if self.replica else 0.0

    def to_search(self) -> Source:
        """The replica, while it answers and is not too far behind; else the primary."""
        replica = self.replica
        if replica is None or not replica.current.following or self.lag_s > self._max_lag_s:
            return self.primary
        return replica

    @property
    def without_primary(self) -> bool:
        """Whether there is a replica, and the primary is away."""
        return self.replica is not None and not self.primary.current.following

    def searching(self, source: Source) -> tuple[Source, ...]:
        """Who does what is to be read there: that one, and who stands in."""
        if source is self.primary:
            return (source,)
        return source, source if self.without_primary else self.primary

    def up_to_date(self) -> tuple[Source, ...]:
        """Who tells what may have been written just now: the primary, and who stands in."""
        if self.replica is None:
            return (self.primary,)
        return (self.replica,) if self.without_primary else (self.primary, self.replica)

    async def run(self, order: Sequence[Source], work: Work[Answer], timeout_ms: int) -> Answer:
        """Do read-only work where it can be done first."""
        *before, last = order
        for source in before:
            try:
                return await source.run(work, timeout_ms, tries=1)
            except DatabaseUnavailableError:
                self._fell_back()
        return await last.run(work, timeout_ms)

    async def write(self, work: Work[Answer], timeout_ms: int) -> Answer:
        """Do work on the primary.

        :raises DatabaseUnavailableError: it is away; at once, where a replica serves meanwhile.
        """
        self.refuse_without_primary()
        return await self.primary.run(work, timeout_ms)

    def refuse_without_primary(self) -> None:
        """Do not wait for a primary that is known to be away.

        :raises DatabaseUnavailableError: it is.
        """
        if self.without_primary:
            raise DatabaseUnavailableError(
                "the primary is away: what a replica has is served, but nothing can be written"
            )
