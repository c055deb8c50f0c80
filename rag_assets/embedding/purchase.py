"""Obtain vectors for distinct texts: claim, request, retry, and keep each answer.

No text is paid for twice: known vectors are not requested, and texts that another run has claimed
are waited for. Every answer is stored as soon as it arrives, so a run that ends in any way loses at
most what was in flight. No transaction is open during a request. The callers decide which texts are
needed and what becomes of their vectors; the SQL is in :mod:`.sql.purchases`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace

from rag_assets.embedding.batching import (
    Batch,
    Text,
    batches,
    halves,
    part_of,
    request_tokens,
    tokens_of,
)
from rag_assets.embedding.embedder import Answer, Embedder, ProbedEmbedder, open_embedder
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.requests import Exchange, Purchase, Requests, Sleep
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.profiles import store_profile, stored_profile
from rag_assets.embedding.sql.purchases import LedgerKey
from rag_assets.errors import InputRejectedError, ProviderUnavailableError
from rag_assets.postgres.database import AsyncConnection, Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space

_POLL_S = 0.5  # while another run embeds a text that this one needs, too
_SUSPICIOUS = 3  # failures in a row of a request, before it is asked whether its texts are at fault


@dataclass
class _Refusal:
    """A batch that was refused, and is requested in halves.

    :param tokens: estimated, of the whole batch.
    :param by_failing: it failed with a 5xx while the server worked.
    :param unsettled: halves that are not answered yet.
    :param by_a_text: whether one of its texts alone explains the refusal.
    """

    tokens: int
    by_failing: bool
    unsettled: int = 2
    by_a_text: bool = False


@dataclass(frozen=True)
class _Pending:
    """Texts to request together, and the refusal of which they are a half."""

    batch: Batch
    half_of: _Refusal | None = None


class Purchaser:
    """Purchases for one space in one run, as often as it is asked; for one event loop.

    :param session: an autocommitting connection that owns this run's claims, as ``owner``.
    :param overwrite: a published vector does not count as an answer.
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
        self._batch_size = settings.rag_embedding_batch_size
        self._split_tokens = request_tokens(settings.rag_embedding_token_limit)
        self._most_tokens = self._split_tokens
        self._requests = Requests(
            embedder,
            settings,
            space=space,
            ledger_key=ledger_key,
            purchase=self.purchase,
            progress=progress,
            sleep=sleep,
        )

    async def obtain(
        self, texts: Sequence[Text], *, wanted: Callable[[int], None] | None = None
    ) -> frozenset[bytes]:
        """Obtain a vector for each text, and return the hashes of those that this call requested.

        Refused texts are in ``purchase``; a text that was refused before is not requested again.

        :param wanted: called before the first request with the number of texts to request.
        :raises RagAssetsError: the first error that is not about a single text, after the requests
            in flight have been answered and kept.
        """
        by_hash = {text.hash: text for text in texts}
        self._claimed.clear()
        pending = self._without_answer(
            [key for key in by_hash if key not in self.purchase.rejected]
        )
        if wanted:
            wanted(len(pending))
        while pending:
            await self._embed_all([by_hash[key] for key in pending])
            pending = [key for key in pending if key not in self._claimed]
            # What was claimed is answered or refused by now. A claim kept on a refused text would
            # let two runs wait for each other forever.
            purchases.drop_claims(self._session, self._owner)
            if pending:
                await self._sleep(_POLL_S)
                purchases.drop_dead_claims(self._session, self.space, pending)
                pending = self._without_answer(pending)
        return frozenset(self._claimed - self.purchase.rejected.keys())

    def _without_answer(self, hashes: Sequence[bytes]) -> list[bytes]:
        return purchases.without_answer(
            self._session,
            self.space,
            hashes,
            published_counts=not self._overwrite,
            corpus=self._ledger_key.corpus,
        )

    async def probe(self) -> Profile | None:
        """Probe the server now, and store what is found; ``None`` where there is no server."""
        async with self._exchange() as exchange:
            await self._find_profile(exchange, probe=True)
        return self.purchase.profile

    async def profile(self) -> Profile | None:
        """As :meth:`probe`, unless it is stored already."""
        async with self._exchange() as exchange:
            await self._find_profile(exchange)
        return self.purchase.profile

    async def _embed_all(self, texts: Sequence[Text]) -> None:
        """Request all that this run can claim, several batches at a time."""
        async with self._exchange() as exchange:
            await self._find_profile(exchange)
            split = batches(texts, self._batch_size, max_tokens=self._split_tokens)
            waiting = deque(map(_Pending, split))
            async with asyncio.TaskGroup() as group:  # the first error ends all waiting
                await self._dispatch(waiting, group, exchange)

    @asynccontextmanager
    async def _exchange(self) -> AsyncIterator[Exchange]:
        """What requests share while the block lasts; the first of its errors is raised."""
        failures: Sequence[Exception] = ()
        async with (
            self._database.connect_async() as limits_connection,
            self._database.connect_async() as answers_connection,
        ):
            # Pacing is worthless after a crash: it need not wait for the disk.
            await limits_connection.execute("SET synchronous_commit = off")
            await self._requests.throttle.read_share(limits_connection)
            async with asyncio.TaskGroup() as sent:  # left when each request has been answered
                try:
                    yield Exchange(limits_connection, answers_connection, asyncio.Lock(), sent)
                except ExceptionGroup as failed:
                    failures = failed.exceptions
                except Exception as error:
                    failures = (error,)
            if failures:
                raise failures[0]  # in here, where a cut connection is explained

    async def _find_profile(self, exchange: Exchange, *, probe: bool = False) -> None:
        """Learn what the server does: as stored, or by a probe before the first text is sent.

        A larger batch than was ever tried, or other settings, are a reason to probe again.
        """
        embedder, size = self._embedder, self._settings.rag_embedding_batch_size
        if self.purchase.profile or not isinstance(embedder, ProbedEmbedder):
            return
        spec, place = self.space.spec, (self.space.space_id, embedder.endpoint)
        profile = None if probe else stored_profile(self._session, *place)
        if profile is not None and profile.holds(embedder.overrides, spec.model, batch=size):
            embedder.use(spec, profile)
        else:
            profile = await self._requests.probe(exchange, embedder, batch=size)
            store_profile(self._session, *place, profile)
            self._progress.say(f"the provider for {spec}: {profile}")
        self.purchase.profile = profile
        self._batch_size = min(size, profile.largest_batch)

    async def _dispatch(
        self, waiting: deque[_Pending], group: asyncio.TaskGroup, exchange: Exchange
    ) -> None:
        """Keep as many batches under way as the share allows; one always may be."""
        under_way: set[asyncio.Task[Sequence[_Pending]]] = set()
        while waiting or under_way:
            concurrency = self._requests.throttle.part(self._settings.rag_embedding_concurrency)
            while waiting and len(under_way) < concurrency:
                pending = self._take(waiting)
                under_way.add(group.create_task(self._embed_batch(pending, exchange)))
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                waiting.extendleft(reversed(task.result()))

    def _take(self, waiting: deque[_Pending]) -> _Pending:
        """The next batch, as large as the share and the server allow; the rest of it stays."""
        pending = waiting.popleft()
        if pending.half_of:
            return pending
        size = self._requests.throttle.part(self._batch_size)
        if len(pending.batch) <= size and self._most_tokens == self._split_tokens:
            return pending
        batch, rest = part_of(pending.batch, size, max_tokens=self._most_tokens)
        if rest:
            waiting.appendleft(_Pending(rest))
        return _Pending(batch)

    async def _embed_batch(self, pending: _Pending, exchange: Exchange) -> Sequence[_Pending]:
        """Claim and request a batch; what of it is to be requested again, in halves."""
        batch = pending.batch
        fresh = [text.hash for text in batch if text.hash not in self._claimed]
        if fresh:  # the halves of a refused batch are this run's already
            self._claimed |= await exchange.see_through(asyncio.to_thread(self._claim, fresh))
        batch = tuple(text for text in batch if text.hash in self._claimed)
        again: Sequence[_Pending] = ()
        if batch:
            try:
                await self._request(batch, pending.half_of, exchange)
                self._settle(pending.half_of)
            except InputRejectedError as error:
                failing = isinstance(error.__cause__, ProviderUnavailableError)
                again = self._refused(batch, str(error), pending.half_of, by_failing=failing)
            self._check_rejected()
            if self._settings.rag_embedding_delay_ms:
                await self._sleep(self._settings.rag_embedding_delay_ms / 1000)
        return again

    def _refused(
        self, batch: Batch, reason: str, half_of: _Refusal | None, *, by_failing: bool
    ) -> Sequence[_Pending]:
        """Halve a refused batch; a single text is set aside."""
        if half_of:
            half_of.by_a_text = True
        if len(batch) == 1:
            self._reject(batch[0], reason)
            return ()
        refusal = _Refusal(tokens_of(batch), by_failing)
        return [_Pending(half, refusal) for half in halves(batch)]

    def _settle(self, refusal: _Refusal | None) -> None:
        """Of a refused batch whose halves were both taken, the size was at fault: learn it."""
        if refusal is None:
            return
        refusal.unsettled -= 1
        if refusal.unsettled or refusal.by_a_text:
            return
        learned = max(1, refusal.tokens // 2)
        if learned < self._most_tokens:
            self._most_tokens = learned
            self._progress.say(
                f"the provider takes requests of up to about {learned:,} tokens: the others of "
                "this run are no larger"
            )

    def _claim(self, hashes: Sequence[bytes]) -> set[bytes]:
        """The texts that this run is to request; another has claimed or answered the others."""
        mine = purchases.claim(self._session, self.space, hashes, self._owner)
        # Another run may have kept its answers and given up its claims in between.
        return set(self._without_answer(list(mine)))

    async def _request(self, batch: Batch, half_of: _Refusal | None, exchange: Exchange) -> None:
        """Request a batch until it is answered, and keep the answer."""
        patience = min(_SUSPICIOUS, self._settings.rag_embedding_max_retries + 1)
        if half_of and half_of.by_failing and len(batch) > 1:
            patience = 1
        cleared = False  # whether the server answered another text meanwhile

        async def suspect(failures: int, error: ProviderUnavailableError, key: str) -> bool:
            nonlocal cleared
            if not cleared and (
                failures < patience or not await self._requests.server_works(exchange, key)
            ):
                return False
            if cleared or len(batch) > 1:
                raise InputRejectedError(
                    f"the provider fails on this text (status {error.status}), and answers others"
                ) from error
            cleared = True
            return True

        async def send(key: str) -> bool:
            answer = await self._embedder.embed(
                [text.text for text in batch], self.space.spec, key, "passage"
            )
            await self._requests.rest(exchange, key, answer)
            async with exchange.keeping:
                await self._keep(exchange.answers, batch, answer, key)
            return True

        await self._requests.send(exchange, tokens_of(batch), send, suspect=suspect)

    async def _keep(
        self, connection: AsyncConnection, batch: Batch, answer: Answer, key: str
    ) -> None:
        good = [place for place in range(len(batch)) if place not in answer.refused]
        vectors = answer.vectors if len(good) == len(batch) else answer.vectors[good]
        hashes = [batch[place].hash for place in good]
        texts = [text.text for text in batch]
        entry = replace(self._requests.entry(key, texts, answer.tokens), inputs=len(batch))
        await purchases.keep_answers(
            connection, self.space, hashes, vectors, self._ledger_key, entry
        )
        self._requests.count(entry, kept=len(good))
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
