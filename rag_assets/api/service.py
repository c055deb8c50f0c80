"""What the routes work with: the pool, the release in force, query vectors, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray

from rag_assets.api.metrics import ApiMetrics
from rag_assets.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    ProviderUnavailableError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.retrieval.current import CurrentRelease
from rag_assets.retrieval.query_vectors import QueryVectors, embed_queries
from rag_assets.settings import Settings
from rag_assets.store import query_embeddings
from rag_assets.store.database import Connection, dagster_database, open_database
from rag_assets.store.pool import Pool
from rag_assets.store.spaces import Space, space_spec

Answer = TypeVar("Answer")
log = logging.getLogger("rag_assets.api")
_FORGET_EVERY_S = 3600


class Service:
    """One for each worker process; open from start-up to shut-down."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ApiMetrics()
        self._stack = ExitStack()
        self._limiter = anyio.CapacityLimiter(settings.rag_api_pool_size)

    async def open(self) -> None:
        """Open the pool and follow releases. A database that is away is no reason not to start."""
        settings = self.settings
        database = open_database(settings)
        self._pool = self._stack.enter_context(
            Pool(
                database,
                size=settings.rag_api_pool_size,
                wait_s=settings.rag_api_pool_wait_s,
                pooled=settings.rag_database_pooled,
            )
        )
        self.current = self._stack.enter_context(
            CurrentRelease(
                database,
                settings,
                changed=lambda served: self._tell_release(served.release_id),
                warn=log.warning,
            )
        )
        self._operations = OperationsMetrics(
            settings, corpus=database, dagster=dagster_database(settings)
        )
        max_age = timedelta(hours=settings.rag_query_cache_max_age_h)
        timeout_ms = settings.rag_api_statement_timeout_ms
        self.queries = QueryVectors(
            settings,
            known=lambda space, key: self._pool.run(
                lambda c: query_embeddings.known_query(c, space, key, max_age=max_age), timeout_ms
            ),
            keep=lambda space, key, vector: self._pool.run(
                lambda c: query_embeddings.keep_query(c, space, key, vector), timeout_ms
            ),
            hit=lambda level: self.metrics.cache_hits.labels(level).inc(),
        )
        if settings.rag_embedding_provider == "offline":
            # Its library takes seconds to import: now, not in the first query.
            spec = space_spec(settings, "small")
            await asyncio.to_thread(embed_queries, settings, spec, ["ready"])
        self._forgetting = asyncio.create_task(self._forget_queries())

    async def close(self) -> None:
        """Close what :meth:`open` opened."""
        self._forgetting.cancel()
        with suppress(asyncio.CancelledError):
            await self._forgetting
        await self.queries.aclose()
        self._stack.close()

    async def in_database(
        self, work: Callable[[Connection], Answer], *, timeout_ms: int | None = None
    ) -> Answer:
        """Do read-only work on a pooled connection, in a thread.

        :param timeout_ms: the server gives up each statement after so long, by the setting if not
            told; 0 for work that limits its statements itself.
        :raises SearchTimeoutError: the server gave up.
        :raises DatabaseUnavailableError: no connection became free in time, or the server is away.
        """
        try:
            with anyio.fail_after(self.settings.rag_api_pool_wait_s):
                await self._limiter.acquire()
        except TimeoutError:
            raise DatabaseUnavailableError(
                "every database connection is busy: try again, or raise RAG_API_POOL_SIZE"
            ) from None
        if timeout_ms is None:
            timeout_ms = self.settings.rag_api_statement_timeout_ms
        try:
            return await anyio.to_thread.run_sync(
                self._pool.run, work, timeout_ms, limiter=_UNLIMITED
            )
        finally:
            self._limiter.release()

    async def operations_exposition(self) -> bytes:
        """What the databases tell, in Prometheus' text format; kept for RAG_METRICS_CACHE_S.

        Not on a pooled connection: while searches hold them all, the database is not away.
        """
        return await anyio.to_thread.run_sync(self._operations.exposition, limiter=_UNLIMITED)

    async def query_vector(self, space: Space, query: str) -> NDArray[np.float32]:
        """A query's vector in a space; float32, shape (dimensions,)."""
        with self._counted():
            return await self.queries.vector(space, query)

    def read_gauges(self) -> None:
        """Bring the gauges up to date, before they are shown."""
        found = self._pool.statistics()
        size, idle = found.get("pool_size", 0), found.get("pool_available", 0)
        self.metrics.pool.labels("idle").set(idle)
        self.metrics.pool.labels("busy").set(size - idle)
        self.metrics.waiting.set(self._limiter.statistics().tasks_waiting)

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
        """Keep the cache in PostgreSQL within its limits, from the start and each hour."""
        settings = self.settings
        max_age = timedelta(hours=settings.rag_query_cache_max_age_h)
        failing = False
        while True:
            try:
                await self.in_database(
                    lambda c: query_embeddings.forget_queries(
                        c, max_age=max_age, most=settings.rag_query_cache_rows
                    ),
                    timeout_ms=0,
                )
                failing = False
            except RagAssetsError as error:
                if not failing:  # told once
                    log.warning("the query cache cannot be cut to size: %s", error)
                failing = True
            await asyncio.sleep(_FORGET_EVERY_S)

    def _tell_release(self, release_id: int) -> None:
        self.metrics.release.set(release_id)
        log.info("serving release %s", release_id)


_UNLIMITED = anyio.CapacityLimiter(10_000)
"""The service's own limiter counts; the default of anyio would count again."""
