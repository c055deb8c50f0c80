"""Queries with what exact search finds for them: one pass over the table for a run's whole work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import TOP_K
from rag_assets.index.text_queries import EmbeddedTexts
from rag_assets.index.truth import TOLERANCE, similarity_floors
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress, Silent
from rag_assets.vectors.sql.nearest import distances, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

Confined = frozenset[str]
"""The scopes that a search is confined to: what a truth is kept by."""


@dataclass(frozen=True)
class Questions:
    """Queries as vectors and in words, and the truth for each set of scopes.

    :param queries: float32, shape (n, dimensions), of length 1.
    :param texts: queries in words; ``None`` where they could not be embedded.
    """

    queries: NDArray[np.float32]
    texts: EmbeddedTexts | None
    _nearest: Mapping[Confined, NDArray[np.float32]]
    _answered: Mapping[Confined, NDArray[np.bool_]]

    def nearest(self, scopes: Iterable[str]) -> NDArray[np.float32]:
        """Similarities of each query's true nearest rows: float32, shape (n, 10), descending;
        -inf where there are fewer rows."""
        return self._nearest[frozenset(scopes)]

    def answered(self, scopes: Iterable[str]) -> NDArray[np.bool_]:
        """Whether exact search finds a wanted passage for each query in words: bool, shape (n,).

        A passage that is as near as the one behind the last hit does not count: which of the two
        is found is chance.
        """
        return self._answered[frozenset(scopes)]


def ask(
    connection: Connection,
    table: VectorTable,
    queries: NDArray[np.float32],
    cases: Iterable[Sequence[str]],
    *,
    texts: EmbeddedTexts | None = None,
    rows: int = 0,
    progress: Progress | None = None,
) -> Questions:
    """Compare all queries with every row, once.

    :param cases: the sets of scopes that searches are confined to.
    :param rows: of the table, to show how far this is.
    """
    confined = {frozenset(scopes): tuple(scopes) for scopes in cases}
    vectors = queries if texts is None else np.vstack([queries, texts.vectors])
    progress = progress or Silent()
    progress.start(f"comparing {len(vectors)} queries with every vector", rows)
    floors = similarity_floors(
        connection, table, vectors, confined, top_k=TOP_K + 1, compared=progress.advance
    )
    here = len(queries)
    return Questions(
        queries,
        texts,
        {scopes: found[:here, :TOP_K] for scopes, found in floors.items()},
        _answered(connection, table, texts, {k: v[here:, TOP_K] for k, v in floors.items()}),
    )


def _answered(
    connection: Connection,
    table: VectorTable,
    texts: EmbeddedTexts | None,
    beyond: Mapping[Confined, NDArray[np.float32]],
) -> dict[Confined, NDArray[np.bool_]]:
    """Whether a wanted passage is nearer than the row behind the last hit.

    :param beyond: that row's similarity, by scopes, for each query in words.
    """
    count = 0 if texts is None else len(texts.queries)
    answered = {scopes: np.zeros(count, dtype=bool) for scopes in beyond}
    if texts is None:
        return answered
    prepare_connection(connection)
    for place, (query, vector) in enumerate(zip(texts.queries, texts.vectors, strict=True)):
        away = distances(connection, table, vector, list(query.wanted))
        for scopes, floors in beyond.items():
            near = [away[row] for row in query.within(scopes) if row in away]
            answered[scopes][place] = bool(near) and 1 - min(near) > floors[place] + TOLERANCE
    return answered
