"""Search: the only path from a vector to hits, through released data only."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.fusion import TEXT_DEPTH, TEXT_WEIGHT, fuse, group
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import Served, served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import AnySide, sides_of
from rag_assets.retrieval.sql.chunks import neighbours
from rag_assets.retrieval.sql.full_text import Matches, matches
from rag_assets.retrieval.stages import about, large_of, rows_of, stage
from rag_assets.retrieval.words import take_apart
from rag_assets.settings.model import Settings
from rag_assets.tracing import span
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.nearest import compare, prepare_connection, search_by

CANDIDATES = 100
"""Minimum number of rows of the small space that re-ranking chooses from."""

MAX_COLLAPSED = 5000
"""Maximum number of rows to fetch for ``top_k`` different documents."""

Row = tuple[int, int]
"""Index of a corpus among those searched, and the row's id."""


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, with their release and plans, and times in milliseconds.

    :param plan: how the corpus was read; the Bible if both were searched.
    :param why_fewer: why there are fewer than ``top_k`` hits; empty if there are not.
    :param documents_plan: how the documents were read, if both corpora were searched.
    """

    hits: tuple[Hit, ...]
    release_id: int
    plan: SearchPlan
    why_fewer: str
    search_ms: float
    embedding_ms: float = 0.0
    documents_plan: SearchPlan | None = None

    @property
    def plan_name(self) -> str:
        """The kind of the plan, or of both."""
        both = f"+{self.documents_plan.kind}" if self.documents_plan else ""
        return f"{self.plan.kind}{both}"


@dataclass(frozen=True)
class _Found:
    """What was found in one corpus.

    :param near: cosine distances of the nearest rows.
    :param shares: how much of the query's words these rows contain, in hybrid search.
    :param text_matches: rows that the words found.
    :param distances: cosine distances of both, without rows that lack a phrase of the query or
        contain a word that it excludes.
    :param passages: stored passages of both.
    :param full: as many rows as requested, so there may be more.
    """

    side: AnySide
    plan: SearchPlan
    near: Mapping[int, float]
    shares: Mapping[int, float]
    text_matches: Container[int]
    distances: Mapping[int, float]
    passages: Mapping[int, Any]
    full: bool


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
    with span(f"retrieval {request.corpus}", about(request)) as found:
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
    sides = sides_of(connection, request, served, timeout_ms=timeout_ms)
    deeper = 1
    while True:
        results = [
            _search_side(connection, settings, request, side, vector, large_vector,
                  depth=deeper * _depth(request, side), timeout_ms=timeout_ms)
            for side in sides
        ]  # fmt: skip
        hits, below = _hits(request, results)
        if len(hits) >= request.top_k or below or not _may_find_more(request, results):
            break
        deeper *= 4
    plan, *others = [found.plan for found in results]
    return SearchResult(
        hits=_with_neighbours(connection, request, hits, timeout_ms),
        release_id=served.release_id,
        plan=plan,
        why_fewer=_why_fewer(request, len(hits), below),
        search_ms=(time.perf_counter() - started) * 1000,
        documents_plan=others[0] if others else None,
    )


def _with_neighbours(
    connection: Connection, request: SearchRequest, hits: tuple[Hit, ...], timeout_ms: int
) -> tuple[Hit, ...]:
    """The hits of documents with the passages around them, where they are asked for."""
    places = [(hit.document.key, hit.document.position) for hit in hits if hit.document]
    if not request.context or not places:
        return hits
    found = iter(neighbours(connection, places, request.context, timeout_ms=timeout_ms))
    with_neighbours = []
    for hit in hits:
        if hit.document is not None:
            before, after = next(found)
            hit = replace(hit, document=replace(hit.document, before=before, after=after))  # noqa: PLW2901
        with_neighbours.append(hit)
    return tuple(with_neighbours)


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
        return tuple(
            replace(
                search(connection, settings, served, request, vector, large_vector=large_vector),
                embedding_ms=embedding_ms,
            )
            for request, vector, large_vector in zip(requests, vectors, large, strict=True)
        )


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


def _weight(request: SearchRequest, side: AnySide) -> float:
    """What the words count beside the vectors."""
    released = TEXT_WEIGHT if side.text.weight is None else side.text.weight
    return released if request.text_weight is None else request.text_weight


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
) -> _Found:
    """The candidate rows of one corpus, with their distances in the space that ranks the hits."""
    plan = choose_plan(
        side.target, side.scopes, exact_rows=settings.rag_search_exact_rows, rows=side.matching
    )
    table, compared, joined = side.target.table, vector, side.joined
    with stage("nearest", side) as recorded:
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
        recorded.set({"rag_assets.plan": plan.kind, "db.response.returned_rows": len(found)})
    near = {row.id: row.distance for row in found}
    passages = {row.id: side.passage(row.columns) for row in found}
    full = len(near) == depth
    if request.rerank:
        table, compared = large_of(side, large_vector)
        with stage("rerank", side):
            again = compare(connection, table, compared, list(near), timeout_ms=timeout_ms)
        near = {row.id: row.distance for row in again}
    if not request.hybrid:
        return _Found(side, plan, near, {}, (), near, passages, full)
    with stage("full_text", side):
        found_by_words = _by_words(connection, request, side, list(near), depth, timeout_ms)
        beyond = [row for row in found_by_words.ranked if row not in near]
        others = compare(connection, table, compared, beyond, timeout_ms=timeout_ms, joined=joined)
    passages |= {row.id: side.passage(row.columns) for row in others}
    allowed = {row: near[row] for row in found_by_words.near}
    return _Found(
        side,
        plan,
        near,
        {**found_by_words.near, **found_by_words.ranked},
        found_by_words.ranked.keys(),
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
        matching=rows_of(side),
        limit=depth,
        near=near,
        timeout_ms=timeout_ms,
    )


def _hits(request: SearchRequest, results: Sequence[_Found]) -> tuple[tuple[Hit, ...], int]:
    """The hits of all corpora, best first, and the number of rows below ``min_score``.

    All distances are in one space, so they rank the rows of several corpora together.
    """
    distances = {
        (place, row): d for place, found in enumerate(results) for row, d in found.distances.items()
    }
    passages = {
        (place, row): passage
        for place, found in enumerate(results)
        for row, passage in found.passages.items()
    }
    if request.hybrid:
        shares = {
            (place, row): share
            for place, found in enumerate(results)
            for row, share in found.shares.items()
        }
        order = fuse(distances, shares, weight=_weight(request, results[0].side))
    else:
        order = sorted(distances, key=lambda row: (distances[row], row))
    chosen, below = _choose(request, order, distances, passages, results)
    return tuple(
        _hit(rank, members, distances, passages, results)
        for rank, members in enumerate(chosen, start=1)
    ), below


def _choose(
    request: SearchRequest,
    order: Sequence[Row],
    distances: Mapping[Row, float],
    passages: Mapping[Row, Any],
    results: Sequence[_Found],
) -> tuple[list[list[Row]], int]:
    """The rows of each hit, and the number of rows below ``min_score``."""
    min_score = request.min_score
    kept = [row for row in order if min_score is None or 1 - distances[row] >= min_score]
    groups = [[row] for row in kept]
    if request.collapse:
        groups = group(kept, lambda row: (row[0], results[row[0]].side.group(passages[row])))
    return groups[: request.top_k], len(order) - len(kept)


def _may_find_more(request: SearchRequest, results: Sequence[_Found]) -> bool:
    """Whether more rows may contain further documents, crowded out by passages of a few."""
    return request.collapse and any(
        found.side.corpus == "documents" and found.full and len(found.near) < MAX_COLLAPSED
        for found in results
    )


def _hit(
    rank: int,
    members: Sequence[Row],
    distances: Mapping[Row, float],
    passages: Mapping[Row, Any],
    results: Sequence[_Found],
) -> Hit:
    place, row = members[0]
    found = results[place]
    return found.side.hit(
        rank,
        [passages[member] for member in members],
        score=1 - distances[place, row],
        source=_source(row, found.near, found.text_matches),
    )


def _source(key: int, near: Container[int], text_matches: Container[int]) -> str:
    if key in near:
        return "both" if key in text_matches else "vector"
    return "text"


def _why_fewer(request: SearchRequest, count: int, below: int) -> str:
    if count >= request.top_k:
        return ""
    if below:
        rows = "1 further row scores" if below == 1 else f"{below} further rows score"
        return f"{rows} under min_score {request.min_score}"
    return "nothing else matches"
