"""Run many searches and measure the similarities found, the latency and the hits returned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

WARM_UP = 20
"""Searches that are not counted, because a connection's first ones are slower."""


@dataclass(frozen=True)
class TimedSearch:
    """The measurements of one search.

    :param similarities: similarities of its hits, descending.
    """

    similarities: tuple[float, ...]
    latency_ms: float


@dataclass(frozen=True)
class Latency:
    """Latency of a series of searches, in milliseconds.

    :param cold_ms: the slowest first search of a connection; not included in the percentiles.
    """

    p50_ms: float
    p95_ms: float
    cold_ms: float
    queries: int


def time_plan(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    queries: NDArray[np.float32],
    *,
    top_k: int,
    scopes: Sequence[str] | None,
) -> tuple[TimedSearch, ...]:
    """Search with each query in turn by a given plan, for tuning.

    :param connection: autocommits and is prepared.
    :param queries: float32, shape (n, dimensions).
    """
    searches = []
    for query in queries:
        started = time.perf_counter()
        found = nearest(connection, table, plan, query, top_k=top_k, scopes=scopes)
        elapsed = (time.perf_counter() - started) * 1000
        searches.append(TimedSearch(tuple(1 - distance for _, distance in found), elapsed))
    return tuple(searches)


def time_search(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    queries: NDArray[np.float32],
) -> tuple[TimedSearch, ...]:
    """Search with each query in turn, as an application would.

    :param connection: autocommits and is prepared.
    :param queries: float32, shape (n, dimensions).
    """
    searches = []
    for query in queries:
        started = time.perf_counter()
        found = search(connection, settings, served, request, query)
        elapsed = (time.perf_counter() - started) * 1000
        searches.append(TimedSearch(tuple(hit.score for hit in found.hits), elapsed))
    return tuple(searches)


def measure_latency(
    database: Database,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    queries: NDArray[np.float32],
    *,
    concurrency: int,
    warm_up: int = WARM_UP,
) -> Latency:
    """Run all queries, divided among ``concurrency`` concurrent connections.

    :param queries: float32, shape (n, dimensions).
    :param warm_up: uncounted searches to run first, on all connections together.
    """

    def work(share: NDArray[np.float32]) -> tuple[TimedSearch, ...]:
        with database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            return time_search(connection, settings, served, request, share)

    warm = min(len(queries), max(1, warm_up // concurrency))
    shares = [np.vstack([queries[:warm], share]) for share in np.array_split(queries, concurrency)]
    with ThreadPoolExecutor(concurrency) as threads:
        return latency_of(list(threads.map(work, shares)), warm=warm)


def latency_of(answers: Sequence[Sequence[TimedSearch]], *, warm: int) -> Latency:
    """The latency of the searches of one or more connections.

    :param warm: the number of first searches of each connection that are not counted.
    """
    counted = [found.latency_ms for answer in answers for found in answer[warm:]]
    return Latency(
        p50_ms=float(np.percentile(counted, 50)),
        p95_ms=float(np.percentile(counted, 95)),
        cold_ms=max(answer[0].latency_ms for answer in answers),
        queries=len(counted),
    )
