"""Search: the only path from a vector to hits, through released data only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RequestError
from rag_assets.interrupts import run_async
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.cross_encoder import CrossEncoder, Reranking, with_candidates
from rag_assets.retrieval.fusion import TEXT_DEPTH
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.ranking import (
    Found,
    Ranked,
    may_find_more,
    ranked,
    why_fewer_hits,
)
from rag_assets.retrieval.released import Served, served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.showing import shown
from rag_assets.retrieval.sides import AnySide, sides_of
from rag_assets.retrieval.sql.full_text import Matches, matches
from rag_assets.retrieval.words import take_apart
from rag_assets.settings.model import Settings
from rag_assets.tracing import Attributes, Span, span
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.nearest import compare, prepare_connection, search_by
from rag_assets.vectors.sql.tables import VectorTable

CANDIDATES = 100
"""Minimum number of rows of the small space that re-ranking chooses from."""


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, with their release and plans, and times in milliseconds.

    :param plan: how the corpus was read; the Bible if both were searched.
    :param why_fewer: why there are fewer than ``top_k`` hits; empty if there are not.
    :param documents_plan: how the documents were read, if both corpora were searched.
    :param reranking: what became of re-ranking by a cross-encoder; ``None`` without one.
    """

    hits: tuple[Hit, ...]
    release_id: int
    plan: SearchPlan
    why_fewer: str
    search_ms: float
    embedding_ms: float = 0.0
    documents_plan: SearchPlan | None = None
    reranking: Reranking | None = None

    @property
    def plan_name(self) -> str:
        """The kind of the plan, or of both."""
        both = f"+{self.documents_plan.kind}" if self.documents_plan else ""
        return f"{self.plan.kind}{both}"


