"""Rank the rows that were found in one or more corpora, and make hits of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.fusion import TEXT_WEIGHT, fuse, group
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import AnySide
from rag_assets.vectors.search_plan import SearchPlan

MAX_COLLAPSED = 5000
"""Maximum number of rows to fetch for ``top_k`` different documents."""

Row = tuple[int, int]
"""Index of a corpus among those searched, and the row's id."""


@dataclass(frozen=True)
class Found:
    """What was found in one corpus.

    :param nearest: the rows that the plan found, nearest first in the space that it searched.
    :param near: their cosine distances in the space that ranks the hits.
    :param shares: how much of the query's words these rows contain, in hybrid search.
    :param text_matches: rows that the words found, best first.
    :param distances: cosine distances of both, without rows that lack a phrase of the query or
        contain a word that it excludes.
    :param passages: stored passages of both.
    :param full: as many rows as requested, so there may be more.
    """

    side: AnySide
    plan: SearchPlan
    nearest: Sequence[int]
    near: Mapping[int, float]
    shares: Mapping[int, float]
    text_matches: Sequence[int]
    distances: Mapping[int, float]
    passages: Mapping[int, Any]
    full: bool


@dataclass(frozen=True)
class Ranked:
    """All candidate rows in their order, and the hits made of the first of them.

    :param order: of all rows, best first; ``similarities``: their cosine similarities.
    :param groups: the rows that a hit represents each, without those below ``min_score``; a group
        of its own for each row unless hits are collapsed.
    :param hits: for the first ``top_k`` of the groups.
    """

    order: tuple[Row, ...]
    similarities: Mapping[Row, float]
    groups: tuple[tuple[Row, ...], ...]
    hits: tuple[Hit, ...]

    @property
    def below(self) -> int:
        """The number of rows below ``min_score``."""
        return len(self.order) - sum(map(len, self.groups))


def ranked(request: SearchRequest, results: Sequence[Found]) -> Ranked:
    """Rank the rows of all corpora together, best first: all distances are in one space."""
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
        order = fuse(distances, shares, weight=_weight(request, results))
    else:
        order = sorted(distances, key=lambda row: (distances[row], row))
    groups = _groups(request, order, distances, passages, results)
    return Ranked(
        tuple(order),
        {row: 1 - distance for row, distance in distances.items()},
        tuple(map(tuple, groups)),
        tuple(
            _hit(rank, members, distances, passages, results)
            for rank, members in enumerate(groups[: request.top_k], start=1)
        ),
    )


def may_find_more(request: SearchRequest, results: Sequence[Found]) -> bool:
    """Whether more rows may contain further documents, crowded out by passages of a few."""
    return request.collapse and any(
        found.side.corpus == "documents" and found.full and len(found.near) < MAX_COLLAPSED
        for found in results
    )


def why_fewer_hits(request: SearchRequest, count: int, below: int) -> str:
    """Why there are fewer than ``top_k`` hits; empty if there are not."""
    if count >= request.top_k:
        return ""
    if below:
        rows = "1 further row scores" if below == 1 else f"{below} further rows score"
        return f"{rows} under min_score {request.min_score}"
    return "nothing else matches"


def _weight(request: SearchRequest, results: Sequence[Found]) -> Callable[[Row], float]:
    """What the words count beside the vectors: by the request, or by the release."""
    if (given := request.text_weight) is not None:
        return lambda _: given

    def released(row: Row) -> float:
        found = results[row[0]]
        text = found.side.text
        if text.weight is not None:
            return text.weight
        return text.weights.get(primary(found.passages[row[1]].language), TEXT_WEIGHT)

    return released


def _groups(
    request: SearchRequest,
    order: Sequence[Row],
    distances: Mapping[Row, float],
    passages: Mapping[Row, Any],
    results: Sequence[Found],
) -> list[list[Row]]:
    """The rows of each hit, without those below ``min_score``."""
    min_score = request.min_score
    kept = [row for row in order if min_score is None or 1 - distances[row] >= min_score]
    if request.collapse:
        return group(kept, lambda row: (row[0], results[row[0]].side.group(passages[row])))
    return [[row] for row in kept]


def _hit(
    rank: int,
    members: Sequence[Row],
    distances: Mapping[Row, float],
    passages: Mapping[Row, Any],
    results: Sequence[Found],
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
