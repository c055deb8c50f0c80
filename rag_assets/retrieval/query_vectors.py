"""Embed queries with the model of the space that they are searched in, through a cache."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from rag_assets.embedding.embedder import Answer, Embedder, ProbedEmbedder, open_embedder
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.providers.answers import RawAnswer
from rag_assets.embedding.providers.probe import Probe
from rag_assets.embedding.requests import backoff
from rag_assets.embedding.throttle import REST_UNTOLD_S
from rag_assets.errors import (
    AuthenticationError,
    ConfigurationError,
    DatabaseUnavailableError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    QuotaExceededError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.interrupts import run_async
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.sql.query_embeddings import keep_query, known_query, query_hash
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space, SpaceSpec

Vector = NDArray[np.float32]

_CACHED_AT_A_TIME = 256
"""Queries of one request: what it has answered is kept, whatever becomes of the next one."""


def embed_queries(settings: Settings, spec: SpaceSpec, queries: Sequence[str]) -> Vector:
    """Embed up to 2,048 queries in one request.

    :returns: float32, shape (n, dimensions).
    :raises ConfigurationError: there is no key for the provider.
    :raises RagAssetsError: the provider failed.
    """
    return run_async(_embed_once(settings, spec, queries))


def embed_queries_cached(
    connection: Connection,
    settings: Settings,
    space: Space,
    queries: Sequence[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Vector:
    """As :func:`embed_queries`, but first look in the API's query cache in PostgreSQL.

    For runs, which no user waits for: it has the patience of an embedding run.

    :param connection: also used to add the new vectors to the cache.
    :returns: float32, shape (n, dimensions).
    """
    max_age = timedelta(hours=settings.rag_query_cache_max_age_h)
    keys = [query_hash(query) for query in queries]
    found = {key: known_query(connection, space.space_id, key, max_age=max_age) for key in keys}
    unknown = {key: query for key, query in zip(keys, queries, strict=True) if found[key] is None}
    waiting = list(unknown.items())
    for start in range(0, len(waiting), _CACHED_AT_A_TIME):
        part = waiting[start : start + _CACHED_AT_A_TIME]
        vectors = _patiently(settings, space.spec, [query for _, query in part], sleep)
        for (key, _), vector in zip(part, vectors, strict=True):
            keep_query(connection, space.space_id, key, vector)
            found[key] = vector
    return np.array([found[key] for key in keys], dtype=np.float32).reshape(
        len(keys), space.spec.dimensions
    )


def _patiently(
    settings: Settings, spec: SpaceSpec, queries: Sequence[str], sleep: Callable[[float], None]
) -> Vector:
    """Wait while the rate is limited, and retry transient errors.

    Otherwise a provider that is busy for a minute fails the checks of a sound index.
    """
    waited_s, retries = 0.0, 0
    while True:
        try:
            return embed_queries(settings, spec, queries)
        except RateLimitedError as error:
            pause_s = error.retry_after_s or REST_UNTOLD_S
            waited_s += pause_s
            if waited_s > settings.rag_embedding_max_wait_s:
                raise
        except ProviderUnavailableError:
            retries += 1
            if retries > settings.rag_embedding_max_retries:
                raise
            pause_s = backoff(retries)
        sleep(pause_s)


async def _embed_once(settings: Settings, spec: SpaceSpec, queries: Sequence[str]) -> Vector:
    async with open_embedder(settings, provider=spec.provider) as embedder:
        return await _embed(embedder, spec, queries)


async def _embed(embedder: Embedder, spec: SpaceSpec, queries: Sequence[str]) -> Vector:
    """Use the first key that the provider accepts."""
    failure: RagAssetsError = ConfigurationError("there is no key for the provider")
    for key in embedder.keys:
        try:
            answers = await _probing(embedder, spec, queries, key)
        except (RateLimitedError, QuotaExceededError, AuthenticationError) as error:
            failure = error
            continue
        for reason in (reason for answer in answers for reason in answer.refused.values()):
            # Offline the text itself has nothing to embed; a provider answered with no vector.
            cause = InputRejectedError if spec.provider == "offline" else ProviderAnswerError
            raise cause(f"the query cannot be embedded: {reason}")
        return np.concatenate([answer.vectors for answer in answers])
    raise failure


async def _probing(
    embedder: Embedder, spec: SpaceSpec, queries: Sequence[str], key: str
) -> list[Answer]:
    """Send what OpenAI's server takes; probe only one that refuses it, or answers otherwise."""
    try:
        return await _in_batches(embedder, spec, queries, key)
    except (InputRejectedError, ProviderAnswerError, ProviderUnavailableError) as error:
        down = isinstance(error, ProviderUnavailableError) and error.status != 500
        if down or not isinstance(embedder, ProbedEmbedder) or embedder.profile(spec):
            raise
        await _probe(embedder, spec, len(queries), key)
        return await _in_batches(embedder, spec, queries, key)


