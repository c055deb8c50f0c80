"""A simple evaluation: queries with expected references in, how they went out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evaluated:
    """How one query went.

    :param hits: USFM references, best first.
    :param found_at: rank of the first expected one; ``None`` when none was found.
    """

    query: str
    expected: tuple[str, ...]
    hits: tuple[str, ...]
    found_at: int | None
    latency_ms: float


@dataclass(frozen=True)
class EvaluationSummary:
    """How all of them went.

    :param hit_at_k: share of the queries with an expectation that found it; ``None`` without any.
    :param coverage: share of all queries that returned as many hits as asked for.
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
    """Compare hits with expectations. A hit on a bridge finds each of its verses."""
    wanted = set(expected)
    found = next((rank for rank, hit in enumerate(hits, 1) if wanted & set(_verses(hit))), None)
    return Evaluated(query, tuple(expected), tuple(hits), found, latency_ms)


def evaluation_summary(results: Sequence[Evaluated], *, top_k: int) -> EvaluationSummary:
    """Sum the results up. Percentiles are of the whole answer's latency, in ms."""
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
    """``GEN 1:2-3`` holds ``GEN 1:2`` and ``GEN 1:3``."""
    place, _, last = reference.partition("-")
    chapter, _, first = place.rpartition(":")
    if not last:
        return [reference]
    return [f"{chapter}:{verse}" for verse in range(int(first), int(last) + 1)]
