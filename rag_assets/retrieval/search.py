"""Search: the one path from a vector to hits, through what is released and nothing else."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.fusion import fuse, group
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import Served, served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import AnySide, sides_of
from rag_assets.retrieval.sql.chunks import neighbours
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.nearest import compare, prepare_connection, search_by
from rag_assets.vectors.sql.tables import VectorTable

CANDIDATES = 100
"""Rows of the small space that re-ranking and fusion choose from, at least."""

MOST_COLLAPSED = 5000
"""Rows that are looked at, at most, for ``top_k`` different documents."""

Row = tuple[int, int]
"""Place of a corpus among those searched, and the row's id."""


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; through which release and plan; where the time went, in milliseconds.

    :param plan: how the corpus that was searched was read; where both were, the Bible.
    :param why_fewer: why there are fewer hits than asked for; empty when there are not.
    :param documents_plan: how the documents were read, where both corpora were searched.
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
class _Looked:
    """What one corpus gave.

    :param near: cosine distances of the nearest rows.
    :param worded: rows that hold words of the query, the best first.
    :param known: distances of both.
    :param passages: both as they are stored.
    :param full: there may be more rows than were asked for.
    """

    side: AnySide
    plan: SearchPlan
    near: Mapping[int, float]
    worded: Sequence[int]
    known: Mapping[int, float]
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
    """The nearest passages of a release to a vector of its small space.

    :param connection: autocommits and is prepared for vectors.
    :param vector: float32, shape (dimensions of the small space,).
    :param large_vector: of the large space; needed to re-rank.
    :param timeout_ms: the server gives up each statement after so long; 0 for never.
    :raises RequestError: it cannot be answered so.
    :raises SearchTimeoutError: the server gave up.
    """
    started = time.perf_counter()
    sides = sides_of(connection, request, served, timeout_ms=timeout_ms)
    deeper = 1
    while True:
        looked = [
            _look(connection, settings, request, side, vector, large_vector,
                  depth=deeper * _depth(request, side), timeout_ms=timeout_ms)
            for side in sides
        ]  # fmt: skip
        hits, below = _hits(request, looked)
        if len(hits) >= request.top_k or below or not _may_find_more(request, looked):
            break
        deeper *= 4
    plan, *others = [found.plan for found in looked]
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
    """Embed one query in the released space and search with it, on a connection of its own.

    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as :func:`search` and the embedder.
    """
    (result,) = search_texts(database, settings, [replace(request, text=query)])
    return result


def search_texts(
    database: Database, settings: Settings, requests: Sequence[SearchRequest]
) -> tuple[SearchResult, ...]:
    """Embed the texts of these requests together, at most 2,048, then search with one at a time.

    :returns: results in the order of the requests; the time of embedding is that of all.
    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as :func:`search` and the embedder.
    """
    texts = [request.text or "" for request in requests]
    if not all(text.strip() for text in texts):
        raise RequestError("no-query", "query", "the query is empty: write what you look for")
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        for request in requests:
            sides_of(connection, request, served)  # before anything is paid for
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
    """How many rows to fetch so that ``top_k`` are left of them."""
    depth = request.top_k
    if request.collapse:
        depth *= side.rows_a_hit
    if request.rerank or request.hybrid:
        depth = max(depth, CANDIDATES)
    return depth


def _look(
    connection: Connection,
    settings: Settings,
    request: SearchRequest,
    side: AnySide,
    vector: NDArray[np.float32],
    large_vector: NDArray[np.float32] | None,
    *,
    depth: int,
    timeout_ms: int,
) -> _Looked:
    """The rows of one corpus that may be hits, with their distances in the space that orders."""
    plan = choose_plan(
        side.target, side.scopes, exact_rows=settings.rag_search_exact_rows, rows=side.matching
    )
    table, compared, joined = side.target.table, vector, side.joined
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
    near = {row.id: row.distance for row in found}
    passages = {row.id: side.passage(row.columns) for row in found}
    full = len(near) == depth
    if request.rerank:
        table, compared = _large(side, large_vector)
        again = compare(connection, table, compared, list(near), timeout_ms=timeout_ms)
        near = {row.id: row.distance for row in again}
    if not request.hybrid:
        return _Looked(side, plan, near, (), near, passages, full)
    if not request.text:
        raise RequestError(
            "no-query", "hybrid", "hybrid search needs the words of a query: give query"
        )
    worded = side.worded(connection, request.text, limit=depth, timeout_ms=timeout_ms)
    beyond = [row for row in worded if row not in near]
    others = compare(connection, table, compared, beyond, timeout_ms=timeout_ms, joined=joined)
    known = near | {row.id: row.distance for row in others}
    passages |= {row.id: side.passage(row.columns) for row in others}
    return _Looked(side, plan, near, worded, known, passages, full)


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


def _hits(request: SearchRequest, looked: Sequence[_Looked]) -> tuple[tuple[Hit, ...], int]:
    """The hits of all corpora, best first, and how many rows were under ``min_score``.

    All distances are of one space, so that they order the rows of several corpora, too.
    """
    known = {(place, row): d for place, one in enumerate(looked) for row, d in one.known.items()}
    passages = {
        (place, row): passage
        for place, one in enumerate(looked)
        for row, passage in one.passages.items()
    }
    order = sorted(
        ((place, row) for place, one in enumerate(looked) for row in one.near),
        key=lambda row: (known[row], row),
    )
    if request.hybrid:
        worded = [[(place, row) for row in one.worded] for place, one in enumerate(looked)]
        order = [row for row in fuse(order, *worded) if row in known]
    chosen, below = _choose(request, order, known, passages, looked)
    return tuple(
        _hit(rank, members, known, passages, looked) for rank, members in enumerate(chosen, start=1)
    ), below


def _choose(
    request: SearchRequest,
    order: Sequence[Row],
    known: Mapping[Row, float],
    passages: Mapping[Row, Any],
    looked: Sequence[_Looked],
) -> tuple[list[list[Row]], int]:
    """The hits, each with the rows that it stands for, and how many were under ``min_score``."""
    least = request.min_score
    kept = [row for row in order if least is None or 1 - known[row] >= least]
    groups = [[row] for row in kept]
    if request.collapse:
        groups = group(kept, lambda row: (row[0], looked[row[0]].side.group(passages[row])))
    return groups[: request.top_k], len(order) - len(kept)


def _may_find_more(request: SearchRequest, looked: Sequence[_Looked]) -> bool:
    """Whether rows that one document's own passages kept out may hold further documents."""
    return request.collapse and any(
        one.side.corpus == "documents" and one.full and len(one.near) < MOST_COLLAPSED
        for one in looked
    )


def _hit(
    rank: int,
    members: Sequence[Row],
    known: Mapping[Row, float],
    passages: Mapping[Row, Any],
    looked: Sequence[_Looked],
) -> Hit:
    place, row = members[0]
    one = looked[place]
    return one.side.hit(
        rank,
        [passages[member] for member in members],
        score=1 - known[place, row],
        source=_source(row, one.near, one.worded),
    )


def _source(key: int, near: Container[int], worded: Container[int]) -> str:
    if key in near:
        return "both" if key in worded else "vector"
    return "text"


def _why_fewer(request: SearchRequest, count: int, below: int) -> str:
    if count >= request.top_k:
        return ""
    if below:
        return f"{below} further rows score under min_score {request.min_score}"
    return "the filter lets no more rows through"
