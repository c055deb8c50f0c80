"""Fuse what the vectors and the words of a query find into one ranking. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

TEXT_WEIGHT = 0.35
"""What the words count beside the vectors, from 0 to 1, where a release says nothing else.

Measured (``benchmarks/relevance``): no set of queries is answered worse than by the better of the
two, unless the model does not know the language of the passages. A release measures that
(:mod:`rag_assets.index.text_weights`).
"""

TEXT_DEPTH = 100
"""How many rows of either are fused, where a release says nothing else."""

Item = TypeVar("Item")
Key = TypeVar("Key", int, tuple[int, int])


def fuse(
    distances: Mapping[Key, float],
    shares: Mapping[Key, float],
    *,
    weight: Callable[[Key], float],
) -> list[Key]:
    """Rank rows by similarity and by the share of the query's words that they contain, best first.

    Both say how well a row fits, which a rank does not: if the query is in another language, the
    best row for its words contains hardly any of them. Fusion by ranks alone prefers whatever is in
    both lists.

    :param distances: cosine distances of all rows to rank.
    :param shares: of those that contain words of the query.
    :param weight: of the words, by row; 0 ranks by distance alone, and 1 by words alone.
    """
    scores = {
        row: (words := weight(row)) * shares.get(row, 0.0) + (1 - words) * (1 - distance)
        for row, distance in distances.items()
    }
    return sorted(scores, key=lambda row: (-scores[row], distances[row], row))


def group(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Group items by key; the groups are in the order of their first items."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
