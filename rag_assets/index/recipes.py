"""Choose how a space's vectors become codes, by measuring each way on a sample. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.vectors.codes import Recipe

Vectors = NDArray[np.float32]

SAMPLE_ROWS, SAMPLE_QUERIES = 32_768, 100
"""Rows and queries that tell the recipes apart: a hundred queries have a standard error of 0.01."""
BITS_PER_DIMENSION = 1, 2, 4
CANDIDATES = 200
RECALL = 0.97
"""What a scan must keep, 0.98, less the standard error: codes twice as long must be worth it."""
_TOP_K = 10


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe, and what each that was tried gave.

    :param recalls: recall@10 after comparing the best 200 codes exactly, by recipe.
    """

    recipe: Recipe
    recalls: dict[str, float]
    rows: int
    queries: int


def choose_recipe(rows: Vectors, queries: Vectors, *, over_bits: int = 0) -> RecipeChoice:
    """The shortest codes that keep recall 0.97, of two equally short the better; or the best.

    :param rows: float32, shape (n, dimensions): a sample of the space's vectors.
    :param queries: float32, shape (m, dimensions): none of them a row.
    :param over_bits: only longer codes, because these were found too short on the whole table.
    """
    truth = np.argpartition(-(queries @ rows.T), min(_TOP_K, len(rows)) - 1, axis=1)[:, :_TOP_K]
    recalls: dict[str, float] = {}
    best: tuple[float, Recipe] | None = None
    for length in _recipes(rows, over_bits):
        for recipe in length:
            found = candidate_recall(recipe, rows, queries, truth, CANDIDATES)
            recalls[name_of(recipe)] = round(found, 4)
            if best is None or found > best[0]:
                best = found, recipe
        if best is not None and best[0] >= RECALL:
            break
    if best is None:
        raise ValueError(f"there are no codes of more than {over_bits} bits")
    return RecipeChoice(best[1], recalls, len(rows), len(queries))


def longest_bits(dimensions: int) -> int:
    """Bits of the longest codes that are tried."""
    return dimensions * BITS_PER_DIMENSION[-1]


def name_of(recipe: Recipe) -> str:
    """A recipe in words."""
    return f"{recipe.bits} bits" + ("" if recipe.mean is None else ", mean removed")


def candidate_recall(
    recipe: Recipe,
    rows: Vectors,
    queries: Vectors,
    truth: NDArray[np.intp],
    candidates: int,
) -> float:
    """Share of the true neighbours among the nearest codes, from 0 to 1.

    Of codes that are as near as the last candidate, a search takes any.

    :param truth: int, shape (queries, k): places of the true neighbours among the rows.
    """
    codes, asked = _words(recipe.encode(rows)), _words(recipe.encode(queries))
    shares = []
    for true, code in zip(truth, asked, strict=True):
        differing = np.bitwise_count(codes ^ code).sum(axis=1, dtype=np.int32)
        place = min(candidates, len(differing)) - 1
        last = np.partition(differing, place)[place]
        nearer, as_near = np.sum(differing < last), np.sum(differing == last)
        of_those = (place + 1 - nearer) / as_near
        near = differing[true]
        shares.append(float(np.mean(np.where(near == last, of_those, near < last))))
    return float(np.mean(shares))


def _recipes(rows: Vectors, over_bits: int) -> Iterator[Sequence[Recipe]]:
    dimensions = rows.shape[1]
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    for per_dimension in BITS_PER_DIMENSION:
        bits = dimensions * per_dimension
        if bits > over_bits:
            yield Recipe(dimensions, bits), Recipe(dimensions, bits, mean)


def _words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The same bits, 64 a word."""
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)
