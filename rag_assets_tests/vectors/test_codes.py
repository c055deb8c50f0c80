"""Codes preserve the vectors' geometry and are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rag_assets.vectors.codes import Recipe, hadamard

Vectors = NDArray[np.float32]


def unit(vectors: Vectors) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def found(rows: Vectors, queries: Vectors, recipe: Recipe, candidates: int) -> float:
    """Share of the ten true neighbours among the ``candidates`` nearest codes."""
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    codes, asked = recipe.encode(rows), recipe.encode(queries)
    shares = []
    for true, code in zip(truth, asked, strict=True):
        differing = np.bitwise_count(codes ^ code).sum(axis=1)
        shares.append(np.isin(true, np.argsort(differing, kind="stable")[:candidates]).mean())
    return float(np.mean(shares))


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_the_transform_is_its_own_inverse_up_to_the_width(power: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(3, 1 << power)).astype(np.float32)
    turned = vectors.copy()
    for _ in range(2):
        hadamard(turned, np.empty_like(turned))
    assert np.allclose(turned / (1 << power), vectors, atol=1e-3)


def test_the_rotation_keeps_angles() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(20, 512)).astype(np.float32))
    turned = unit(Recipe(512, 512).project(vectors))
    assert np.allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-4)


@pytest.mark.parametrize(("dimensions", "bits"), [(1, 8), (8, 8), (384, 384), (384, 1536), (5, 13)])
def test_a_code_has_its_bits_and_depends_on_nothing_but_vector_and_recipe(
    dimensions: int, bits: int
) -> None:
    vectors = np.random.default_rng(1).normal(size=(1030, dimensions)).astype(np.float32)
    codes = Recipe(dimensions, bits).encode(vectors)
    assert codes.shape == (1030, -(-bits // 8))
    assert (Recipe(dimensions, bits).encode(vectors[7:8]) == codes[7:8]).all()
    unused = -bits % 8
    assert not (codes[:, -1] & ((1 << unused) - 1)).any()


def test_a_code_is_the_same_as_ever() -> None:
    vector = np.linspace(-1, 1, 16, dtype=np.float32)[None]
    assert Recipe(16, 48).encode(vector).tobytes().hex() == "778c1a5080fc"


def test_neighbours_of_sparse_vectors_are_found() -> None:
    draw = np.random.default_rng(2)
    rows = np.zeros((3000, 768), dtype=np.float32)
    for row in rows:
        row[draw.integers(768, size=12)] = draw.random(12)
    queries = unit(rows[:60] + 0.3 * rows[60:120])
    assert found(unit(rows), queries, Recipe(768, 1536), 200) > 0.9


def test_in_a_narrow_cone_removing_the_mean_finds_more() -> None:
    draw = np.random.default_rng(3)
    centre = 3 * unit(draw.normal(size=(1, 256)).astype(np.float32))
    rows = unit(centre + unit(draw.normal(size=(3000, 256)).astype(np.float32)))
    queries = unit(rows[:60] + 0.05 * draw.normal(size=(60, 256)).astype(np.float32) / 16)
    plain = found(rows, queries, Recipe(256, 256), 100)
    centred = found(rows, queries, Recipe(256, 256, rows.mean(axis=0)), 100)
    assert centred > plain + 0.2
