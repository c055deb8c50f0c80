"""Choose how to encode a space's vectors, by measuring each recipe on a sample. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.vectors.codes import Recipe

Vectors = NDArray[np.float32]

SAMPLE_ROWS, SAMPLE_QUERIES = 32_768, 100
"""Enough rows and queries to compare recipes: with a hundred queries the standard error is 0.01."""
BITS_PER_DIMENSION = 1, 2, 4
CANDIDATES = 200
RECALL = 0.97
"""A scan's required recall, 0.98, less the standard error: codes twice as long must be worth it."""
FILTERED_RECALL = 0.88
"""Required recall of a sample's nearest row under a filter. That row is further away than the
table's ten nearest: over 952,341 lexical vectors, codes with recall 0.94 at 3,200 candidates had
0.84 in the sample, and codes with 0.99 had 0.91."""
_TOP_K = 10
_MIN_CANDIDATES = 20  # in the sample: with fewer, a rank means little


@dataclass(frozen=True)
class RecipeChoice:
    """The chosen recipe, and the results of all recipes tried.

    :param recalls: by recipe, recall@10 after comparing the best 200 codes exactly.
    :param filtered: by recipe, the lowest recall under any filter; see :class:`SampledFilter`.
    """

    recipe: Recipe
    recalls: dict[str, float]
    filtered: dict[str, float]
    rows: int
    queries: int


@dataclass(frozen=True)
class SampledFilter:
    """The rows of a sample that pass a filter.

    A filter may exclude every near neighbour of a query, and many of the remaining rows are then
    about equally far: codes that are good enough without the filter may fail under it, the more so
    the more rows there are. So the sample's nearest row must be among the same share of the codes
    as a scan's candidates are of the table's codes.

    :param passing: bool, shape (rows of the sample,).
    :param share: share of the table's passing rows that are in the sample, from 0 to 1.
    """

    passing: NDArray[np.bool_]
    share: float


def choose_recipe(
    rows: Vectors,
    queries: Vectors,
    *,
    over_bits: int = 0,
    filters: Sequence[SampledFilter] = (),
    filtered_candidates: int = CANDIDATES,
) -> RecipeChoice:
    """Choose the shortest codes that keep recall 0.97, and 0.88 under filters, or else the best.

    Of two recipes of equal length, the better one is chosen.

    :param rows: float32, shape (n, dimensions): a sample of the space's vectors.
    :param queries: float32, shape (m, dimensions): none of them a row.
    :param over_bits: choose longer codes than these, which were too short for the whole table.
    :param filtered_candidates: candidates that a scan of the table may take under a filter.
    """
    judge = _Judge(rows, queries, filters, filtered_candidates)
    recalls: dict[str, float] = {}
    filtered: dict[str, float] = {}
    best: tuple[float, Recipe] | None = None
    for length in _recipes(rows, over_bits):
        for recipe in length:
            found, under = judge(recipe)
            recalls[name_of(recipe)], filtered[name_of(recipe)] = round(found, 4), round(under, 4)
            over = min(found - RECALL, under - FILTERED_RECALL)
            if best is None or over > best[0]:
                best = over, recipe
        if best is not None and best[0] >= 0:
            break
    if best is None:
        raise ValueError(f"there are no codes of more than {over_bits} bits")
    return RecipeChoice(best[1], recalls, filtered, len(rows), len(queries))


def longest_bits(dimensions: int) -> int:
    """Bits of the longest codes to try."""
    return dimensions * BITS_PER_DIMENSION[-1]


def name_of(recipe: Recipe) -> str:
    """A recipe in words."""
    return f"{recipe.bits} bits" + ("" if recipe.mean is None else ", mean removed")


class _Judge:
    """Measures the share of a sample's true neighbours among the nearest codes."""

    def __init__(
        self, rows: Vectors, queries: Vectors, filters: Sequence[SampledFilter], candidates: int
    ) -> None:
        self._rows, self._queries = rows, queries
        similarities = queries @ rows.T
        self._truth = np.argpartition(-similarities, min(_TOP_K, len(rows)) - 1)[:, :_TOP_K]
        # By filter: the rows that pass, the nearest of them to each query, and the candidates.
        self._filters = [
            (places, similarities[:, places].argmax(axis=1), taken)
            for each in filters
            if (taken := int(candidates * each.share)) >= _MIN_CANDIDATES
            and len(places := np.flatnonzero(each.passing)) > taken
        ]

    def __call__(self, recipe: Recipe) -> tuple[float, float]:
        """Share of the true ten among the best 200 codes, and the lowest share under any filter."""
        codes = _words(recipe.encode(self._rows))
        queries = _words(recipe.encode(self._queries))
        found = np.zeros(len(queries))
        under = np.ones((len(self._filters), len(queries)))
        for query, code in enumerate(queries):
            differing = np.bitwise_count(codes ^ code).sum(axis=1, dtype=np.int32)
            found[query] = _share_held(differing, self._truth[query], CANDIDATES)
            for place, (passing, nearest, taken) in enumerate(self._filters):
                under[place, query] = _share_held(
                    differing[passing], nearest[query : query + 1], taken
                )
        return float(found.mean()), float(under.mean(axis=1).min(initial=1.0))


def _share_held(differing: NDArray[np.int32], true: NDArray[np.intp], candidates: int) -> float:
    """Share of the true rows among the candidates; ties with the last candidate count in part."""
    place = min(candidates, len(differing)) - 1
    last = np.partition(differing, place)[place]
    nearer, as_near = np.sum(differing < last), np.sum(differing == last)
    near = differing[true]
    return float(np.mean(np.where(near == last, (place + 1 - nearer) / as_near, near < last)))


def _recipes(rows: Vectors, over_bits: int) -> Iterator[Sequence[Recipe]]:
    dimensions = rows.shape[1]
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    for per_dimension in BITS_PER_DIMENSION:
        bits = dimensions * per_dimension
        if bits > over_bits:
            yield Recipe(dimensions, bits), Recipe(dimensions, bits, mean)


def _words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The same bits in 64-bit words."""
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)