async def _probe(embedder: ProbedEmbedder, spec: SpaceSpec, batch: int, key: str) -> None:
    async def request(texts: Sequence[str], form: Profile) -> RawAnswer:
        return await embedder.ask(texts, spec, key, form)

    probe = Probe(request, spec, embedder.overrides, batch=batch)
    embedder.use(spec, await probe.run())


async def _in_batches(
    embedder: Embedder, spec: SpaceSpec, queries: Sequence[str], key: str
) -> list[Answer]:
    profile = embedder.profile(spec) if isinstance(embedder, ProbedEmbedder) else None
    size = profile.largest_batch if profile and profile.batch_limited else len(queries)
    parts = [queries[start : start + size] for start in range(0, len(queries), size)]
    return [await embedder.embed(list(part), spec, key, "query") for part in parts]


@dataclass
class QueryVectors:
    """Embeds queries for a running service, with a cache in memory and one in PostgreSQL.

    :param known: look a query up in PostgreSQL, by space and hash.
    :param keep: store one there, with its text if RAG_LIVE_QUERIES allows that.
    :param hit: called on a cache hit with its level: ``memory`` or ``database``.
    """

    settings: Settings
    known: Callable[[int, bytes], Vector | None]
    keep: Callable[[int, bytes, Vector, str | None], None]
    hit: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _memory: OrderedDict[tuple[int, bytes], tuple[float, Vector]] = field(
        default_factory=OrderedDict
    )
    _pending: dict[tuple[int, bytes], asyncio.Task[Vector]] = field(default_factory=dict)
    _embedders: dict[str, Embedder] = field(default_factory=dict)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def aclose(self) -> None:
        """Close the connections to the provider."""
        await self._open.aclose()

    async def vector(self, space: Space, query: str) -> Vector:
        """A query's vector: float32, shape (dimensions of the space,).

        Concurrent calls for the same query share one request.

        :raises RagAssetsError: there is no key, or the provider failed.
        """
        key = (space.space_id, query_hash(query))
        if (found := self._remembered(key)) is not None:
            self.hit("memory")
            return found
        pending = self._pending.get(key)
        if pending is None:
            pending = asyncio.create_task(self._obtain(space, query, key))
            self._pending[key] = pending
            pending.add_done_callback(lambda _: self._pending.pop(key, None))
        return await asyncio.shield(pending)

    async def _obtain(self, space: Space, query: str, key: tuple[int, bytes]) -> Vector:
        found = await asyncio.to_thread(self.known, *key)
        if found is not None:
            self.hit("database")
        else:
            embedder = await self._embedder(space.spec.provider)
            (found,) = await _embed(embedder, space.spec, [query])
            with suppress(DatabaseUnavailableError):  # the answer is valid even if not cached
                text = query if self.settings.rag_live_queries else None
                await asyncio.to_thread(self.keep, *key, found, text)
        self._remember(key, found)
        return found

    async def _embedder(self, provider: str) -> Embedder:
        if provider not in self._embedders:
            self._embedders[provider] = await self._open.enter_async_context(
                open_embedder(
                    self.settings, provider=provider, timeout_s=self.settings.rag_query_timeout_s
                )
            )
        return self._embedders[provider]

    def _remembered(self, key: tuple[int, bytes]) -> Vector | None:
        kept = self._memory.get(key)
        if kept is None or self.clock() - kept[0] > self.settings.rag_query_cache_max_age_h * 3600:
            return None
        self._memory.move_to_end(key)
        return kept[1]

    def _remember(self, key: tuple[int, bytes], vector: Vector) -> None:
        self._memory[key] = (self.clock(), vector)
        while len(self._memory) > self.settings.rag_query_cache_size:
            self._memory.popitem(last=False)
