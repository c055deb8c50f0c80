"""Requests of one purchase: with a key that may be used, paced, and repeated while they may pass.

What is requested, and what becomes of the answers, is the caller's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rag_assets.embedding.batching import estimate_tokens
from rag_assets.embedding.embedder import Answer, Embedder, ProbedEmbedder
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.providers.answers import RawAnswer
from rag_assets.embedding.providers.probe import HARMLESS, Probe
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.purchases import LedgerEntry, LedgerKey
from rag_assets.embedding.throttle import Throttle, key_name
from rag_assets.errors import (
    ProviderAnswerError,
    ProviderUnavailableError,
    QuotaExceededError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.postgres.database import AsyncConnection
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, together
from rag_assets.vectors.sql.spaces import Space

Sleep = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")
Suspect = Callable[[int, ProviderUnavailableError, str], Awaitable[bool]]
"""Asked after each 5xx of a request, with their number and the key: whether to try once more."""

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0


@dataclass
class Purchase:
    """What was requested, counted while it goes on.

    :param cost_usd: ``None`` where the model's price is not known.
    :param rejected: by text hash: (class of the error, reason).
    :param profile: what the server does; ``None`` before it is known, and without a server.
    """

    inputs: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0
    rejected: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    profile: Profile | None = None

    def add(self, other: Purchase) -> None:
        """Count in what was requested elsewhere in the same run."""
        self.inputs += other.inputs
        self.requests += other.requests
        self.retries += other.retries
        self.rate_limited += other.rate_limited
        self.tokens += other.tokens
        self.cost_usd = together((self.cost_usd, other.cost_usd))
        self.rejected |= other.rejected
        self.profile = self.profile or other.profile


@dataclass(frozen=True)
class Exchange:
    """What the requests of one purchase share.

    :param limits: for pacing, keys and the ledger; ``answers`` for keeping, one at a time.
    :param sent: the requests that are on their way. An error of one of them does not end it.
    """

    limits: AsyncConnection
    answers: AsyncConnection
    keeping: asyncio.Lock
    sent: asyncio.TaskGroup

    async def see_through(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await what another request's error must not break off.

        A request that was sent is paid for, and a statement that is cancelled may take the next one
        on its connection along. So that error ends what waits, and nothing else.
        """
        result = await asyncio.shield(self.sent.create_task(_settled(work)))
        if isinstance(result, Exception):
            raise result
        return result


async def _settled(work: Coroutine[Any, Any, Result]) -> Result | Exception:
    try:
        return await work
    except Exception as error:
        return error


