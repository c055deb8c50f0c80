"""Buy vectors for distinct texts: several requests in flight, paced, retried, each answer kept.

Every answer is kept as soon as it is there, so a run that ends in any way has lost at most what was
in flight. Nothing here opens a transaction around a request.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rag_assets.embedding.batching import Batch, Text, batches, halves, part_of, request_tokens
from rag_assets.embedding.embedder import Answer, Embedder
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.purchases import LedgerEntry, LedgerKey
from rag_assets.errors import (
    InputRejectedError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitedError,
)
from rag_assets.postgres import rate_limit as limits
from rag_assets.postgres.database import AsyncConnection, Database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.sql.spaces import Space

log = logging.getLogger("rag_assets.embedding")
Sleep = Callable[[float], Awaitable[None]]
Advance = Callable[[int], None]
Claim = Callable[[Sequence[bytes]], Awaitable[set[bytes]]]
Warn = Callable[[str], None]

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_REST_UNTOLD_S = 5.0  # a 429 that does not say how long
_SLICE_S = 5.0  # how long a waiting worker may not notice that the run has failed


@dataclass(frozen=True)
class BuyingOptions:
    """How to buy; each field has its setting.

    :param sleep_s: pause of each worker after a request.
    :param max_retries: tries after the first, for what may pass; a 429 does not count.
    :param max_wait_s: longest wait in one stretch while every key rests.
    :param max_rejected: refused texts at which buying stops.
    """

    batch_size: int
    concurrency: int
    sleep_s: float
    max_retries: int
    max_wait_s: float
    max_rejected: int
    requests_per_minute: int
    tokens_per_minute: int

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        batch_size: int | None = None,
        sleep_s: float | None = None,
        max_retries: int | None = None,
    ) -> BuyingOptions:
        """The settings, with what a run's own configuration says instead."""
        delay_s = settings.rag_embedding_delay_ms / 1000
        retries = settings.rag_embedding_max_retries
        return cls(
            batch_size=batch_size or settings.rag_embedding_batch_size,
            concurrency=settings.rag_embedding_concurrency,
            sleep_s=delay_s if sleep_s is None else sleep_s,
            max_retries=retries if max_retries is None else max_retries,
            max_wait_s=settings.rag_embedding_max_wait_s,
            max_rejected=settings.rag_embedding_max_rejected,
            requests_per_minute=settings.rag_embedding_rate_limit,
            tokens_per_minute=settings.rag_embedding_token_limit,
        )


@dataclass
class Purchase:
    """What was bought, counted while it goes on.

    :param rejected: by text hash: (class of the error, reason).
    """

    inputs: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    rejected: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def add(self, other: Purchase) -> None:
        """Count in what was bought elsewhere in the same run."""
        self.inputs += other.inputs
        self.requests += other.requests
        self.retries += other.retries
        self.rate_limited += other.rate_limited
        self.tokens += other.tokens
        self.cost_usd += other.cost_usd
        self.rejected |= other.rejected


def _ignore(_: object) -> None:
    return None


class _RunFailedError(Exception):
    """Another worker's error ends the run: stop waiting, send nothing more."""


