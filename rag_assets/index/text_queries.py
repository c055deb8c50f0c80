"""Queries as users ask them, in words, each with the passages of which one must be found.

Mixtures of a table's own vectors lie among them as a paraphrase does. A few words of a passage lie
at the border of everything: an index that finds nearly all neighbours of the former may lose one
in ten of the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.sql.passage_texts import sample_texts
from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.tables import VectorTable

FRAGMENT_WORDS = 7
_MAX_LOST = 0.005
"""Share of the fragments that a choice of probes may lose: a quarter of what the check allows,
which asks others. Of golden queries, which both ask, none."""


@dataclass(frozen=True)
class TextQuery:
    """A query in words.

    :param wanted: ids of passages, each with its version or language: one of them must be found.
    :param language: of the query, where a person wrote it; ``None`` for a fragment of a passage.
    """

    text: str
    wanted: Mapping[int, str]
    language: str | None = None

    def within(self, scopes: Collection[str]) -> frozenset[int]:
        """The wanted passages that a search of these scopes can find."""
        return frozenset(row for row, scope in self.wanted.items() if scope in scopes)


@dataclass(frozen=True)
class EmbeddedTexts:
    """Queries with their vectors.

    :param vectors: float32, shape (queries, dimensions).
    """

    queries: tuple[TextQuery, ...]
    vectors: NDArray[np.float32]


def fragments(
    connection: Connection, table: VectorTable, scopes: Sequence[str], count: int, *, seed: int
) -> tuple[TextQuery, ...]:
    """Seven words in a row of each of ``count`` passages; fewer where there are not as many.

    The same ones for the same seed and texts, so that their embeddings are paid for once.
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


def enough_probes(
    finds: Callable[[int, int], bool],
    places: Sequence[int],
    golden: Collection[int],
    *,
    start: int,
    most: int,
) -> int:
    """The least probes, or candidates, from ``start`` to ``most`` that lose no golden query and
    hardly a fragment. Pure but for ``finds``.

    What some find, more of them find, too: only what was lost is asked for again, so that this
    takes hardly more searches than there are queries.

    :param finds: whether a query, by its place, is answered with this many.
    :param places: of the queries that exact search answers; ``golden`` among them.
    """
    allowed = _MAX_LOST * len(places)

    def still_lost(lost: Sequence[int], probes: int) -> list[int]:
        return [place for place in lost if not finds(place, probes)]

    def may_lose(lost: Sequence[int]) -> bool:
        return len(lost) <= allowed and not any(place in golden for place in lost)

    low = high = start
    lost_low = lost = still_lost(places, start)
    while not may_lose(lost) and high < most:
        low, lost_low, high = high, lost, min(2 * high, most)
        lost = still_lost(lost, high)
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        lost = still_lost(lost_low, middle)
        if may_lose(lost):
            high = middle
        else:
            low, lost_low = middle, lost
    return high
