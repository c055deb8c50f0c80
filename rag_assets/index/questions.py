"""The queries that an index is measured with, and what exact search finds for them.

There are two kinds. Mixtures of a table's own vectors lie among them like paraphrases. A few words
of a passage, such as users enter, lie at the edge of the distribution: an index that finds nearly
all neighbours of the former may lose one in ten of the latter. Both are compared with every row,
in one pass over the table per run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import TOP_K
from rag_assets.index.sql.passage_texts import sample_texts
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress, Silent
from rag_assets.vectors.sql.nearest import distances, prepare_connection
from rag_assets.vectors.sql.stream import sample_vectors, stream_vectors
from rag_assets.vectors.sql.tables import VectorTable

FRAGMENT_WORDS = 7
TOLERANCE = 1e-4
"""Similarities that differ by less count as equal: scripture repeats verses word for word, and
components are stored in 16 bits."""
_NEAR = 0.8
Confined = frozenset[str]
"""The scopes that a search is confined to: the key of its ground truth."""
Case = TypeVar("Case", bound=Hashable)


@dataclass(frozen=True)
class TextQuery:
    """A text query.

    :param wanted: ids of passages, with their version or language; one of them must be found.
    :param language: language of a golden query; ``None`` for a fragment of a passage.
    """

    text: str
    wanted: Mapping[int, str]
    language: str | None = None

    def within(self, scopes: Collection[str]) -> frozenset[int]:
        """The wanted passages in these scopes."""
        return frozenset(row for row, scope in self.wanted.items() if scope in scopes)


@dataclass(frozen=True)
class EmbeddedTexts:
    """Text queries with their vectors.

    :param vectors: float32, shape (queries, dimensions).
    """

    queries: tuple[TextQuery, ...]
    vectors: NDArray[np.float32]


def fragments(
    connection: Connection, table: VectorTable, scopes: Sequence[str], count: int, *, seed: int
) -> tuple[TextQuery, ...]:
    """Seven consecutive words from each of ``count`` passages, or fewer if there are not enough.

    They are the same for the same seed and texts, so their embeddings are paid for only once.
    """
    draw = np.random.default_rng(seed)
    queries = []
    for row, scope, text in sample_texts(
        connection, table, scopes, count, min_words=FRAGMENT_WORDS + 1, seed=seed
    ):
        words = text.split()
        start = int(draw.integers(max(1, len(words) - FRAGMENT_WORDS + 1)))
        fragment = " ".join(words[start : start + FRAGMENT_WORDS])
        queries.append(TextQuery(fragment, {row: scope}))
    return tuple(queries)


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
    """Queries as vectors and as text, with the ground truth for each set of scopes.

    :param queries: float32, shape (n, dimensions), of length 1.
    :param texts: text queries; ``None`` if they could not be embedded.
    """

    queries: NDArray[np.float32]
    texts: EmbeddedTexts | None
    _nearest: Mapping[Confined, NDArray[np.float32]]
    _answered: Mapping[Confined, NDArray[np.bool_]]

    def nearest(self, scopes: Iterable[str]) -> NDArray[np.float32]:
        """Similarities of each query's true nearest rows: float32, shape (n, 10), descending, and
        -inf if there are fewer rows."""
        return self._nearest[frozenset(scopes)]

    def answered(self, scopes: Iterable[str]) -> NDArray[np.bool_]:
        """Whether exact search finds a wanted passage for each text query: bool, shape (n,).

        A passage at the same distance as the first one after the hits does not count: it is chance
        which of the two is found.
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
    :param rows: rows of the table, to report progress.
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
    """Whether a wanted passage is nearer than the first row after the hits.

    :param beyond: that row's similarity, by scopes, for each text query.
    """
    count = 0 if texts is None else len(texts.queries)
    answered = {scopes: np.zeros(count, dtype=bool) for scopes in beyond}
    if texts is None:
        return answered
    prepare_connection(connection)
    for place, (query, vector) in enumerate(zip(texts.queries, texts.vectors, strict=True)):
        wanted = distances(connection, table, vector, list(query.wanted))
        for scopes, floors in beyond.items():
            near = [wanted[row] for row in query.within(scopes) if row in wanted]
            answered[scopes][place] = bool(near) and 1 - min(near) > floors[place] + TOLERANCE
    return answered


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
    :param compared: called with the number of rows of each batch.
    :returns: by name, float32, shape (n, top_k), descending, and -inf if there are fewer rows.
    """
    scopes = sorted({scope for confined in cases.values() for scope in confined})
    members = {
        name: np.isin(np.arange(len(scopes)), [scopes.index(scope) for scope in confined])
        for name, confined in cases.items()
    }
    best = {name: np.full((len(queries), top_k), -np.inf, dtype=np.float32) for name in cases}
    for batch in stream_vectors(connection, table, scopes):
        # Takes a seventh of the time of np.linalg.norm, which allocates an array of squares.
        norms = np.sqrt(np.einsum("ij,ij->i", batch.vectors, batch.vectors))
        similarities = queries @ batch.vectors.T / norms
        for name, belongs in members.items():
            columns = belongs[batch.scopes]
            if columns.any():
                mine = similarities if columns.all() else similarities[:, columns]
                _keep_best(best[name], mine)
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
