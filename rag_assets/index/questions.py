"""What exact search finds for the queries that an index is measured with.

There are two kinds. Mixtures of a table's own vectors lie among them like paraphrases. A few words
of a passage, such as users enter, lie at the edge of the distribution: an index that finds nearly
all neighbours of the former may lose one in ten of the latter. Both are compared with every row,
in one pass over the table per run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import TOP_K
from rag_assets.index.text_queries import EmbeddedTexts
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress, Silent
from rag_assets.vectors.sql.nearest import distances, prepare_connection
from rag_assets.vectors.sql.stream import sample_vectors, stream_vectors
from rag_assets.vectors.sql.tables import VectorTable

TOLERANCE = 1e-4
"""Similarities that differ by less count as equal: scripture repeats verses word for word, and
components are stored in 16 bits."""
_NEAR = 0.8
Confined = frozenset[str]
"""The scopes that a search is confined to: the key of its ground truth."""
Case = TypeVar("Case", bound=Hashable)


def held_out_queries(
    connection: Connection, table: VectorTable, count: int, *, seed: int
) -> NDArray[np.float32]:
    """Make queries from a table's own vectors; see :func:`mixtures`.

    :returns: float32, shape (n, dimensions), of length 1; n is ``count`` unless the table is empty.
    """
    return mixtures(sample_vectors(connection, table, 4 * count, seed=seed), count, seed=seed)


def mixtures(rows: NDArray[np.float32], count: int, *, seed: int) -> NDArray[np.float32]:
    """Make queries from vectors.

    Each lies between two random rows, nearer to the first: about as far from its nearest row as a
    paraphrase, and as often at the border of its list. The rows themselves would overstate recall,
    because a row's list holds its neighbours, and random directions have no neighbours.

    :param rows: float32, shape (m, dimensions).
    :returns: float32, shape (n, dimensions), of length 1; n is ``count`` unless m is 0.
    """
    if not len(rows):
        return rows
    draw = np.random.default_rng(seed)
    first = draw.integers(len(rows), size=count)
    # Never the same row twice: the query would be that row.
    second = (first + draw.integers(1, max(2, len(rows)), size=count)) % len(rows)
    mixed = _NEAR * rows[first] + (1 - _NEAR) * rows[second]
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    queries: NDArray[np.float32] = (mixed / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return queries


@dataclass(frozen=True)
class Questions:
    """Queries as vectors and as text, with the ground truth for each search.

    :param queries: float32, shape (n, dimensions), of length 1.
    :param texts: text queries; ``None`` if they could not be embedded.
    :param answered: whether exact search answers each text query, in its own search: bool, shape
        (texts,). It finds a wanted passage; for a live query, any. A passage at the same distance
        as the first one after the hits does not count: it is chance which of the two is found.
    :param text_nearest: similarities of each text query's ten true nearest rows, in its own search:
        float32, shape (texts, 10), descending, and -inf if there are fewer rows.
    """

    queries: NDArray[np.float32]
    texts: EmbeddedTexts | None
    answered: NDArray[np.bool_]
    text_nearest: NDArray[np.float32]
    _nearest: Mapping[Confined, NDArray[np.float32]]

    def nearest(self, scopes: Iterable[str]) -> NDArray[np.float32]:
        """Similarities of each query's true nearest rows: float32, shape (n, 10), descending, and
        -inf if there are fewer rows."""
        return self._nearest[frozenset(scopes)]

    def asked_in(self, scopes: Iterable[str] | None) -> list[int]:
        """The text queries that exact search answers and that are confined to these scopes.

        :param scopes: ``None`` for the queries without a filter.
        """
        if self.texts is None:
            return []
        confined = None if scopes is None else frozenset(scopes)
        return [
            place
            for place, query in enumerate(self.texts.queries)
            if query.scopes == confined and self.answered[place]
        ]

    def finds(self, place: int, found: Mapping[int, float]) -> bool:
        """Whether a search answers a text query.

        :param found: similarities of the hits, by row; those of a live query are enough.
        """
        if self.texts is None:
            raise LookupError("there are no text queries")
        wanted = self.texts.queries[place].wanted
        if wanted:
            return not wanted.isdisjoint(found)
        return max(found.values(), default=-1) >= float(self.text_nearest[place, 0]) - TOLERANCE


def ask(
    connection: Connection,
    table: VectorTable,
    queries: NDArray[np.float32],
    cases: Iterable[Sequence[str]],
    *,
    everything: Iterable[str] = (),
    texts: EmbeddedTexts | None = None,
    rows: int = 0,
    progress: Progress | None = None,
) -> Questions:
    """Compare all queries with every row, once.

    :param queries: compared under each case.
    :param cases: the sets of scopes that searches are confined to.
    :param everything: all scopes: those of a text query without a filter.
    :param texts: each compared under its own filter only.
    :param rows: rows of the table, to report progress.
    """
    whole = frozenset(everything)
    confined = {frozenset(scopes): tuple(scopes) for scopes in cases}
    compared = {scopes: list(range(len(queries))) for scopes in confined}
    given = list(confined)
    own: list[tuple[Confined, int]] = []
    for place, query in enumerate(texts.queries if texts else ()):
        scopes = whole if query.scopes is None else query.scopes
        confined.setdefault(scopes, tuple(scopes))
        asked = compared.setdefault(scopes, [])
        own.append((scopes, len(asked)))
        asked.append(len(queries) + place)
    vectors = queries if texts is None else np.vstack([queries, texts.vectors])
    progress = progress or Silent()
    progress.start(f"comparing {len(vectors)} queries with every vector", rows)
    floors = similarity_floors(
        connection, table, vectors, confined, top_k=TOP_K + 1, compared=progress.advance,
        only=compared,
    )  # fmt: skip
    nearest = np.array([floors[scopes][row] for scopes, row in own], dtype=np.float32)
    nearest = nearest.reshape(len(own), TOP_K + 1)
    return Questions(
        queries,
        texts,
        _answered(connection, table, texts, nearest),
        nearest[:, :TOP_K],
        {scopes: floors[scopes][: len(queries), :TOP_K] for scopes in given},
    )


def _answered(
    connection: Connection,
    table: VectorTable,
    texts: EmbeddedTexts | None,
    nearest: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Whether a wanted passage is nearer than the first row after the hits.

    :param nearest: similarities of each text query's true nearest rows, one more than the hits.
    """
    answered = np.isfinite(nearest[:, 0])
    if texts is None:
        return answered
    prepare_connection(connection)
    for place, (query, vector) in enumerate(zip(texts.queries, texts.vectors, strict=True)):
        if query.wanted:
            near = distances(connection, table, vector, list(query.wanted)).values()
            beyond = nearest[place, TOP_K] + TOLERANCE
            answered[place] = bool(near) and 1 - min(near) > beyond
    return answered


