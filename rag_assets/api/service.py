"""What the routes use: the databases, the active release, query vectors and metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Literal, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray

from rag_assets.api.live_recall import LiveRecallSampler
from rag_assets.api.metrics import ApiMetrics
from rag_assets.api.sources import UNLIMITED, Source, Sources
from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    NotReleasedError,
    ProviderUnavailableError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.postgres.database import (
    Connection,
    Database,
    dagster_database,
    open_database,
    open_replica,
)
from rag_assets.postgres.pool import Pool
from rag_assets.retrieval.cross_encoder import CrossEncoder
from rag_assets.retrieval.current import CurrentRelease
from rag_assets.retrieval.live_recall import served_exactly
from rag_assets.retrieval.query_vectors import QueryVectors, Vector, embed_queries
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult, reranked, search
from rag_assets.retrieval.sql import query_embeddings
from rag_assets.retrieval.sql.live_recall import add_live_recall
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.spaces import Space, space_spec

Answer = TypeVar("Answer")
log = logging.getLogger("rag_assets.api")
_FORGET_EVERY_S = 3600
_WARN_EVERY_S = 60.0
_REPEAT_TIMEOUT_MS = 10_000


class Service:
    """The services of one worker process, open from start-up to shutdown."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ApiMetrics()
        self._stack = ExitStack()
        self._exposing = asyncio.Lock()

    async def open(self) -> None:
        """Open the pools and follow releases. Succeeds even if a database is unreachable."""
        settings = self.settings
        database, replica = open_database(settings), open_replica(settings)
        self.sources = Sources(
            self._source("primary", database),
            self._source("replica", replica) if replica else None,
            max_lag_s=settings.rag_database_read_max_lag_s,
            fell_back=self.metrics.fallbacks.inc,
        )
        for source in self._every_source():
            self._stack.enter_context(source.pool)
            self._stack.enter_context(source.current)
        self._operations = OperationsMetrics(
            settings, corpus=database, dagster=dagster_database(settings)
        )
        max_age = timedelta(hours=settings.rag_query_cache_max_age_h)
        timeout_ms = settings.rag_api_statement_timeout_ms
        self.queries = QueryVectors(
            settings,
            known=lambda space, key: self._known_query(
                lambda c: query_embeddings.known_query(c, space, key, max_age=max_age), timeout_ms
            ),
            keep=lambda space, key, vector, text: self._keep_query(
                lambda c: query_embeddings.keep_query(c, space, key, vector, text=text), timeout_ms
            ),
            hit=lambda level: self.metrics.cache_hits.labels(level).inc(),
        )
        if settings.rag_embedding_provider == "offline":
            # Its library takes seconds to import: do it now rather than in the first query.
            spec = space_spec(settings, "small")
            await asyncio.to_thread(embed_queries, settings, spec, ["ready"])
        self._forgetting = asyncio.create_task(self._forget_queries())
        self._sampler = LiveRecallSampler(
            settings.rag_live_recall_share,
            settings.rag_live_recall_budget,
            keep=lambda counted: self.write(lambda c: add_live_recall(c, counted)),
        )
        self._sampler.start()
        self.cross_encoder = CrossEncoder(settings)
        self._warned_at = -_WARN_EVERY_S

    async def close(self) -> None:
        """Close what :meth:`open` opened."""
        self._forgetting.cancel()
        with suppress(asyncio.CancelledError):
            await self._forgetting
        await self._sampler.aclose()
        await self.queries.aclose()
        await self.cross_encoder.aclose()
        self._stack.close()

    async def search(
        self, source: Source, work: Callable[[Connection], Answer], *, timeout_ms: int | None = None
    ) -> Answer:
        """Read from the server where a search began, or from the one it falls back to.

        :param source: from :meth:`Sources.to_search`; the work uses its release.
        :param timeout_ms: time limit of each statement, by default the setting's; 0 for work that
            limits its statements itself.
        :raises SearchTimeoutError: a statement ran into its time limit.
        :raises DatabaseUnavailableError: no connection became free in time, or no server answers.
        """
        order = self.sources.read_order(source)
        return await self.sources.run(order, work, self._limit(timeout_ms))

    async def look_up(self, work: Callable[[Connection], Answer]) -> Answer:
        """Read data that may have just been written. Raises as :meth:`search`."""
        return await self.sources.run(self.sources.lookup_order(), work, self._limit(None))

    async def write(
        self, work: Callable[[Connection], Answer], *, timeout_ms: int | None = None
    ) -> Answer:
        """Write, on the primary. Raises as :meth:`search`."""
        return await self.sources.write(work, self._limit(timeout_ms))

    async def reranked(self, request: SearchRequest, found: SearchResult) -> SearchResult:
        """Re-rank what was found, counted and logged; never fails."""
        found = await reranked(self.cross_encoder, request, found)
        if (done := found.reranking) is not None:
            self.metrics.rerankings.labels(done.outcome).inc()
            self.metrics.latency.labels("reranking").observe(done.ms / 1000)
            now = time.monotonic()
            if done.outcome != "done" and now - self._warned_at >= _WARN_EVERY_S:
                self._warned_at = now  # each request's line has the outcome, too
                log.warning(
                    "hits are not re-ranked (%s: %s): searches are answered in the order before "
                    "it. Check the server of RAG_RERANK_URL; rag_rerankings_total counts",
                    done.outcome,
                    done.detail,
                )
        return found

    def sample(
        self,
        source: Source,
        served: Served,
        request: SearchRequest,
        result: SearchResult,
        vector: Vector,
        large_vector: Vector | None,
    ) -> None:
        """Repeat a sampled search exactly, in the background, on a connection of its own."""

        def repeat(again: SearchRequest) -> SearchResult:
            with source.database.connect(autocommit=True) as connection:
                prepare_connection(connection)
                return search(
                    connection, self.settings, served_exactly(served), again, vector,
                    large_vector=large_vector, timeout_ms=_REPEAT_TIMEOUT_MS,
                )  # fmt: skip

        self._sampler.offer(request, result, repeat)

    def _limit(self, timeout_ms: int | None) -> int:
        return self.settings.rag_api_statement_timeout_ms if timeout_ms is None else timeout_ms

    def _known_query(self, work: Callable[[Connection], Answer], timeout_ms: int) -> Answer:
        *before, last = self.sources.read_order(self.sources.to_search())
        for source in before:
            with suppress(DatabaseUnavailableError):
                return source.pool.run(work, timeout_ms, tries=1)
        return last.pool.run(work, timeout_ms)

    def _keep_query(self, work: Callable[[Connection], None], timeout_ms: int) -> None:
        self.sources.refuse_without_primary()
        self.sources.primary.pool.run(work, timeout_ms)

    def _source(self, name: Literal["primary", "replica"], database: Database) -> Source:
        settings = self.settings
        size, wait_s = settings.rag_api_pool_size, settings.rag_api_pool_wait_s
        pool = Pool(
            database,
            size=size,
            wait_s=wait_s,
            prepare=prepare_connection,
            pooled=settings.rag_database_pooled,
            name=name,
        )
        current = CurrentRelease(
            database,
            settings,
            changed=lambda served: self._report_release(name, served.release_id),
            warn=log.warning,
        )
        return Source(
            name, database, pool, current, size, wait_s, 2 * settings.rag_database_read_patience_s
        )

    def _every_source(self) -> tuple[Source, ...]:
        primary, replica = self.sources.primary, self.sources.replica
        return (primary, replica) if replica else (primary,)

    async def operations_exposition(self) -> bytes:
        """The databases' metrics in Prometheus' text format, cached for RAG_METRICS_CACHE_S.

        Does not use a pooled connection: the database is not down just because searches hold them
        all. Runs one at a time: scrapers need no key, and each would hold a thread while it waits
        for a slow database.
        """
        async with self._exposing:
            return await anyio.to_thread.run_sync(self._operations.exposition, limiter=UNLIMITED)

    async def query_vector(self, space: Space, query: str) -> NDArray[np.float32]:
        """A query's vector in a space; float32, shape (dimensions,)."""
        with self._counted():
            return await self.queries.vector(space, query)

    def read_gauges(self) -> None:
        """Update the gauges before they are exposed."""
        found = [source.pool.statistics() for source in self._every_source()]
        size = sum(pool.get("pool_size", 0) for pool in found)
        idle = sum(pool.get("pool_available", 0) for pool in found)
        self.metrics.pool.labels("idle").set(idle)
        self.metrics.pool.labels("busy").set(size - idle)
        self.metrics.waiting.set(
            sum(source.limiter.statistics().tasks_waiting for source in self._every_source())
        )
        searched = self.sources.to_search()
        self.metrics.reads_replica.set(searched is self.sources.replica)
        self.metrics.replica_lag.set(self.sources.lag_s)
        with suppress(NotReleasedError):
            self.metrics.release.set(searched.current.served.release_id)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except RateLimitedError:
            self.metrics.provider_errors.labels("rate-limited").inc()
            raise
        except ProviderUnavailableError:
            self.metrics.provider_errors.labels("unavailable").inc()
            raise
        except ConfigurationError:
            self.metrics.provider_errors.labels("no-key").inc()
            raise
        except DatabaseUnavailableError:
            raise
        except RagAssetsError:
            self.metrics.provider_errors.labels("refused").inc()
            raise

    async def _forget_queries(self) -> None:
        """Keep the cache in PostgreSQL within its limits, at the start and every hour."""
        settings = self.settings
        max_age = timedelta(hours=settings.rag_query_cache_max_age_h)
        failing = False
        while True:
            try:
                await self.write(
                    lambda c: query_embeddings.forget_queries(
                        c, max_age=max_age, max_rows=settings.rag_query_cache_rows
                    ),
                    timeout_ms=0,
                )
                if not settings.rag_live_queries:
                    await self.write(query_embeddings.forget_texts, timeout_ms=0)
                failing = False
            except RagAssetsError as error:
                if not failing:  # log it once
                    log.warning("the query cache cannot be cut to size: %s", error)
                failing = True
            await asyncio.sleep(_FORGET_EVERY_S)

    def _report_release(self, name: str, release_id: int) -> None:
        if self.sources.replica is None:
            self.metrics.release.set(release_id)
            log.info("serving release %s", release_id)
        else:  # the metrics show which of the two is searched
            log.info("the %s shows release %s", name, release_id)
