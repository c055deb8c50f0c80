"""Each query is embedded once: found in memory, in PostgreSQL, or by the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    RateLimitedError,
)
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import (
    QueryVectors,
    Vector,
    embed_queries,
    embed_queries_cached,
)
from rag_assets.retrieval.sql import query_embeddings
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space, space_spec
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.vectors.vectors import count_rows, space_of

DAY = timedelta(days=1)


@dataclass
class Cache:
    """Query vectors over the test's database, and where each was found."""

    database: Database
    settings: Settings
    now: float = 0.0
    hits: list[str] = field(default_factory=list)

    def known(self, space: int, key: bytes) -> Vector | None:
        with self.database.connect() as connection:
            return query_embeddings.known_query(connection, space, key, max_age=DAY)

    def keep(self, space: int, key: bytes, vector: Vector, text: str | None) -> None:
        with self.database.connect() as connection:
            query_embeddings.keep_query(connection, space, key, vector, text=text)

    def texts(self) -> list[str | None]:
        with self.database.connect() as connection:
            rows = connection.execute("SELECT query FROM query_embeddings ORDER BY 1").fetchall()
        return [row[0] for row in rows]

    def run(self, work: Callable[[QueryVectors], Awaitable[object]]) -> object:
        """Do some work with them, in a new event loop."""

        async def main() -> object:
            vectors = QueryVectors(
                self.settings, self.known, self.keep, self.hits.append, clock=lambda: self.now
            )
            try:
                return await work(vectors)
            finally:
                await vectors.aclose()

        return asyncio.run(main())


@pytest.fixture
def cache(database: Database, openai_settings: MakeSettings) -> Cache:
    return Cache(database, openai_settings(rag_embedding_small_dimensions=64))


@pytest.fixture
def space(cache: Cache) -> Space:
    return space_of(cache.database, cache.settings)


def test_a_query_is_embedded_once_and_then_cached(
    cache: Cache, space: Space, emulator: Emulator
) -> None:
    async def work(vectors: QueryVectors) -> None:
        first = await vectors.vector(space, "the river")
        assert first.shape == (64,)
        assert first.dtype == np.float32
        assert np.array_equal(await vectors.vector(space, "THE  river"), first)

    cache.run(work)
    assert cache.hits == ["memory"]
    assert emulator.stats().requests == 1
    cache.run(lambda vectors: vectors.vector(space, "the river"))
    assert cache.hits == ["memory", "database"]
    assert emulator.stats().requests == 1


def test_texts_are_kept_only_where_the_operator_allows_it(cache: Cache, space: Space) -> None:
    cache.run(lambda vectors: vectors.vector(space, "the river"))
    assert cache.texts() == [None]
    cache.settings = cache.settings.model_copy(update={"rag_live_queries": True})
    cache.run(lambda vectors: vectors.vector(space, "The sea"))
    assert cache.texts() == ["The sea", None]


def test_concurrent_callers_share_one_answer_or_one_failure(
    cache: Cache, space: Space, emulator: Emulator
) -> None:
    async def work(vectors: QueryVectors) -> None:
        emulator.order(Fault(FaultKind.UNAVAILABLE))
        asked = [vectors.vector(space, "a sea") for _ in range(5)]
        failed = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(one) for one in failed} == {ProviderUnavailableError}
        asked = [vectors.vector(space, "a sea") for _ in range(5)]
        assert len({one.tobytes() for one in await asyncio.gather(*asked)}) == 1

    cache.run(work)
    assert emulator.stats().requests == 2


def test_a_caller_that_gives_up_does_not_cancel_the_answer_for_others(
    cache: Cache, space: Space, emulator: Emulator
) -> None:
    async def work(vectors: QueryVectors) -> None:
        emulator.order(Fault(FaultKind.LATENCY, latency_ms=300, times=1))
        first = asyncio.create_task(vectors.vector(space, "a lake"))
        second = asyncio.create_task(vectors.vector(space, "a lake"))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).shape == (64,)

    cache.run(work)
    assert emulator.stats().requests == 1


