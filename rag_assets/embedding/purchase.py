"""Purchase vectors for distinct texts: claimed, requested, paced, retried; each answer is kept.

No text is paid for twice: what is known is not requested, and what another run has claimed is
waited for. Every answer is kept as soon as it is there, so a run that ends in any way has lost at
most what was in flight. No transaction is open around a request. Which texts are wanted, and what
becomes of their vectors, is the callers'; the SQL is in :mod:`.sql.purchases`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rag_assets.embedding.batching import Batch, Text, batches, halves, part_of, request_tokens
from rag_assets.embedding.embedder import Answer, Embedder, open_embedder
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.purchases import LedgerEntry, LedgerKey
from rag_assets.embedding.throttle import Throttle, key_name
from rag_assets.errors import (
    InputRejectedError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitedError,
)
from rag_assets.postgres.database import AsyncConnection, Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, together
from rag_assets.vectors.sql.spaces import Space

Sleep = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")

_POLL_S = 0.5  # while another run buys a text that this one needs, too
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0


@dataclass
class Purchase:
    """What was bought, counted while it goes on.

    :param cost_usd: ``None`` where the model's price is not known.
    :param rejected: by text hash: (class of the error, reason).
    """

    inputs: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0
    rejected: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def add(self, other: Purchase) -> None:
        """Count in what was bought elsewhere in the same run."""
        self.inputs += other.inputs
        self.requests += other.requests
        self.retries += other.retries
        self.rate_limited += other.rate_limited
        self.tokens += other.tokens
        self.cost_usd = together((self.cost_usd, other.cost_usd))
        self.rejected |= other.rejected


@dataclass(frozen=True)
class _Exchange:
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


class Purchaser:
    """Purchases for one space in one run, as often as it is asked; for one event loop.

    :param session: an autocommitting connection that owns this run's claims, as ``owner``.
    :param overwrite: what is published does not count as bought.
    """

    def __init__(
        self,
        database: Database,
        session: Connection,
        embedder: Embedder,
        settings: Settings,
        *,
        space: Space,
        ledger_key: LedgerKey,
        owner: int,
        overwrite: bool,
        progress: Progress,
        sleep: Sleep,
    ) -> None:
        self.purchase = Purchase()
        self.space = space
        self._database = database
        self._session = session
        self._embedder = embedder
        self._settings = settings
        self._ledger_key = ledger_key
        self._owner = owner
        self._overwrite = overwrite
        self._progress = progress
        self._sleep = sleep
        self._claimed: set[bytes] = set()
        self._throttle = Throttle(embedder, settings, warn=progress.say)

    async def obtain(
        self, texts: Sequence[Text], *, wanted: Callable[[int], None] | None = None
    ) -> frozenset[bytes]:
        """See to it that each text is bought or refused; the hashes of those bought here and now.

        A text that was refused before is not requested again; what was refused is in ``purchase``.

        :param wanted: called, before buying begins, with the number of texts to buy.
        :raises RagAssetsError: the first error that is not about a single text, after the requests
            in flight have been answered and kept.
        """
        by_hash = {text.hash: text for text in texts}
        self._claimed.clear()
        pending = self._not_bought([key for key in by_hash if key not in self.purchase.rejected])
        if wanted:
            wanted(len(pending))
        while pending:
            await self._buy([by_hash[key] for key in pending])
            pending = [key for key in pending if key not in self._claimed]
            # What was claimed is bought or refused by now. A claim kept on a refused text would
            # let two runs wait for each other for ever.
            purchases.drop_claims(self._session, self._owner)
            if pending:
                await self._sleep(_POLL_S)
                purchases.drop_dead_claims(self._session, self.space, pending)
                pending = self._not_bought(pending)
        return frozenset(self._claimed - self.purchase.rejected.keys())

    def _not_bought(self, hashes: Sequence[bytes]) -> list[bytes]:
        return purchases.not_bought(
            self._session,
            self.space,
            hashes,
            published_counts=not self._overwrite,
            corpus=self._ledger_key.corpus,
        )

    async def _buy(self, texts: Sequence[Text]) -> None:
        """Request all that this run can claim, several batches at a time."""
        largest = request_tokens(self._settings.rag_embedding_token_limit)
        size = self._settings.rag_embedding_batch_size
        waiting = deque(batches(texts, size, max_tokens=largest))
        failures: Sequence[Exception] = ()
        async with (
            self._database.connect_async() as limits_connection,
            self._database.connect_async() as answers_connection,
        ):
            # Pacing is worthless after a crash: it need not wait for the disk.
            await limits_connection.execute("SET synchronous_commit = off")
            await self._throttle.read_share(limits_connection)
            async with asyncio.TaskGroup() as sent:  # left when each request has been answered
                exchange = _Exchange(limits_connection, answers_connection, asyncio.Lock(), sent)
                try:
                    async with asyncio.TaskGroup() as group:  # the first error ends all waiting
                        await self._dispatch(waiting, group, exchange)
                except ExceptionGroup as failed:
                    failures = failed.exceptions
            if failures:
                raise failures[0]  # in here, where a cut connection is explained

    async def _dispatch(
        self, waiting: deque[Batch], group: asyncio.TaskGroup, exchange: _Exchange
    ) -> None:
        """Keep as many batches under way as the share allows; one always may be."""
        under_way: set[asyncio.Task[Sequence[Batch]]] = set()
        while waiting or under_way:
            at_once = self._throttle.part(self._settings.rag_embedding_concurrency)
            while waiting and len(under_way) < at_once:
                batch = self._take(waiting)
                under_way.add(group.create_task(self._buy_batch(batch, exchange)))
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                waiting.extendleft(reversed(task.result()))

    def _take(self, waiting: deque[Batch]) -> Batch:
        """The next batch, as large as the share allows; the rest of it stays."""
        size = self._throttle.part(self._settings.rag_embedding_batch_size)
        batch, rest = part_of(waiting.popleft(), size)
        if rest:
            waiting.appendleft(rest)
        return batch

    async def _buy_batch(self, batch: Batch, exchange: _Exchange) -> Sequence[Batch]:
        """Claim and request a batch; what of it is to be requested again, in halves."""
        fresh = [text.hash for text in batch if text.hash not in self._claimed]
        if fresh:  # the halves of a refused batch are this run's already
            self._claimed |= await exchange.see_through(asyncio.to_thread(self._claim, fresh))
        batch = tuple(text for text in batch if text.hash in self._claimed)
        again: Sequence[Batch] = ()
        if batch:
            try:
                await self._request(batch, exchange)
            except InputRejectedError as error:
                if len(batch) > 1:
                    again = halves(batch)
                else:
                    self._reject(batch[0], str(error))
            self._check_rejected()
            if self._settings.rag_embedding_delay_ms:
                await self._sleep(self._settings.rag_embedding_delay_ms / 1000)
        return again

    def _claim(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Those of the texts that are this run's to buy; the others are left to who has them."""
        mine = purchases.claim(self._session, self.space, hashes, self._owner)
        # Another run may have kept its answers and given up its claims in between.
        return set(self._not_bought(list(mine)))

    async def _request(self, batch: Batch, exchange: _Exchange) -> None:
        """Request a batch until it is answered, and keep the answer."""
        retries = 0
        waited_s = 0.0
        while True:
            key, rest_s = await exchange.see_through(self._throttle.pick_key(exchange.limits))
            if key is None:
                waited_s += rest_s
                self._check_wait(waited_s, rest_s)
                await self._sleep(rest_s)
                continue
            slot = self._throttle.take_slot(exchange.limits, batch)
            wait_s = await exchange.see_through(slot)
            if wait_s > 0:
                await self._sleep(wait_s)
            try:
                if await exchange.see_through(self._send(batch, key, exchange)):
                    return
            except ProviderUnavailableError:
                retries += 1
                if retries > self._settings.rag_embedding_max_retries:
                    raise
                self.purchase.retries += 1
                entry = LedgerEntry(key_name(key), retries=1)
                await exchange.see_through(self._record(exchange.limits, entry))
                await self._sleep(_backoff(retries))

    async def _send(self, batch: Batch, key: str, exchange: _Exchange) -> bool:
        """One request and all that its answer entails; ``False``: the key can do no more now."""
        try:
            answer = await self._embedder.embed(
                [text.text for text in batch], self.space.spec, key, "passage"
            )
        except RateLimitedError as error:
            self.purchase.rate_limited += 1
            await self._record(exchange.limits, LedgerEntry(key_name(key), rate_limited=1))
            await self._throttle.rest_limited(exchange.limits, key, error)
            return False
        except QuotaExceededError as error:
            await self._throttle.drop(exchange.limits, key, error)
            return False
        if answer.rest_key_s:
            await self._throttle.rest(exchange.limits, key, answer.rest_key_s)
        async with exchange.keeping:
            await self._keep(exchange.answers, batch, answer, key)
        return True

    def _check_wait(self, waited_s: float, rest_s: float) -> None:
        longest_s = self._settings.rag_embedding_max_wait_s
        if waited_s > longest_s:
            raise RateLimitedError(
                f"every API key is rate limited for longer than {longest_s:.0f} s "
                "(RAG_EMBEDDING_MAX_WAIT_S); finished embeddings are kept: run it again later",
                retry_after_s=rest_s,
            )

    async def _record(self, connection: AsyncConnection, entry: LedgerEntry) -> None:
        """At once, not with the answer: a run that fails shows it, too, and under the right key."""
        await purchases.record(connection, self.space, self._ledger_key, entry)

    async def _keep(
        self, connection: AsyncConnection, batch: Batch, answer: Answer, key: str
    ) -> None:
        good = [place for place in range(len(batch)) if place not in answer.refused]
        vectors = answer.vectors if len(good) == len(batch) else answer.vectors[good]
        hashes = [batch[place].hash for place in good]
        cost_usd = cost_of(answer.tokens, self.space.usd_per_million_tokens)
        entry = LedgerEntry(
            key_fingerprint=key_name(key),
            requests=1,
            inputs=len(batch),
            input_bytes=sum(len(text.text.encode()) for text in batch),
            tokens=answer.tokens,
            cost_usd=cost_usd,
        )
        await purchases.keep_answers(
            connection, self.space, hashes, vectors, self._ledger_key, entry
        )
        self.purchase.add(Purchase(len(good), 1, tokens=answer.tokens, cost_usd=cost_usd))
        self._progress.advance(len(good))
        for place, reason in answer.refused.items():
            self._reject(batch[place], reason)

    def _reject(self, text: Text, reason: str) -> None:
        self.purchase.rejected[text.hash] = ("InputRejectedError", reason)
        self._progress.advance(1)

    def _check_rejected(self) -> None:
        rejected, most = self.purchase.rejected, self._settings.rag_embedding_max_rejected
        if len(rejected) > most:
            _, reason = rejected[next(reversed(rejected))]
            raise InputRejectedError(
                f"the provider refused more than {most} texts (RAG_EMBEDDING_MAX_REJECTED), the "
                f"last with: {reason}. The fault is rather in the settings than in the texts; "
                "finished embeddings are kept"
            )


@asynccontextmanager
async def open_purchaser(
    database: Database,
    session: Connection,
    settings: Settings,
    *,
    space: Space,
    ledger_key: LedgerKey,
    progress: Progress,
    overwrite: bool = False,
    embedder: Embedder | None = None,
    sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[Purchaser]:
    """A purchaser while the block lasts; its claims end with it.

    :param embedder: instead of the one that the settings ask for.
    :raises ConfigurationError: OpenAI is asked for and there is no key.
    """
    owner = purchases.new_owner(session)
    try:
        async with nullcontext(embedder) if embedder else open_embedder(settings) as opened:
            yield Purchaser(
                database,
                session,
                opened,
                settings,
                space=space,
                ledger_key=ledger_key,
                owner=owner,
                overwrite=overwrite,
                progress=progress,
                sleep=sleep,
            )
    finally:
        if not session.closed:
            purchases.release_claims(session, owner)


def _backoff(tries: int) -> float:
    """Seconds before try ``tries + 1``: doubled each time, with full jitter in its upper half."""
    longest: float = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**tries)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- spreading, not a secret