class Buyer:
    """Buys for one space of one run. Clock and sleep come from the caller.

    :param claim: told the hashes of a batch before it is sent, answers those that this run may
        buy; the others are left to whoever has them. ``None``: all. ``claimed`` collects them.
    """

    def __init__(
        self,
        *,
        embedder: Embedder,
        space: Space,
        options: BuyingOptions,
        ledger_key: LedgerKey,
        claim: Claim | None = None,
        advance: Advance = _ignore,
        warn: Warn = _ignore,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.purchase = Purchase()
        self.claimed: set[bytes] = set()
        self._claim = claim
        self._embedder = embedder
        self._space = space
        self._options = options
        self._ledger_key = ledger_key
        self._advance = advance
        self._warn = warn
        self._sleep = sleep
        self._without_quota: set[str] = set()
        self._next_key = 0
        self._share = 1.0
        self._asking = 0
        self._turn = asyncio.Condition()
        self._error: Exception | None = None

    async def buy(self, database: Database, texts: Sequence[Text]) -> Purchase:
        """Buy every text; texts that the provider refuses end in ``Purchase.rejected``.

        :raises RagAssetsError: the first error that is not about a single text, after the requests
            in flight have been answered and kept.
        """
        largest = request_tokens(self._options.tokens_per_minute)
        waiting = deque(batches(texts, self._options.batch_size, max_tokens=largest))
        workers = min(self._options.concurrency, len(waiting))
        async with (
            database.connect_async() as limits_connection,
            database.connect_async() as answers_connection,
        ):
            # Pacing is worthless after a crash: it need not wait for the disk.
            await limits_connection.execute("SET synchronous_commit = off")
            if self._embedder.limited:
                self._share = await limits.share_of(limits_connection, self._embedder.endpoint)
            keeping = asyncio.Lock()
            await asyncio.gather(
                *(
                    self._work(waiting, limits_connection, answers_connection, keeping)
                    for _ in range(workers)
                )
            )
            if self._error is not None:
                raise self._error  # in here, where a cut connection is explained
        return self.purchase

    async def _work(
        self,
        waiting: deque[Batch],
        limits_connection: AsyncConnection,
        answers_connection: AsyncConnection,
        keeping: asyncio.Lock,
    ) -> None:
        while waiting and self._error is None:
            async with self._one_of_the_share(waiting):
                if not waiting or self._error is not None:
                    return
                batch = self._take(waiting)
                try:
                    batch = await self._claim_texts(batch)
                    if not batch:
                        continue
                    answer, entry = await self._ask(batch, limits_connection)
                    async with keeping:
                        await self._keep(answers_connection, batch, answer, entry)
                except InputRejectedError as error:
                    if len(batch) > 1:
                        waiting.extendleft(reversed(halves(batch)))
                    else:
                        self._reject(batch[0], str(error))
                except _RunFailedError:
                    return
                except Exception as error:
                    self._error = self._error or error
                if self._options.sleep_s:
                    await self._sleep(self._options.sleep_s)

    @asynccontextmanager
    async def _one_of_the_share(self, waiting: deque[Batch]) -> AsyncIterator[None]:
        """Wait until as few workers ask as the share allows; one always may."""
        async with self._turn:
            await self._turn.wait_for(
                lambda: (
                    self._asking < _part(self._options.concurrency, self._share)
                    or not waiting
                    or self._error is not None
                )
            )
            self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            async with self._turn:
                self._turn.notify_all()

    def _take(self, waiting: deque[Batch]) -> Batch:
        """The next batch, as large as the share allows; the rest of it stays."""
        batch, rest = part_of(waiting.popleft(), _part(self._options.batch_size, self._share))
        if rest:
            waiting.appendleft(rest)
        return batch

    async def _claim_texts(self, batch: Batch) -> Batch:
        """The texts of a batch that this run may buy; the halves of a refused one are its own."""
        fresh = [text.hash for text in batch if text.hash not in self.claimed]
        if fresh:
            self.claimed |= await self._claim(fresh) if self._claim else set(fresh)
        return tuple(text for text in batch if text.hash in self.claimed)

    async def _ask(self, batch: Batch, connection: AsyncConnection) -> tuple[Answer, LedgerEntry]:
        """One answered request, however many tries it takes."""
        retries = 0
        waited_s = 0.0
        while True:
            key, rest_s = await self._pick_key(connection)
            if key is None:
                waited_s += rest_s
                if waited_s > self._options.max_wait_s:
                    raise RateLimitedError(
                        f"every API key is rate limited for longer than "
                        f"{self._options.max_wait_s:.0f} s (RAG_EMBEDDING_MAX_WAIT_S); what was "
                        "bought is kept: start the run again later",
                        retry_after_s=rest_s,
                    )
                await self._wait(rest_s)
                continue
            await self._pace(batch, connection)
            try:
                answer = await self._embedder.embed(
                    [text.text for text in batch], self._space.spec, key
                )
            except RateLimitedError as error:
                self.purchase.rate_limited += 1
                await self._record(connection, LedgerEntry(_name(key), rate_limited=1))
                rest_s = error.retry_after_s or _REST_UNTOLD_S
                log.warning("rate limit met: key %s rests for %.1f s", _name(key), rest_s)
                await limits.rest_key(connection, self._embedder.endpoint, fingerprint(key), rest_s)
            except QuotaExceededError as error:
                await self._drop_key(connection, key, error)
            except ProviderUnavailableError:
                retries += 1
                if retries > self._options.max_retries:
                    raise
                self.purchase.retries += 1
                await self._record(connection, LedgerEntry(_name(key), retries=1))
                await self._wait(_backoff(retries))
            else:
                if answer.rest_key_s:
                    await limits.rest_key(
                        connection, self._embedder.endpoint, fingerprint(key), answer.rest_key_s
                    )
                return answer, self._entry(batch, answer, key)

    async def _wait(self, seconds: float) -> None:
        while seconds > 0 and self._error is None:
            await self._sleep(min(seconds, _SLICE_S))
            seconds -= _SLICE_S
        if self._error is not None:
            raise _RunFailedError

    async def _record(self, connection: AsyncConnection, entry: LedgerEntry) -> None:
        """At once, not with the answer: a run that fails shows it, too, and under the right key."""
        await purchases.record(connection, self._space, self._ledger_key, entry)

    async def _pick_key(self, connection: AsyncConnection) -> tuple[str | None, float]:
        """The next key that does not rest; otherwise ``None`` and the seconds until one wakes."""
        usable = [key for key in self._embedder.keys if key not in self._without_quota]
        if not self._embedder.limited:
            return usable[0], 0.0
        resting = await limits.resting_keys(
            connection, self._embedder.endpoint, [fingerprint(key) for key in usable]
        )
        awake = [key for key in usable if fingerprint(key) not in resting]
        if not awake:
            return None, max(0.05, min(resting.values()))
        self._next_key += 1
        return awake[self._next_key % len(awake)], 0.0

    async def _pace(self, batch: Batch, connection: AsyncConnection) -> None:
        if not self._embedder.limited:
            return
        slot = await limits.take_slot(
            connection,
            self._embedder.endpoint,
            requests=limits.pace(self._options.requests_per_minute),
            tokens=limits.pace(
                self._options.tokens_per_minute,
                largest=request_tokens(self._options.tokens_per_minute),
            ),
            cost_tokens=sum(text.estimated_tokens for text in batch),
        )
        self._share = slot.share
        await self._wait(slot.wait_s)

    async def _drop_key(
        self, connection: AsyncConnection, key: str, error: QuotaExceededError
    ) -> None:
        await limits.mark_out_of_quota(connection, self._embedder.endpoint, fingerprint(key))
        if key not in self._without_quota:
            self._without_quota.add(key)
            self._warn(str(error))
        if len(self._without_quota) == len(self._embedder.keys):
            raise QuotaExceededError(
                "no API key has quota left: pay, or add a key; what was bought is kept"
            ) from error

    def _entry(self, batch: Batch, answer: Answer, key: str) -> LedgerEntry:
        return LedgerEntry(
            key_fingerprint=_name(key),
            requests=1,
            inputs=len(batch),
            input_bytes=sum(len(text.text.encode()) for text in batch),
            tokens=answer.tokens,
            cost_usd=answer.tokens * self._space.usd_per_million_tokens / 1e6,
        )

    async def _keep(
        self, connection: AsyncConnection, batch: Batch, answer: Answer, entry: LedgerEntry
    ) -> None:
        good = [place for place in range(len(batch)) if place not in answer.refused]
        vectors = answer.vectors if len(good) == len(batch) else answer.vectors[good]
        hashes = [batch[place].hash for place in good]
        await purchases.keep_answers(
            connection, self._space, hashes, vectors, self._ledger_key, entry
        )
        self.purchase.requests += 1
        self.purchase.inputs += len(good)
        self.purchase.tokens += entry.tokens
        self.purchase.cost_usd += entry.cost_usd
        self._advance(len(good))
        for place, reason in answer.refused.items():
            self._reject(batch[place], reason)

    def _reject(self, text: Text, reason: str) -> None:
        self.purchase.rejected[text.hash] = ("InputRejectedError", reason)
        self._advance(1)
        if len(self.purchase.rejected) > self._options.max_rejected:
            self._error = self._error or InputRejectedError(
                f"the provider refused more than {self._options.max_rejected} texts "
                f"(RAG_EMBEDDING_MAX_REJECTED), the last with: {reason}. The fault is rather in "
                "the settings than in the texts; what was bought is kept"
            )


def _part(whole: int, share: float) -> int:
    return max(1, round(whole * share))


def _name(key: str) -> str:
    return fingerprint(key) if key else "none"


def _backoff(tries: int) -> float:
    """Seconds before try ``tries + 1``: doubled each time, with full jitter in its upper half."""
    longest: float = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**tries)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- spreading, not a secret
