"""Which key a request may use, and when: rests, quota, the pace, and the share of a run.

What is kept in the database for all processes is in :mod:`.sql.limits`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count

from rag_assets.embedding.batching import request_tokens
from rag_assets.embedding.embedder import Embedder
from rag_assets.embedding.sql import limits
from rag_assets.errors import QuotaExceededError, RateLimitedError
from rag_assets.postgres.database import AsyncConnection
from rag_assets.postgres.rate_limit import pace
from rag_assets.settings.model import Settings, fingerprint

log = logging.getLogger("rag_assets.embedding")

REST_UNTOLD_S = 5.0  # a 429 that does not say how long


class Throttle:
    """The keys and limits of one run's embedder.

    :param warn: called once for each key that has no quota left.
    """

    def __init__(self, embedder: Embedder, settings: Settings, *, warn: Callable[[str], None]):
        self._keys = embedder.keys
        self._endpoint = embedder.endpoint
        self._limited = embedder.limited
        self._requests_per_minute = settings.rag_embedding_rate_limit
        self._tokens_per_minute = settings.rag_embedding_token_limit
        self._warn = warn
        self._without_quota: set[str] = set()
        self._turns = count(1)
        self._share = 1.0

    def part(self, whole: int) -> int:
        """As much of a batch's size, or of the requests at a time, as may be used now."""
        return max(1, round(whole * self._share))

    async def read_share(self, connection: AsyncConnection) -> None:
        """Read what part may be used; later, each slot brings it along."""
        if self._limited:
            self._share = await limits.share_of(connection, self._endpoint)

    async def take_slot(self, connection: AsyncConnection, tokens: int) -> float:
        """Reserve the next slot for a request of that many tokens; the seconds to wait for it."""
        if not self._limited:
            return 0.0
        slot = await limits.take_slot(
            connection,
            self._endpoint,
            requests=pace(self._requests_per_minute),
            tokens=pace(self._tokens_per_minute, largest=request_tokens(self._tokens_per_minute)),
            cost_tokens=tokens,
        )
        self._share = slot.share
        return slot.wait_s

    async def pick_key(self, connection: AsyncConnection) -> tuple[str | None, float]:
        """The next key that does not rest; otherwise ``None`` and the seconds until one wakes."""
        usable = [key for key in self._keys if key not in self._without_quota]
        if not self._limited:
            return usable[0], 0.0
        resting = await limits.resting_keys(
            connection, self._endpoint, [fingerprint(key) for key in usable]
        )
        awake = [key for key in usable if fingerprint(key) not in resting]
        if not awake:
            return None, max(0.05, min(resting.values()))
        return awake[next(self._turns) % len(awake)], 0.0

    async def rest(self, connection: AsyncConnection, key: str, seconds: float) -> None:
        """Let a key rest whose allowance is used up, for every process."""
        await limits.rest_key(connection, self._endpoint, fingerprint(key), seconds)

    async def rest_limited(
        self, connection: AsyncConnection, key: str, error: RateLimitedError
    ) -> None:
        """Let a key rest that was answered 429, for as long as the answer says."""
        rest_s = error.retry_after_s or REST_UNTOLD_S
        log.warning("rate limit met: key %s rests for %.1f s", key_name(key), rest_s)
        await self.rest(connection, key, rest_s)

    async def drop(self, connection: AsyncConnection, key: str, error: QuotaExceededError) -> None:
        """Use a key no more in this run.

        :raises QuotaExceededError: no key is left.
        """
        await limits.mark_out_of_quota(connection, self._endpoint, fingerprint(key))
        if key not in self._without_quota:
            self._without_quota.add(key)
            self._warn(str(error))
        if len(self._without_quota) == len(self._keys):
            raise QuotaExceededError(
                "no API key has quota left: pay, or add a key; finished embeddings are kept"
            ) from error


def key_name(key: str) -> str:
    """What the ledger and the log call a key."""
    return fingerprint(key) if key else "none"
