"""A simple evaluation of queries with expected references. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evaluated:
    """The result of one query.

    :param hits: USFM references, best first.
    :param found_at: rank of the first expected reference; ``None`` if none was found.
    """

    query: str
    expected: tuple[str, ...]
    hits: tuple[str, ...]
    found_at: int | None
    latency_ms: float


@dataclass(frozen=True)
class EvaluationSummary:
    """The results of all queries.

    :param hit_at_k: share of the queries with an expectation that met it; ``None`` without any.
    :param coverage: share of all queries that returned ``top_k`` hits.
    """

    queries: int
    expecting: int
    hit_at_k: float | None
    coverage: float
    p50_ms: float
    p95_ms: float


def evaluated(
    query: str, expected: Sequence[str], hits: Sequence[str], latency_ms: float
) -> Evaluated:
    """Compare hits with expectations. A hit on a bridge counts for each of its verses."""
    wanted = set(expected)
    found = next((rank for rank, hit in enumerate(hits, 1) if wanted & set(_verses(hit))), None)
    return Evaluated(query, tuple(expected), tuple(hits), found, latency_ms)


def evaluation_summary(results: Sequence[Evaluated], *, top_k: int) -> EvaluationSummary:
    """Summarize the results. The percentiles are of each answer's total latency, in ms."""
    expecting = [result for result in results if result.expected]
    found = sum(result.found_at is not None for result in expecting)
    latencies = [result.latency_ms for result in results] or [0.0]
    return EvaluationSummary(
        queries=len(results),
        expecting=len(expecting),
        hit_at_k=found / len(expecting) if expecting else None,
        coverage=sum(len(result.hits) >= top_k for result in results) / max(1, len(results)),
        p50_ms=float(np.percentile(latencies, 50)),
        p95_ms=float(np.percentile(latencies, 95)),
    )


def _verses(reference: str) -> list[str]:
    """``GEN 1:2-3`` is ``GEN 1:2`` and ``GEN 1:3``."""
    place, _, last = reference.partition("-")
    chapter, _, first = place.rpartition(":")
    if not last:
        return [reference]
    return [f"{chapter}:{verse}" for verse in range(int(first), int(last) + 1)]
