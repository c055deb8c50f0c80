"""Search: the one path from a vector to hits, through what is released and nothing else."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.corpus.bible.books import Language, display_name
from rag_assets.errors import RequestError
from rag_assets.retrieval.fusion import fuse, group
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import Served, served_now
from rag_assets.retrieval.request import Confined, SearchRequest, confine
from rag_assets.settings import Settings
from rag_assets.store.database import Connection, Database
from rag_assets.store.text_search import matching_verses
from rag_assets.store.vector_search import SearchPlan, distances, nearest, prepare_connection
from rag_assets.store.vector_tables import VectorTable
from rag_assets.store.verse_search import FoundVerse, verses_by_id

CANDIDATES = 100
"""Rows of the small space that re-ranking and fusion choose from, at least."""


@dataclass(frozen=True)
class Hit:
    """One hit as a person reads it; ``reference`` such as "John 3:16" is in its language.

    :param score: cosine similarity, from -1 to 1, in the space that ordered the hits.
    :param source: what found it: vector, text, or both.
    :param also: other versions of the same verse that were found, when hits are collapsed.
    """

    rank: int
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    score: float
    source: str
    also: tuple[str, ...]


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; through which release and plan; where the time went, in milliseconds.

    :param why_fewer: why there are fewer hits than asked for; empty when there are not.
    """

    hits: tuple[Hit, ...]
    release_id: int
    plan: SearchPlan
    why_fewer: str
    search_ms: float
    embedding_ms: float = 0.0


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
    """The nearest verses of a release to a vector of its small space.

    :param connection: autocommits and is prepared for vectors.
    :param vector: float32, shape (dimensions of the small space,).
    :param large_vector: of the large space; needed to re-rank.
    :param timeout_ms: the server gives up each statement after so long; 0 for never.
    :raises RequestError: it cannot be answered so.
    :raises SearchTimeoutError: the server gave up.
    """
    started = time.perf_counter()
    confined = confine(request, served)
    plan = choose_plan(
        served.target,
        confined.scopes,
        exact_rows=settings.rag_search_exact_rows,
        rows=confined.rows,
    )
    near = dict(
        nearest(
            connection,
            served.target.table,
            plan,
            vector,
            top_k=_depth(request, confined),
            scopes=confined.scopes,
            books=confined.books,
            chapters=confined.chapters,
            timeout_ms=timeout_ms,
        )
    )
    table, compared = served.target.table, vector
    if request.rerank:
        table, compared = _large(served, large_vector)
        near = distances(connection, table, compared, list(near), timeout_ms=timeout_ms)
    by_distance = sorted(near, key=lambda verse_id: (near[verse_id], verse_id))
    worded: list[int] = []
    if request.hybrid:
        worded = _worded(connection, request, confined, timeout_ms)
        beyond = [verse_id for verse_id in worded if verse_id not in near]
        known = near | distances(connection, table, compared, beyond, timeout_ms=timeout_ms)
        order = [verse_id for verse_id in fuse(by_distance, worded) if verse_id in known]
    else:
        known, order = near, by_distance
    verses = verses_by_id(connection, order, timeout_ms=timeout_ms)
    chosen, below = _choose(request, [key for key in order if key in verses], known, verses)
    hits = tuple(
        _hit(
            rank,
            [verses[key] for key in members],
            score=1 - known[members[0]],
            source=_source(members[0], near, worded),
        )
        for rank, members in enumerate(chosen, start=1)
    )
    return SearchResult(
        hits=hits,
        release_id=served.release_id,
        plan=plan,
        why_fewer=_why_fewer(request, len(hits), below),
        search_ms=(time.perf_counter() - started) * 1000,
    )


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
            confine(request, served)  # before anything is paid for
        started = time.perf_counter()
        vectors = embed_queries(settings, served.target.table.space.spec, texts)
        large: Sequence[NDArray[np.float32] | None] = [None] * len(texts)
        if served.large is not None and any(request.rerank for request in requests):
            large = list(embed_queries(settings, served.large.space.spec, texts))
        embedding_ms = (time.perf_counter() - started) * 1000
        return tuple(
            replace(
                search(connection, settings, served, request, vector, large_vector=large_vector),
                embedding_ms=embedding_ms,
            )
            for request, vector, large_vector in zip(requests, vectors, large, strict=True)
        )


def _depth(request: SearchRequest, confined: Confined) -> int:
    """How many rows to fetch so that ``top_k`` are left of them."""
    depth = request.top_k
    if request.collapse:
        depth *= len(confined.scopes)  # each verse has at most one row a version
    if request.rerank or request.hybrid:
        depth = max(depth, CANDIDATES)
    return depth


def _large(
    served: Served, large_vector: NDArray[np.float32] | None
) -> tuple[VectorTable, NDArray[np.float32]]:
    if served.large is None:
        raise RequestError(
            "no-large-space",
            "rerank",
            "the active release has no large vectors to re-rank by: leave rerank out",
        )
    if large_vector is None:
        raise RequestError(
            "no-large-vector",
            "rerank_vector",
            f"re-ranking needs a vector in {served.large.space.spec}: give rerank_vector with "
            "vector, or give query",
        )
    return served.large, large_vector


def _worded(
    connection: Connection, request: SearchRequest, confined: Confined, timeout_ms: int
) -> list[int]:
    if not request.text:
        raise RequestError(
            "no-query", "hybrid", "hybrid search needs the words of a query: give query"
        )
    return matching_verses(
        connection,
        request.text,
        limit=_depth(request, confined),
        scopes=confined.scopes,
        books=confined.books,
        chapters=confined.chapters,
        timeout_ms=timeout_ms,
    )


def _choose(
    request: SearchRequest,
    order: Sequence[int],
    known: Mapping[int, float],
    verses: Mapping[int, FoundVerse],
) -> tuple[list[list[int]], int]:
    """The hits, each with the rows that it stands for, and how many were under ``min_score``."""
    least = request.min_score
    kept = [key for key in order if least is None or 1 - known[key] >= least]
    groups = [[key] for key in kept]
    if request.collapse:
        groups = group(kept, lambda key: (verses[key].book, verses[key].chapter, verses[key].verse))
    return groups[: request.top_k], len(order) - len(kept)


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


def _hit(rank: int, members: Sequence[FoundVerse], *, score: float, source: str) -> Hit:
    verse = members[0]
    portuguese = verse.language.lower().startswith("pt")
    name = display_name(verse.book, Language.PORTUGUESE if portuguese else Language.ENGLISH)
    end = f"-{verse.verse_end}" if verse.verse_end != verse.verse else ""
    place = f"{verse.chapter}:{verse.verse}{end}"
    return Hit(
        rank=rank,
        reference=f"{name} {place}",
        usfm=f"{verse.book} {place}",
        version=verse.version_code,
        language=verse.language,
        text=verse.text,
        score=score,
        source=source,
        also=tuple(dict.fromkeys(member.version_code for member in members[1:])),
    )
