"""Fusing what the vectors and the words of a query find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rag_assets.retrieval.fusion import fuse, group

NEAR = {1: 0.10, 2: 0.20, 3: 0.30, 4: 0.40}
SHARES = st.dictionaries(st.integers(1, 9), st.sampled_from([0, 0.2, 0.7, 1, 1.3]), max_size=9)
DISTANCES = st.dictionaries(
    st.integers(1, 9), st.sampled_from([0, 0.25, 0.5, 1, 2]), min_size=1, max_size=9
)


def test_words_that_fit_well_raise_a_row_and_words_that_hardly_fit_do_not() -> None:
    assert fuse(NEAR, {3: 1.0}, weight=lambda _: 0.35)[0] == 3
    assert fuse(NEAR, {3: 0.05}, weight=lambda _: 0.35) == [1, 2, 3, 4]


def test_a_row_that_only_the_words_found_is_ranked_by_its_own_distance() -> None:
    both = NEAR | {9: 0.9}
    assert fuse(both, {9: 1.0}, weight=lambda _: 0.5)[0] == 9
    assert fuse(both, {9: 0.1}, weight=lambda _: 0.5)[-1] == 9


@given(DISTANCES, SHARES)
def test_the_ends_of_the_weight_are_the_vectors_alone_and_the_words_alone(
    distances: dict[int, float], shares: dict[int, float]
) -> None:
    by_words = sorted(distances, key=lambda r: (-shares.get(r, 0.0), distances[r], r))
    assert fuse(distances, shares, weight=lambda _: 1) == by_words
    by_vectors = fuse(distances, shares, weight=lambda _: 0)
    assert [distances[row] for row in by_vectors] == sorted(distances.values())


def test_groups_are_in_the_order_of_their_first_items() -> None:
    assert group(["b1", "a1", "b2", "c1", "a2"], lambda item: item[0]) == [
        ["b1", "b2"],
        ["a1", "a2"],
        ["c1"],
    ]
    assert group([], lambda item: item) == []
