"""The true nearest neighbours of many queries, by comparing them with every row in one pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.stream import stream_vectors
from rag_assets.vectors.sql.tables import VectorTable

TOLERANCE = 1e-4
"""Two rows whose similarity differs by less are as near as each other: scripture repeats verses
word for word, and components are stored in 16 bits."""


Case = TypeVar("Case", bound=Hashable)


def similarity_floors(
    connection: Connection,
    table: VectorTable,
    queries: NDArray[np.float32],
    cases: Mapping[Case, Sequence[str]],
    *,
    top_k: int,
    compared: Callable[[int], None] = lambda _: None,
) -> dict[Case, NDArray[np.float32]]:
    """For each case, the similarities of each query's true nearest rows.

    :param queries: float32, shape (n, dimensions), of length 1.
    :param cases: by name, the scopes that the search is confined to.
    :param compared: called with the rows of each piece of the table.
    :returns: by name, float32, shape (n, top_k), descending; -inf where there are fewer rows.
    """
    scopes = sorted({scope for confined in cases.values() for scope in confined})
    members = {
        name: np.isin(np.arange(len(scopes)), [scopes.index(scope) for scope in confined])
        for name, confined in cases.items()
    }
    best = {name: np.full((len(queries), top_k), -np.inf, dtype=np.float32) for name in cases}
    for chunk in stream_vectors(connection, table, scopes):
        # A seventh of the time of np.linalg.norm, which squares into an array of its own.
        norms = np.sqrt(np.einsum("ij,ij->i", chunk.vectors, chunk.vectors))
        similarities = queries @ chunk.vectors.T / norms
        for name, belongs in members.items():
            columns = belongs[chunk.scopes]
            if columns.any():
                mine = similarities if columns.all() else similarities[:, columns]
                _keep_best(best[name], mine)
        compared(len(chunk.ids))
    return best


def recall(found: Sequence[float], truth: NDArray[np.float32]) -> float:
    """Share of the true neighbours that were found, from 0 to 1; 1 when there are none to find.

    :param found: cosine similarities of the hits.
    :param truth: those of the true neighbours, descending; -inf stands for none.
    """
    true = truth[np.isfinite(truth)]
    if not len(true):
        return 1.0
    floor = float(true[-1]) - TOLERANCE
    near = sum(similarity >= floor for similarity in found)
    return min(near, len(true)) / len(true)


def _keep_best(best: NDArray[np.float32], similarities: NDArray[np.float32]) -> None:
    """Take what is nearer than the worst of the best so far, in place; few queries have any."""
    better = np.flatnonzero(similarities.max(axis=1) > best[:, -1])
    both = np.hstack([best[better], similarities[better]])
    count = best.shape[1]
    best[better] = -np.sort(-np.partition(both, -count, axis=1)[:, -count:], axis=1)
