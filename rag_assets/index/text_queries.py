"""The text queries that an index is tuned with and judged by: golden, sampled and live ones.

Sampled queries are drawn from half of the passages for tuning, and from the other half for the
checks, so an index is never judged by queries that it was tuned with. Golden queries are promises
rather than a sample: both ask all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.query_classes import SHARE_OF_SAMPLE, QueryClass
from rag_assets.index.sql.passage_texts import Half, counterparts, sample_texts
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress
from rag_assets.retrieval.explain.command import command_of
from rag_assets.retrieval.query_vectors import embed_queries_cached
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sql.query_embeddings import live_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

TUNING: Half = 0
JUDGING: Half = 1

FRAGMENT_WORDS = 7
FRAGMENT_LETTERS = 12  # in a script that does not separate words by blanks
_SOURCES = 3
"""Versions, the largest, whose passages are searched in the others: each is a filter to measure."""
_SHOWN = 80
_SEEDS = {QueryClass.FRAGMENTS: 1, QueryClass.OPENINGS: 2, QueryClass.OTHER_VERSIONS: 3}


@dataclass(frozen=True)
class TextQuery:
    """A text query, and the search that a user would send with it.

    :param wanted: ids of passages, one of which must be found; none for a live query, which must
        find its nearest one.
    :param language: the filter of a golden query in its language; otherwise ``None``.
    :param scopes: the versions that the search is confined to; ``None`` for no filter.
    :param where: the filter, in words.
    :param name: how evidence names it, if not by its text.
    :param expected: what a golden query names as ``wanted``.
    """

    text: str
    kind: QueryClass
    wanted: frozenset[int] = frozenset()
    language: str | None = None
    scopes: frozenset[str] | None = None
    where: str = "no filter"
    name: str = ""
    expected: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN].rstrip()}…"
        return f"{self.name or text} ({self.where})"

    @property
    def explain(self) -> str:
        """The command that explains its search in what is released; empty without expectation."""
        if not self.expected:
            return ""
        request = SearchRequest(text=self.text, language=self.language, corpus="bible")
        return command_of(request, "explain", expect=self.expected)


@dataclass(frozen=True)
class EmbeddedTexts:
    """Text queries with their vectors.

    :param vectors: float32, shape (queries, dimensions).
    """

    queries: tuple[TextQuery, ...]
    vectors: NDArray[np.float32]

    @property
    def filters(self) -> dict[str, tuple[str, ...]]:
        """The filters of these searches, by name."""
        return {
            query.where: tuple(sorted(query.scopes))
            for query in self.queries
            if query.scopes is not None
        }


@dataclass(frozen=True)
class Sampled:
    """Sampled text queries, of which live ones have been embedded before.

    :param vectors: of the live queries, by place.
    """

    queries: tuple[TextQuery, ...] = ()
    vectors: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)


def sampled_queries(
    connection: Connection,
    settings: Settings,
    table: VectorTable,
    scopes: Mapping[str, int],
    *,
    half: Half,
    times: float = 1,
) -> Sampled:
    """Draw queries of each sampled class, the same for the same half and texts.

    :param scopes: rows of each version, or language of documents.
    :param times: how many times as many as the setting says.
    """
    counts = {
        kind: round(share * times * settings.rag_index_text_sample)
        for kind, share in SHARE_OF_SAMPLE.items()
    }
    # Each source is a filter of its own to tune for; the check judges the class as a whole.
    others = counts[QueryClass.OTHER_VERSIONS] * (_SOURCES if half == TUNING else 1)
    drawn = [
        *_parts(connection, table, scopes, QueryClass.FRAGMENTS, counts, half),
        *_parts(connection, table, scopes, QueryClass.OPENINGS, counts, half),
        *_in_other_versions(connection, table, scopes, others, half),
    ]
    vectors: dict[int, NDArray[np.float32]] = {}
    if settings.rag_live_queries:
        for live in live_queries(
            connection, table.space.space_id, half=half, count=counts[QueryClass.LIVE],
            max_age=timedelta(hours=settings.rag_query_cache_max_age_h),
        ):  # fmt: skip
            vectors[len(drawn)] = live.vector
            # Evidence is stored and shown; the text stays in the cache.
            name = f"live query {live.key.hex()[:8]}"
            drawn.append(TextQuery(live.text, QueryClass.LIVE, name=name))
    return Sampled(tuple(drawn), vectors)


def embedded(
    connection: Connection,
    settings: Settings,
    table: VectorTable,
    golden: Sequence[TextQuery],
    sampled: Sampled,
    progress: Progress,
) -> EmbeddedTexts:
    """Golden queries, then sampled ones, embedded through the query cache: they are paid for once.

    :raises RagAssetsError: the provider failed.
    """
    queries = (*golden, *sampled.queries)
    vectors = np.zeros((len(queries), table.space.spec.dimensions), dtype=np.float32)
    for place, vector in sampled.vectors.items():
        vectors[len(golden) + place] = vector
    unknown = [place for place, query in enumerate(queries) if query.kind is not QueryClass.LIVE]
    if unknown:
        progress.say(f"embedding {len(unknown):,} text queries")
    vectors[unknown] = embed_queries_cached(
        connection, settings, table.space, [queries[place].text for place in unknown]
    )
    return EmbeddedTexts(queries, vectors)


def _parts(
    connection: Connection,
    table: VectorTable,
    scopes: Mapping[str, int],
    kind: QueryClass,
    counts: Mapping[QueryClass, int],
    half: Half,
) -> Iterator[TextQuery]:
    """Seven consecutive words from passages: from anywhere, or the first ones."""
    for row, _, text in sample_texts(
        connection, table, list(scopes), counts[kind], min_words=FRAGMENT_WORDS + 1,
        min_letters=2 * FRAGMENT_LETTERS, seed=_SEEDS[kind], half=half,
    ):  # fmt: skip
        start = None if kind is QueryClass.FRAGMENTS else 0
        yield TextQuery(part_of(text, row, start), kind, frozenset({row}))


def part_of(text: str, row: int, start: int | None) -> str:
    """A part of a text, from a place that depends on the passage alone if no start is given.

    So a passage gives the same query whatever else is in the sample.
    """
    units, length, between = text.split(), FRAGMENT_WORDS, " "
    if len(units) <= FRAGMENT_WORDS:
        units, length, between = list(text), FRAGMENT_LETTERS, ""
    if start is None:
        draw = np.random.default_rng(row)
        start = int(draw.integers(max(1, len(units) - length + 1)))
    return between.join(units[start : start + length])


def _in_other_versions(
    connection: Connection, table: VectorTable, scopes: Mapping[str, int], count: int, half: Half
) -> Iterator[TextQuery]:
    """Whole verses, each searched in all versions but its own, where the same verse is wanted."""
    if table.corpus != "bible" or len(scopes) < 2:
        return
    sources = sorted(scopes, key=lambda code: (-scopes[code], code))[:_SOURCES]
    for source in sources:
        others = frozenset(scopes) - {source}
        texts = {
            row: text
            for row, _, text in sample_texts(
                connection, table, [source], round(count / len(sources)), min_words=1,
                min_letters=1, seed=_SEEDS[QueryClass.OTHER_VERSIONS], half=half,
            )
        }  # fmt: skip
        for row, wanted in counterparts(connection, list(texts), others).items():
            yield TextQuery(
                texts[row], QueryClass.OTHER_VERSIONS, wanted, scopes=others,
                where=f"versions other than {source}",
            )  # fmt: skip
