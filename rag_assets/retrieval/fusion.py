"""Fuse the rankings of several searches into one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

RECIPROCAL_RANK_K = 60
"""How strongly the first ranks outweigh later ones; after Cormack, Clarke and Büttcher (2009)."""

Item = TypeVar("Item")
Key = TypeVar("Key", int, tuple[int, int])


def fuse(*rankings: Sequence[Key]) -> list[Key]:
    """Reciprocal rank fusion: an item scores ``1 / (60 + rank)`` in each ranking that has it."""
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (RECIPROCAL_RANK_K + rank)
    return sorted(scores, key=lambda item: (-scores[item], item))


def group(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Group items by key; the groups are in the order of their first items."""
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
