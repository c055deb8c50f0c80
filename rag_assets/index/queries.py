"""Held-out queries: vectors that lie among the corpus's own, and are none of its rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.stream import sample_vectors
from rag_assets.vectors.sql.tables import VectorTable


def held_out_queries(
    connection: Connection, table: VectorTable, count: int, *, seed: int
) -> NDArray[np.float32]:
    """Make queries of a table's own vectors; see :func:`mixtures`.

    :returns: float32, shape (n, dimensions), of length 1; n is ``count`` unless the table is empty.
    """
    return mixtures(sample_vectors(connection, table, 4 * count, seed=seed), count, seed=seed)


def mixtures(rows: NDArray[np.float32], count: int, *, seed: int) -> NDArray[np.float32]:
    """Make queries of vectors.

    Each lies between two rows drawn at random, nearer to the first: about as far from its nearest
    row as a paraphrase is, and at the border of its list as often. Rows themselves would flatter an
    index, because the list of a row holds its neighbours, and random directions have none.

    :param rows: float32, shape (m, dimensions).
    :returns: float32, shape (n, dimensions), of length 1; n is ``count`` unless m is 0.
    """
    if not len(rows):
        return rows
    draw = np.random.default_rng(seed)
    first = draw.integers(len(rows), size=count)
    # Never the same row: the query would be that row.
    second = (first + draw.integers(1, max(2, len(rows)), size=count)) % len(rows)
    mixed = _NEAR * rows[first] + (1 - _NEAR) * rows[second]
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    queries: NDArray[np.float32] = (mixed / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return queries


_NEAR = 0.8
