"""Recall of a user's search: its hits against those of the same search, done exactly. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult

TOP_K = 10
_SAME_SCORE = 1e-6
"""Scores closer than this are equal: the same text in two places, compared in half precision."""


@dataclass(frozen=True)
class Recalled:
    """How many of the exact search's first ten hits were found."""

    hits: int
    found: int


def is_exact(result: SearchResult) -> bool:
    """Whether the search compared every row, so that there is nothing to repeat."""
    plans = [result.plan, *([result.documents_plan] if result.documents_plan else [])]
    return all(plan.kind == "exact" for plan in plans)


def served_exactly(served: Served) -> Served:
    """The same release without codes and indexes: every search of it is exact."""
    documents = served.documents
    if documents is not None:
        documents = replace(documents, target=_exact(documents.target))
    return replace(served, target=_exact(served.target), documents=documents)


def _exact(target: Target) -> Target:
    return replace(target, generation=None, probes=None, codes=None)


def repeated(request: SearchRequest) -> SearchRequest:
    """The request whose hits are compared: the first ten, and nothing of what they show."""
    return replace(
        request, top_k=min(TOP_K, request.top_k), context=0, snippets="none", elements=False
    )


def recalled(request: SearchRequest, result: SearchResult, exact: SearchResult) -> Recalled:
    """Compare a search with its exact repetition.

    Hits that tie with the last exact one are as good as that one. With ``hybrid``, scores do not
    rank the hits, so that only the same hits count.
    """
    best, found = exact.hits[:TOP_K], result.hits[:TOP_K]
    if not best:
        return Recalled(0, 0)
    missed = {_key(hit) for hit in best} - {_key(hit) for hit in found}
    wanted = {_key(hit) for hit in best}
    floor = min(hit.score for hit in best) - _SAME_SCORE
    ties = 0 if request.hybrid else sum(
        hit.score >= floor and _key(hit) not in wanted for hit in found
    )  # fmt: skip
    return Recalled(len(best), len(best) - max(0, len(missed) - ties))


def _key(hit: Hit) -> tuple[object, ...]:
    if hit.document is not None:
        return hit.document.key, hit.document.position
    return hit.version, hit.usfm