def test_memory_drops_old_and_least_recently_used_entries(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    settings = openai_settings(
        rag_embedding_small_dimensions=64, rag_query_cache_size=2, rag_query_cache_max_age_h=1
    )
    cache = Cache(database, settings)
    space = space_of(database, settings)

    async def work(vectors: QueryVectors) -> None:
        for query in ("one", "two", "one", "three"):  # two is dropped: one was used since
            await vectors.vector(space, query)
        await vectors.vector(space, "one")
        assert cache.hits == ["memory", "memory"]
        await vectors.vector(space, "two")
        assert cache.hits[2:] == ["database"]
        cache.now = 3601
        await vectors.vector(space, "two")
        assert cache.hits[3:] == ["database"]

    cache.run(work)
    assert emulator.stats().requests == 3


def test_a_database_that_is_down_when_caching_does_not_affect_the_answer(
    cache: Cache, space: Space
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailableError("away")

    async def main() -> None:
        vectors = QueryVectors(cache.settings, cache.known, away, cache.hits.append)
        assert (await vectors.vector(space, "a bay")).shape == (64,)
        await vectors.aclose()

    asyncio.run(main())
    assert count_rows(cache.database, "query_embeddings") == 0


def test_the_next_key_is_tried_and_the_last_failure_is_raised(
    openai_settings: MakeSettings, database: Database, emulator: Emulator
) -> None:
    settings = openai_settings(
        rag_embedding_small_dimensions=64,
        openai_api_keys="sk-test-one,sk-test-two",
        use_api_key_rotation=True,
    )
    spec = space_of(database, settings).spec
    emulator.order(Fault(FaultKind.RATE_LIMIT, key="sk-test-one"))
    assert embed_queries(settings, spec, ["a", "b"]).shape == (2, 64)
    emulator.order(Fault(FaultKind.RATE_LIMIT, times=2, retry_after_s=3))
    with pytest.raises(RateLimitedError) as caught:
        embed_queries(settings, spec, ["c"])
    assert caught.value.retry_after_s == 3


def test_a_run_waits_for_a_busy_provider_and_a_service_does_not(
    cache: Cache, emulator: Emulator, space: Space
) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, times=4, retry_after_s=7))
    with pytest.raises(RateLimitedError):
        embed_queries(cache.settings, space.spec, ["a"])
    slept: list[float] = []
    with cache.database.connect(autocommit=True) as connection:
        found = embed_queries_cached(connection, cache.settings, space, ["a"], sleep=slept.append)
        assert found.shape == (1, space.spec.dimensions)
        assert slept == [7, 7, 7]
        emulator.order(Fault(FaultKind.UNAVAILABLE, times=2))
        embed_queries_cached(connection, cache.settings, space, ["b"], sleep=slept.append)
        assert len(slept) == 5
        emulator.order(Fault(FaultKind.RATE_LIMIT, times=2, retry_after_s=7))
        impatient = cache.settings.model_copy(update={"rag_embedding_max_wait_s": 10})
        with pytest.raises(RateLimitedError):
            embed_queries_cached(connection, impatient, space, ["c"], sleep=slept.append)


def test_without_a_key_it_says_which_one_is_needed(
    database: Database, openai_settings: MakeSettings
) -> None:
    settings = openai_settings(openai_api_key=None)
    spec = space_of(database, openai_settings()).spec
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        embed_queries(settings, spec, ["a"])


def test_an_invalid_vector_is_the_providers_fault_and_an_empty_text_the_clients(
    database: Database,
    openai_settings: MakeSettings,
    make_settings: MakeSettings,
    emulator: Emulator,
) -> None:
    settings = openai_settings(rag_embedding_small_dimensions=64)
    emulator.order(Fault(FaultKind.NAN))
    with pytest.raises(ProviderAnswerError, match="NaN"):
        embed_queries(settings, space_of(database, settings).spec, ["a"])
    offline = make_settings(rag_embedding_small_dimensions=64)
    with pytest.raises(InputRejectedError, match="cannot be embedded"):
        embed_queries(offline, space_of(database, offline).spec, [" "])


def test_a_query_is_sent_as_one(openai_settings: MakeSettings) -> None:
    plain, e5 = openai_settings(), openai_settings(rag_embedding_instructions="e5")
    (asked,) = embed_queries(e5, space_spec(e5, "small"), ["the sea"])
    (prefixed,) = embed_queries(plain, space_spec(plain, "small"), ["query: the sea"])
    assert np.allclose(asked, prefixed)
