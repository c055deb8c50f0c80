"""A simple evaluation of queries with expected references. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.measures import means, measures_of_rank


@dataclass(frozen=True)
class Evaluated:
    """The result of one query.

    :param hits: USFM references and keys of documents, best first.
    :param found_at: rank of the first expected one; ``None`` if none was found.
    :param wrong_first: the first hit is one that must not be first.
    """

    query: str
    expected: tuple[str, ...]
    hits: tuple[str, ...]
    found_at: int | None
    latency_ms: float
    wrong_first: bool = False

    @property
    def missed(self) -> bool:
        """Whether it expects something, and found none of it."""
        return bool(self.expected) and self.found_at is None


@dataclass(frozen=True)
class EvaluationSummary:
    """The results of all queries.

    What is expected counts once, wherever the first of it is found. A figure that ``top_k`` hits
    cannot show is ``None``, like all of them if no query expects anything.

    :param hit_at_k: share of the queries with an expectation that met it.
    :param wrong_first: queries whose first hit is one that must not be first.
    :param coverage: share of all queries that returned ``top_k`` hits.
    """

    queries: int
    expecting: int
    hit_at_k: float | None
    hit_at_1: float | None
    hit_at_10: float | None
    mrr_at_10: float | None
    ndcg_at_10: float | None
    recall_at_100: float | None
    wrong_first: int
    coverage: float
    p50_ms: float
    p95_ms: float


def evaluated(
    query: str,
    expected: Sequence[str],
    hits: Sequence[str],
    latency_ms: float,
    *,
    not_first: Sequence[str] = (),
) -> Evaluated:
    """Compare hits with expectations. A hit on a bridge counts for each of its verses."""
    wanted = set(expected)
    found = next((rank for rank, hit in enumerate(hits, 1) if wanted & set(_verses(hit))), None)
    wrong = bool(hits) and not set(not_first).isdisjoint(_verses(hits[0]))
    return Evaluated(query, tuple(expected), tuple(hits), found, latency_ms, wrong)


def name_of(hit: Hit) -> str:
    """A hit as expectations name it: the verse's reference, or the document's key."""
    return hit.usfm if hit.document is None else hit.document.key


def evaluation_summary(results: Sequence[Evaluated], *, top_k: int) -> EvaluationSummary:
    """Summarize the results. The percentiles are of each answer's total latency, in ms."""
    expecting = [result for result in results if result.expected]
    found = sum(result.found_at is not None for result in expecting)
    shown = means([measures_of_rank(result.found_at) for result in expecting])
    latencies = [result.latency_ms for result in results] or [0.0]

    def figure(name: str, depth: int) -> float | None:
        return shown[name].value if expecting and top_k >= depth else None

    return EvaluationSummary(
        queries=len(results),
        expecting=len(expecting),
        hit_at_k=found / len(expecting) if expecting else None,
        hit_at_1=figure("hit_at_1", 1),
        hit_at_10=figure("hit_at_10", 10),
        mrr_at_10=figure("mrr_at_10", 10),
        ndcg_at_10=figure("ndcg_at_10", 10),
        recall_at_100=figure("recall_at_100", 100),
        wrong_first=sum(result.wrong_first for result in results),
        coverage=sum(len(result.hits) >= top_k for result in results) / max(1, len(results)),
        p50_ms=float(np.percentile(latencies, 50)),
        p95_ms=float(np.percentile(latencies, 95)),
    )


def _verses(reference: str) -> list[str]:
    """``GEN 1:2-3`` is ``GEN 1:2`` and ``GEN 1:3``."""
    place, _, last = reference.partition("-")
    chapter, _, first = place.rpartition(":")
    if not (chapter and first.isdecimal() and last.isdecimal()):
        return [reference]
    return [f"{chapter}:{verse}" for verse in range(int(first), int(last) + 1)]
