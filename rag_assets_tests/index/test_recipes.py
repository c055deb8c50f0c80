"""The choice of a recipe: the shortest codes that keep recall, with or without the mean."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.index.recipes import (
    FILTERED_RECALL,
    RECALL,
    SampledFilter,
    choose_recipe,
    longest_bits,
)
from rag_assets_tests.index.corpus import clustered

Vectors = NDArray[np.float32]


def unit(vectors: Vectors) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def near(rows: Vectors, count: int, *, seed: int = 9) -> Vectors:
    draw = np.random.default_rng(seed)
    return unit(rows[:count] + 0.2 * rows[draw.integers(len(rows), size=count)])


def test_the_shortest_codes_that_keep_recall_are_taken() -> None:
    rows = clustered(4000, dimensions=256, clusters=200)
    choice = choose_recipe(rows, near(rows, 80))
    assert choice.recipe.bits == 256
    assert max(choice.recalls.values()) >= RECALL
    assert (choice.rows, choice.queries) == (4000, 80)


def test_in_a_narrow_cone_the_mean_is_removed() -> None:
    draw = np.random.default_rng(3)
    centre = 3 * unit(draw.normal(size=(1, 256)).astype(np.float32))
    rows = unit(centre + unit(draw.normal(size=(4000, 256)).astype(np.float32)))
    choice = choose_recipe(rows, near(rows, 80))
    assert choice.recipe.mean is not None
    assert choice.recipe.mean == pytest.approx(rows.mean(axis=0), abs=1e-6)


def test_codes_that_were_too_short_are_not_tried_again() -> None:
    rows = clustered(2000, dimensions=64)
    choice = choose_recipe(rows, near(rows, 50), over_bits=64)
    assert choice.recipe.bits in (128, 256)
    assert all(not name.startswith("64 ") for name in choice.recalls)
    with pytest.raises(ValueError, match="no codes of more than 256 bits"):
        choose_recipe(rows, near(rows, 50), over_bits=longest_bits(64))


def test_if_no_codes_keep_recall_the_best_are_taken() -> None:
    draw = np.random.default_rng(4)
    sides = np.sign(draw.normal(size=(4000, 1))).astype(np.float32)
    rows = unit(sides + 0.05 * draw.normal(size=(4000, 32)).astype(np.float32))
    choice = choose_recipe(rows, near(rows, 50))
    assert max(choice.recalls.values()) < RECALL
    assert len(choice.recalls) == 6


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_a_few_rows_are_enough_to_choose_by(rows: int) -> None:
    vectors = clustered(rows, dimensions=16, clusters=3)
    assert choose_recipe(vectors, clustered(3, dimensions=16, seed=8)).recipe.bits == 16


def two_tongues(count: int, dimensions: int) -> tuple[Vectors, NDArray[np.bool_]]:
    """Rows of two dissimilar languages, and which of them are in the second."""
    draw = np.random.default_rng(6)
    second = np.arange(count) % 2 == 1
    rows = clustered(count, dimensions=dimensions, clusters=300)
    rows[~second, : dimensions // 2] *= 0.2
    rows[second, dimensions // 2 :] *= 0.2
    return unit(rows + 0.02 * draw.normal(size=rows.shape)), second


def test_codes_that_fail_under_a_filter_of_a_large_table_are_too_short() -> None:
    rows, second = two_tongues(8000, 128)
    queries = near(rows[~second], 80)
    # The sample contains one in a hundred of the second language's rows.
    narrow = SampledFilter(second, 1 / 100)
    plain = choose_recipe(rows, queries)
    filtered = choose_recipe(rows, queries, filters=[narrow], filtered_candidates=3200)
    assert filtered.recipe.bits > plain.recipe.bits
    assert filtered.filtered[f"{plain.recipe.bits} bits"] < FILTERED_RECALL
    assert set(plain.filtered.values()) == {1.0}


def test_a_filter_that_the_sample_cannot_judge_is_left_to_the_measurement() -> None:
    rows, second = two_tongues(2000, 64)
    queries = near(rows[~second], 50)
    for share, candidates in ((1 / 1000, 3200), (1.0, 3200)):  # too few candidates; all are held
        choice = choose_recipe(
            rows,
            queries,
            filters=[SampledFilter(second, share)],
            filtered_candidates=candidates,
        )
        assert set(choice.filtered.values()) == {1.0}
