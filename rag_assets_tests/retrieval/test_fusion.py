"""Fusing several rankings by reciprocal rank."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rag_assets.retrieval.fusion import RECIPROCAL_RANK_K, fuse, group

ORDERS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), max_size=4)


def test_items_in_both_rankings_come_before_items_in_one() -> None:
    assert fuse([1, 2, 3], [9, 3, 8]) == [3, 1, 9, 2, 8]


def test_one_ranking_is_unchanged_and_none_gives_nothing() -> None:
    assert fuse([5, 3, 4]) == [5, 3, 4]
    assert fuse([5, 3, 4], []) == [5, 3, 4]
    assert fuse() == []


def test_two_opposite_rankings_favour_the_ends_and_break_ties_by_number() -> None:
    assert fuse([1, 2, 3], [3, 2, 1]) == [1, 3, 2]


@given(ORDERS)
def test_every_item_appears_once_ordered_by_the_sum_of_its_reciprocal_ranks(
    orders: list[list[int]],
) -> None:
    fused = fuse(*orders)
    assert sorted(fused) == sorted({item for order in orders for item in order})
    scores = [
        sum(1 / (RECIPROCAL_RANK_K + 1 + order.index(item)) for order in orders if item in order)
        for item in fused
    ]
    assert all(before >= after - 1e-12 for before, after in pairwise(scores))


def test_groups_are_in_the_order_of_their_first_items() -> None:
    assert group(["b1", "a1", "b2", "c1", "a2"], lambda item: item[0]) == [
        ["b1", "b2"],
        ["a1", "a2"],
        ["c1"],
    ]
    assert group([], lambda item: item) == []
