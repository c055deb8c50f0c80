"""Orders from several searches into one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

RECIPROCAL_RANK_K = 60
"""Cormack, Clarke and Büttcher (2009): how much the first places count for more than later ones."""

Item = TypeVar("Item")
Key = TypeVar("Key", int, tuple[int, int])


def fuse(*orders: Sequence[Key]) -> list[Key]:
    """Reciprocal rank fusion: an item scores ``1 / (60 + rank)`` in each order that has it."""
    scores: dict[Key, float] = {}
    for order in orders:
        for rank, item in enumerate(order, start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (RECIPROCAL_RANK_K + rank)
    return sorted(scores, key=lambda item: (-scores[item], item))


def group(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items of the same key together, the groups in order of their first items."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