class Requests:
    """Sends the requests of one purchase, and enters in the ledger what does not become an answer.

    :param purchase: where requests are counted.
    """

    def __init__(
        self,
        embedder: Embedder,
        settings: Settings,
        *,
        space: Space,
        ledger_key: LedgerKey,
        purchase: Purchase,
        progress: Progress,
        sleep: Sleep,
    ) -> None:
        self.throttle = Throttle(embedder, settings, warn=progress.say)
        self._embedder = embedder
        self._settings = settings
        self._space = space
        self._ledger_key = ledger_key
        self._purchase = purchase
        self._sleep = sleep

    async def send(
        self,
        exchange: Exchange,
        tokens: int,
        work: Callable[[str], Coroutine[Any, Any, Result]],
        *,
        suspect: Suspect | None = None,
        max_retries: int | None = None,
    ) -> Result:
        """Do what one request entails, given a key, until it is answered.

        :param tokens: estimated, for the pace.
        :param max_retries: instead of ``RAG_EMBEDDING_MAX_RETRIES``.
        :raises RagAssetsError: what ``work`` and ``suspect`` raise; a failure that may pass, after
            the retries.
        """
        most = self._settings.rag_embedding_max_retries if max_retries is None else max_retries
        retries = 0
        waited_s = 0.0
        while True:
            key, rest_s = await exchange.see_through(self.throttle.pick_key(exchange.limits))
            if key is None:
                waited_s += rest_s
                self._check_wait(waited_s, rest_s)
                await self._sleep(rest_s)
                continue
            wait_s = await exchange.see_through(self.throttle.take_slot(exchange.limits, tokens))
            if wait_s > 0:
                await self._sleep(wait_s)
            try:
                result = await exchange.see_through(self._try(work, key, exchange))
                if result is not None:
                    return result
            except ProviderUnavailableError as error:
                retries += 1
                failed = error.status is not None
                once_more = bool(suspect and failed and await suspect(retries, error, key))
                if retries > most and not once_more:
                    raise
                await self._count_retry(exchange, key, retries)

    async def server_works(self, exchange: Exchange, key: str) -> bool:
        """Whether the server answers a harmless text now."""
        try:
            answer = await exchange.see_through(
                self._embedder.embed([HARMLESS], self._space.spec, key, "passage")
            )
        except RagAssetsError:
            return False
        await exchange.see_through(self._paid(exchange, key, [HARMLESS], answer.tokens))
        return not answer.refused

    async def probe(self, exchange: Exchange, embedder: ProbedEmbedder, *, batch: int) -> Profile:
        """Probe the server, and use what is found from now on. Each request is paced and paid."""
        spec = self._space.spec
        used = embedder.keys[0]

        async def request(texts: Sequence[str], form: Profile) -> RawAnswer:
            async def work(key: str) -> RawAnswer:
                nonlocal used
                used = key
                answer = await embedder.ask(texts, spec, key, form)
                estimated = sum(map(estimate_tokens, texts))
                tokens = estimated if answer.tokens is None else answer.tokens
                await self._paid(exchange, key, texts, tokens)
                return answer

            return await self.send(exchange, sum(map(estimate_tokens, texts)), work, max_retries=0)

        probe = Probe(request, spec, embedder.overrides, batch=batch)
        retries = 0
        while True:
            try:
                profile = await probe.run()
            except ProviderUnavailableError:
                retries += 1
                if retries > self._settings.rag_embedding_max_retries:
                    raise
                await self._count_retry(exchange, used, retries)
            else:
                embedder.use(spec, profile)
                return profile

    async def _count_retry(self, exchange: Exchange, key: str, retries: int) -> None:
        self._purchase.retries += 1
        entry = LedgerEntry(key_name(key), retries=1)
        await exchange.see_through(self.record(exchange.limits, entry))
        await self._sleep(backoff(retries))

    async def rest(self, exchange: Exchange, key: str, answer: Answer) -> None:
        """Let the key rest for as long as the answer says."""
        if answer.rest_key_s:
            await self.throttle.rest(exchange.limits, key, answer.rest_key_s)

    async def record(self, connection: AsyncConnection, entry: LedgerEntry) -> None:
        """Immediately, not with the answer: a run that fails shows it, too, under the right key."""
        await purchases.record(connection, self._space, self._ledger_key, entry)

    async def _try(
        self, work: Callable[[str], Coroutine[Any, Any, Result]], key: str, exchange: Exchange
    ) -> Result | None:
        """One request and all that its answer entails; ``None``: the key can do no more now."""
        try:
            return await work(key)
        except RateLimitedError as error:
            self._purchase.rate_limited += 1
            await self.record(exchange.limits, LedgerEntry(key_name(key), rate_limited=1))
            await self.throttle.rest_limited(exchange.limits, key, error)
        except QuotaExceededError as error:
            await self.throttle.drop(exchange.limits, key, error)
        except ProviderAnswerError as error:
            if error.tokens:
                await self._paid(exchange, key, (), error.tokens)
            raise
        return None

    def entry(self, key: str, texts: Sequence[str], tokens: int) -> LedgerEntry:
        """What one answered request cost; its texts are not counted as inputs of the corpus."""
        return LedgerEntry(
            key_name(key),
            requests=1,
            input_bytes=sum(len(text.encode()) for text in texts),
            tokens=tokens,
            cost_usd=cost_of(tokens, self._space.usd_per_million_tokens),
        )

    def count(self, entry: LedgerEntry, *, kept: int = 0) -> None:
        """Count an answered request, and the texts of it whose vectors were kept."""
        cost = entry.cost_usd
        self._purchase.add(Purchase(kept, entry.requests, tokens=entry.tokens, cost_usd=cost))

    async def _paid(self, exchange: Exchange, key: str, texts: Sequence[str], tokens: int) -> None:
        """Enter what was paid for texts that are not of the corpus, or of which nothing is kept."""
        entry = self.entry(key, texts, tokens)
        self.count(entry)
        await self.record(exchange.limits, entry)

    def _check_wait(self, waited_s: float, rest_s: float) -> None:
        longest_s = self._settings.rag_embedding_max_wait_s
        if waited_s > longest_s:
            raise RateLimitedError(
                f"every API key is rate limited for longer than {longest_s:.0f} s "
                "(RAG_EMBEDDING_MAX_WAIT_S); finished embeddings are kept: run it again later",
                retry_after_s=rest_s,
            )


def backoff(tries: int) -> float:
    """Seconds before try ``tries + 1``: doubled each time, with full jitter in its upper half."""
    longest: float = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**tries)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- spreading, not a secret