def search(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    vector: NDArray[np.float32],
    *,
    large_vector: NDArray[np.float32] | None = None,
    timeout_ms: int = 0,
) -> SearchResult:
    """Find the passages of a release that are nearest to a vector of its small space.

    :param connection: autocommits and is prepared for vectors.
    :param vector: float32, shape (dimensions of the small space,).
    :param large_vector: in the large space; required to re-rank.
    :param timeout_ms: time limit of each statement; 0 for none.
    :raises RequestError: the request cannot be answered.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    with span(f"retrieval {request.corpus}", _about(request)) as found:
        result = _searched(
            connection, settings, served, request, vector, large_vector, timeout_ms=timeout_ms
        )
        found.set(
            {
                "rag_assets.release": result.release_id,
                "rag_assets.plan": result.plan_name,
                "rag_assets.hits": len(result.hits),
            }
        )
    return result


def _about(request: SearchRequest) -> Attributes:
    return {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": request.corpus,
        "gen_ai.request.top_k": request.top_k,
        "rag_assets.hybrid": request.hybrid,
        "rag_assets.rerank": request.rerank,
    }


def _searched(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    vector: NDArray[np.float32],
    large_vector: NDArray[np.float32] | None,
    *,
    timeout_ms: int,
) -> SearchResult:
    started = time.perf_counter()
    trace = traced(
        connection, settings, served, request, vector, large_vector, timeout_ms=timeout_ms
    )
    plan, *others = [found.plan for found in trace.results]
    hits = trace.ranked.hits
    return SearchResult(
        hits=shown(connection, request, hits, timeout_ms),
        release_id=served.release_id,
        plan=plan,
        why_fewer=why_fewer_hits(request, len(hits), trace.ranked.below),
        search_ms=(time.perf_counter() - started) * 1000,
        documents_plan=others[0] if others else None,
    )


@dataclass(frozen=True)
class Trace:
    """What a search found in each corpus, and how it ranked that.

    :param depths: how many rows were fetched of each.
    """

    results: tuple[Found, ...]
    depths: tuple[int, ...]
    ranked: Ranked


def traced(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    vector: NDArray[np.float32],
    large_vector: NDArray[np.float32] | None,
    *,
    timeout_ms: int,
) -> Trace:
    """Search, and keep what :func:`search` does not return. Parameters as there."""
    sides = sides_of(connection, request, served, timeout_ms=timeout_ms)
    deeper = 1
    while True:
        depths = [deeper * _depth(request, side) for side in sides]
        results = [
            _search_side(connection, settings, request, side, vector, large_vector,
                         depth=depth, timeout_ms=timeout_ms)
            for side, depth in zip(sides, depths, strict=True)
        ]  # fmt: skip
        trace = Trace(tuple(results), tuple(depths), ranked(request, results))
        enough = len(trace.ranked.hits) >= request.top_k or trace.ranked.below
        if enough or not may_find_more(request, results):
            return trace
        deeper *= 4


def search_text(
    database: Database, settings: Settings, query: str, request: SearchRequest
) -> SearchResult:
    """Embed one query in the released space and search with it, on a new connection.

    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as for :func:`search` and the embedder.
    """
    (result,) = search_texts(database, settings, [replace(request, text=query)])
    return result


def search_texts(
    database: Database, settings: Settings, requests: Sequence[SearchRequest]
) -> tuple[SearchResult, ...]:
    """Embed the texts of up to 2,048 requests together, then run the searches one by one.

    :returns: results in the order of the requests; each has the embedding time of the whole batch.
    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as for :func:`search` and the embedder.
    """
    with opened_search(database, settings, requests) as opened:
        wide = [with_candidates(settings, request) for request in requests]
        found = [
            replace(
                search(
                    opened.connection, settings, opened.served, request, vector, large_vector=large
                ),
                embedding_ms=opened.embedding_ms,
            )
            for request, (vector, large) in zip(wide, opened.vectors, strict=True)
        ]
    return run_async(_reranked_all(settings, requests, found))


async def reranked(
    encoder: CrossEncoder, request: SearchRequest, found: SearchResult
) -> SearchResult:
    """The result of a request, of what was found for it ``with_candidates``."""
    hits, reranking = await encoder.rank(request, found.hits)
    why_fewer = found.why_fewer if len(hits) < request.top_k else ""
    return replace(found, hits=hits, reranking=reranking, why_fewer=why_fewer)


async def _reranked_all(
    settings: Settings, requests: Sequence[SearchRequest], found: Sequence[SearchResult]
) -> tuple[SearchResult, ...]:
    async with aclosing(CrossEncoder(settings)) as encoder:
        pairs = zip(requests, found, strict=True)
        return tuple([await reranked(encoder, request, one) for request, one in pairs])


@dataclass(frozen=True)
class OpenedSearch:
    """A connection to search on, the release, and the vectors of each request's text.

    :param vectors: of each text in the small space and, to re-rank, in the large one.
    :param embedding_ms: of all texts together.
    """

    connection: Connection
    served: Served
    vectors: Sequence[tuple[NDArray[np.float32], NDArray[np.float32] | None]]
    embedding_ms: float


@contextmanager
def opened_search(
    database: Database, settings: Settings, requests: Sequence[SearchRequest]
) -> Iterator[OpenedSearch]:
    """Embed the texts of up to 2,048 requests together, on a new connection.

    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as for :func:`search` and the embedder.
    """
    texts = [request.embedded_text for request in requests]
    if not all(text.strip() for text in texts):
        raise RequestError("no-query", "query", "the query is empty: write what you look for")
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        for request in requests:
            sides_of(connection, request, served)  # validate before paying for embeddings
        started = time.perf_counter()
        vectors = embed_queries(settings, served.target.table.space.spec, texts)
        large: Sequence[NDArray[np.float32] | None] = [None] * len(texts)
        if served.large_space is not None and any(request.rerank for request in requests):
            large = list(embed_queries(settings, served.large_space.spec, texts))
        embedding_ms = (time.perf_counter() - started) * 1000
        yield OpenedSearch(connection, served, list(zip(vectors, large, strict=True)), embedding_ms)


def _depth(request: SearchRequest, side: AnySide) -> int:
    """How many rows to fetch so that ``top_k`` hits remain."""
    depth = request.top_k
    if request.collapse:
        depth *= side.rows_per_hit
    if request.rerank:
        depth = max(depth, CANDIDATES)
    if request.hybrid:
        released = TEXT_DEPTH if side.text.depth is None else side.text.depth
        depth = max(depth, released if request.text_depth is None else request.text_depth)
    return depth


def _search_side(
    connection: Connection,
    settings: Settings,
    request: SearchRequest,
    side: AnySide,
    vector: NDArray[np.float32],
    large_vector: NDArray[np.float32] | None,
    *,
    depth: int,
    timeout_ms: int,
) -> Found:
    """The candidate rows of one corpus, with their distances in the space that ranks the hits."""
    plan = choose_plan(
        side.target, side.scopes, exact_rows=settings.rag_search_exact_rows, rows=side.matching
    )
    table, compared, joined = side.target.table, vector, side.joined
    with _stage("nearest", side) as stage:
        found, plan = search_by(
            connection,
            table,
            plan,
            vector,
            side.filter,
            top_k=depth,
            timeout_ms=timeout_ms,
            joined=joined,
        )
        stage.set({"rag_assets.plan": plan.kind, "db.response.returned_rows": len(found)})
    near = {row.id: row.distance for row in found}
    nearest = tuple(near)
    passages = {row.id: side.passage(row.columns) for row in found}
    full = len(near) == depth
    if request.rerank:
        table, compared = _large(side, large_vector)
        with _stage("rerank", side):
            again = compare(connection, table, compared, list(near), timeout_ms=timeout_ms)
        near = {row.id: row.distance for row in again}
    if not request.hybrid:
        return Found(side, plan, nearest, near, {}, (), near, passages, full)
    with _stage("full_text", side):
        found_by_words = _by_words(connection, request, side, list(near), depth, timeout_ms)
        beyond = [row for row in found_by_words.ranked if row not in near]
        others = compare(connection, table, compared, beyond, timeout_ms=timeout_ms, joined=joined)
    passages |= {row.id: side.passage(row.columns) for row in others}
    allowed = {row: near[row] for row in found_by_words.near}
    return Found(
        side,
        plan,
        nearest,
        near,
        {**found_by_words.near, **found_by_words.ranked},
        tuple(found_by_words.ranked),
        allowed | {row.id: row.distance for row in others},
        passages,
        full,
    )


def _by_words(
    connection: Connection,
    request: SearchRequest,
    side: AnySide,
    near: Sequence[int],
    depth: int,
    timeout_ms: int,
) -> Matches:
    if not request.text:
        raise RequestError(
            "no-query", "hybrid", "hybrid search needs the words of a query: give query"
        )
    return matches(
        connection,
        side.corpus,
        take_apart(request.text),
        statistics=side.text.statistics,
        languages=side.languages,
        rows=side.filter,
        matching=rows_passing(side),
        limit=depth,
        near=near,
        timeout_ms=timeout_ms,
    )


def rows_passing(side: AnySide) -> int:
    """How many rows pass the filter, approximately."""
    if side.matching is not None:
        return side.matching
    return sum(side.target.scopes.get(scope, 0) for scope in side.scopes)


def _stage(name: str, side: AnySide) -> AbstractContextManager[Span]:
    about = {"db.system.name": "postgresql", "db.collection.name": side.corpus}
    return span(f"{name} {side.corpus}", about, kind="CLIENT")


def _large(
    side: AnySide, large_vector: NDArray[np.float32] | None
) -> tuple[VectorTable, NDArray[np.float32]]:
    if side.large is None:
        of = " of documents" if side.corpus == "documents" else ""
        raise RequestError(
            "no-large-space",
            "rerank",
            f"the active release has no large vectors{of} to re-rank by: leave rerank out",
        )
    if large_vector is None:
        raise RequestError(
            "no-large-vector",
            "rerank_vector",
            f"re-ranking needs a vector in {side.large.space.spec}: give rerank_vector with "
            "vector, or give query",
        )
    return side.large, large_vector
