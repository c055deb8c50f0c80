"""Ranks of the true neighbours among the codes. Pure NumPy.

One rank per true neighbour gives the recall for every number of candidates: re-ranking the best k
by exact distance finds exactly the neighbours whose rank is below k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.index.corpus import Vectors
from rag_assets.vectors.codes import Recipe

TOP_K = 10
_QUERIES = 16
Codes = NDArray[np.uint64]
Ranks = NDArray[np.int64]


def nearest(rows: Vectors, queries: Vectors) -> NDArray[np.int64]:
    """The true neighbours by cosine similarity: row numbers, shape (queries, TOP_K)."""
    parts = (queries[start : start + _QUERIES] for start in range(0, len(queries), _QUERIES))
    return np.vstack([np.argpartition(-(part @ rows.T), TOP_K)[:, :TOP_K] for part in parts])


def raw_signs(vectors: Vectors) -> NDArray[np.uint8]:
    """The signs of the components as they are, as pgvector's ``binary_quantize`` has them."""
    return np.packbits(vectors > 0, axis=1)


def words(codes: NDArray[np.uint8]) -> Codes:
    """Codes as 64-bit words, one row per word: a scan adds up contiguous columns.

    :param codes: uint8, shape (n, bytes).
    :returns: shape (words, n).
    """
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def distances(codes: Codes, query: Codes) -> NDArray[np.uint16]:
    """Hamming distances of all rows.

    :param codes: shape (words, n).
    :param query: shape (words,).
    """
    found = np.zeros(codes.shape[1], dtype=np.uint16)
    for column, word in zip(codes, query, strict=True):
        found += np.bitwise_count(column ^ word)
    return found


def ranks(codes: Codes, queries: Codes, truth: NDArray[np.int64]) -> Ranks:
    """Rank of each true neighbour by Hamming distance, from 0; rows at the same distance in order.

    :param queries: shape (words, queries).
    :returns: shape (queries, TOP_K).
    """
    return np.array(
        [
            _ranks(distances(codes, query), true)
            for query, true in zip(queries.T, truth, strict=True)
        ]
    )


def _ranks(found: NDArray[np.uint16], true: NDArray[np.int64]) -> list[int]:
    return [
        np.count_nonzero(found < found[row]) + np.count_nonzero(found[:row] == found[row])
        for row in true
    ]


def recall(found: Ranks, candidates: int) -> float:
    """Share of the true neighbours among so many candidates."""
    return float((found < candidates).mean())


def candidates_for(found: Ranks, share: float) -> int:
    """The smallest number of candidates whose recall is ``share``."""
    ordered = np.sort(found, axis=None)
    return int(ordered[int(np.ceil(share * ordered.size)) - 1]) + 1


def refined(
    recipe: Recipe,
    rows: NDArray[np.uint8],
    queries: Vectors,
    truth: NDArray[np.int64],
    *,
    first: int,
    kept: int,
) -> float:
    """Recall when a second step reduces the candidates before the exact distances.

    The second step keeps the query's real components: a row counts its signs times them.

    :param rows: the codes, shape (n, bytes).
    :param first: candidates by Hamming distance.
    :param kept: of them by the second step.
    """
    codes, asked = words(rows), words(recipe.encode(queries))
    projected = recipe.project(queries)
    hits = 0
    for query, components, true in zip(asked.T, projected, truth, strict=True):
        near = np.argsort(distances(codes, query), kind="stable")[:first]
        signs = np.unpackbits(rows[near], axis=1, count=recipe.bits).astype(np.float32) * 2 - 1
        hits += np.isin(true, near[np.argsort(-(signs @ components))[:kept]]).sum()
    return float(hits / truth.size)
