"""The servers that the API reads and writes: the primary and, optionally, a replica of it.

Each server is searched through the release that it shows itself: a replica that lags is consistent,
with the vectors, index and release of some seconds ago. So a search on the replica can always fall
back to the primary halfway; from the primary to the replica, only the next search can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import anyio

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.pool import Pool
from rag_assets.retrieval.current import CurrentRelease

Answer = TypeVar("Answer")
Work = Callable[[Connection], Answer]
UNLIMITED = anyio.CapacityLimiter(10_000)
"""Each source has its own limiter; anyio's default one would limit threads a second time."""


@dataclass
class Source:
    """One server.

    :param size: maximum concurrent searches; further ones wait for up to ``wait_s``.
    :param patience_s: time limit for a caller that can use another server instead.
    """

    name: Literal["primary", "replica"]
    database: Database
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
            # A server that hangs blocks the thread and its connection, but not the caller.
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
                raise self.pool.shortage() from None

    async def _in_thread(self, work: Work[Answer], timeout_ms: int, tries: int) -> Answer:
        return await anyio.to_thread.run_sync(
            lambda: self.pool.run(work, timeout_ms, tries=tries),
            limiter=UNLIMITED,
            abandon_on_cancel=tries == 1,
        )


class Sources:
    """The servers, and which one does what.

    :param max_lag_s: maximum lag of the replica.
    :param fell_back: called each time another server has to do a failed server's work.
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
        """Seconds by which the replica lags behind the primary; 0 if that is unknown."""
        return self.replica.current.behind(self.primary.current) if self.replica else 0.0

    def to_search(self) -> Source:
        """The replica while it answers and is not too far behind, otherwise the primary."""
        replica = self.replica
        if replica is None or not replica.current.following or self.lag_s > self._max_lag_s:
            return self.primary
        return replica

    @property
    def without_primary(self) -> bool:
        """Whether there is a replica and the primary is unreachable."""
        return self.replica is not None and not self.primary.current.following

    def read_order(self, source: Source) -> tuple[Source, ...]:
        """The servers to try for a read that began on ``source``: that one, then its fallback."""
        if source is self.primary:
            return (source,)
        return source, source if self.without_primary else self.primary

    def lookup_order(self) -> tuple[Source, ...]:
        """The servers to try for data just written: the primary, then the replica."""
        if self.replica is None:
            return (self.primary,)
        return (self.replica,) if self.without_primary else (self.primary, self.replica)

    async def run(self, order: Sequence[Source], work: Work[Answer], timeout_ms: int) -> Answer:
        """Do read-only work on the first of these servers that can."""
        *before, last = order
        for source in before:
            try:
                return await source.run(work, timeout_ms, tries=1)
            except DatabaseUnavailableError:
                self._fell_back()
        return await last.run(work, timeout_ms)

    async def write(self, work: Work[Answer], timeout_ms: int) -> Answer:
        """Do work on the primary.

        :raises DatabaseUnavailableError: it is unreachable; raised immediately if a replica serves.
        """
        self.refuse_without_primary()
        return await self.primary.run(work, timeout_ms)

    def refuse_without_primary(self) -> None:
        """Fail immediately if the primary is known to be unreachable.

        :raises DatabaseUnavailableError: it is.
        """
        if self.without_primary:
            raise DatabaseUnavailableError(
                "the primary is unreachable: a replica serves searches, but nothing can be written"
            )