def similarity_floors(
    connection: Connection,
    table: VectorTable,
    queries: NDArray[np.float32],
    cases: Mapping[Case, Sequence[str]],
    *,
    top_k: int,
    compared: Callable[[int], None] = lambda _: None,
    only: Mapping[Case, Sequence[int]] | None = None,
) -> dict[Case, NDArray[np.float32]]:
    """For each case, the similarities of each query's true nearest rows.

    :param queries: float32, shape (n, dimensions), of length 1.
    :param cases: by name, the scopes that the search is confined to.
    :param compared: called with the number of rows of each batch.
    :param only: by name, the queries to compare under it; ``None`` for all.
    :returns: by name, float32, shape (n, top_k), descending, and -inf if there are fewer rows.
    """
    scopes = sorted({scope for confined in cases.values() for scope in confined})
    members = {
        name: np.isin(np.arange(len(scopes)), [scopes.index(scope) for scope in confined])
        for name, confined in cases.items()
    }
    asked = {
        name: np.arange(len(queries)) if only is None else np.array(only[name], dtype=np.intp)
        for name in cases
    }
    best = {
        name: np.full((len(places), top_k), -np.inf, dtype=np.float32)
        for name, places in asked.items()
    }
    for batch in stream_vectors(connection, table, scopes):
        # Takes a seventh of the time of np.linalg.norm, which allocates an array of squares.
        norms = np.sqrt(np.einsum("ij,ij->i", batch.vectors, batch.vectors))
        similarities = queries @ batch.vectors.T / norms
        for name, belongs in members.items():
            columns = belongs[batch.scopes]
            if columns.any() and len(asked[name]):
                mine = similarities if only is None else similarities[asked[name]]
                _keep_best(best[name], mine if columns.all() else mine[:, columns])
        compared(len(batch.ids))
    return best


def recall(found: Sequence[float], truth: NDArray[np.float32]) -> float:
    """Share of the true neighbours that were found, from 0 to 1; 1 if there are none to find.

    :param found: cosine similarities of the hits.
    :param truth: those of the true neighbours, descending; -inf for a missing one.
    """
    true = truth[np.isfinite(truth)]
    if not len(true):
        return 1.0
    floor = float(true[-1]) - TOLERANCE
    near = sum(similarity >= floor for similarity in found)
    return min(near, len(true)) / len(true)


def _keep_best(best: NDArray[np.float32], similarities: NDArray[np.float32]) -> None:
    """Merge rows nearer than the worst of the best so far, in place; few queries have any."""
    better = np.flatnonzero(similarities.max(axis=1) > best[:, -1])
    both = np.hstack([best[better], similarities[better]])
    count = best.shape[1]
    best[better] = -np.sort(-np.partition(both, -count, axis=1)[:, -count:], axis=1)
