"""How good a ranking is, by the measures of information retrieval, as trec_eval has them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Measures:
    """The measures of one ranking, each from 0 to 1."""

    hit_at_1: float
    hit_at_10: float
    mrr_at_10: float
    ndcg_at_10: float
    recall_at_100: float


MEASURES = tuple(field.name for field in fields(Measures))


def measures(ranked: Sequence[str], relevant: Mapping[str, int]) -> Measures:
    """Compare a ranking, best first and without repetitions, with what is relevant.

    :param relevant: grades of what is relevant, at least one above 0; others count as 0.
    """
    wanted = {key: grade for key, grade in relevant.items() if grade > 0}
    first = next((rank for rank, key in enumerate(ranked[:10], 1) if key in wanted), None)
    return Measures(
        hit_at_1=float(first == 1),
        hit_at_10=float(first is not None),
        mrr_at_10=1 / first if first else 0.0,
        ndcg_at_10=_gain([wanted.get(key, 0) for key in ranked])
        / _gain(sorted(wanted.values(), reverse=True)),
        recall_at_100=len(wanted.keys() & set(ranked[:100])) / len(wanted),
    )


def measures_of_rank(rank: int | None) -> Measures:
    """The measures of a query that one hit answers, at this rank; ``None`` if none does."""
    if rank is None:
        return Measures(0, 0, 0, 0, 0)
    return measures([*map(str, range(rank - 1)), "it"], {"it": 1})


def _gain(grades: Sequence[int]) -> float:
    """Discounted cumulative gain of the first ten."""
    return math.fsum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades[:10], 1))


@dataclass(frozen=True)
class Mean:
    """A mean over queries, and half of its 95 % interval."""

    value: float
    half: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.half:.3f}"


def mean(values: Sequence[float]) -> Mean:
    """The mean of one measure; of differences of two searches, it is a paired comparison.

    0 without values.
    """
    if not values:
        return Mean(0.0, 0.0)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Mean(float(np.mean(values)), 1.96 * deviation / math.sqrt(len(values)))


def means(found: Sequence[Measures]) -> dict[str, Mean]:
    """The mean of each measure."""
    return {name: mean([getattr(one, name) for one in found]) for name in MEASURES}
