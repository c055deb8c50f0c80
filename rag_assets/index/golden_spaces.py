"""The same golden queries asked of two spaces: does another model find what the one in use does?

By exact search, so that models are compared and not indexes. A query is asked among the versions of
its own language and, apart from that, among those of each other language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rag_assets.bible.sql.verses import version_languages
from rag_assets.index.golden import in_their_language
from rag_assets.index.questions import ask
from rag_assets.index.text_queries import EmbeddedTexts
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.golden_file import GoldenQuery, read_golden_queries
from rag_assets.retrieval.query_vectors import embed_queries_cached
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable, rows_by_scope


@dataclass(frozen=True)
class GoldenHits:
    """How many golden queries exact search answers among its first ten, in one space.

    :param asked: with an expected verse in a version of their language; ``found`` of these.
    :param across: the same for versions of other languages; ``found_across`` of these.
    """

    asked: int
    found: int
    across: int
    found_across: int

    @property
    def total(self) -> int:
        return self.found + self.found_across


def golden_hits(
    connection: Connection, settings: Settings, table: VectorTable, versions: tuple[str, ...]
) -> GoldenHits | None:
    """Ask all golden queries; ``None`` where RAG_GOLDEN_QUERIES names no file.

    :param connection: the queries' vectors are kept on it.
    :raises RagAssetsError: the file is wrong, or the provider's errors.
    """
    if settings.rag_golden_queries is None:
        return None
    languages = version_languages(connection)
    spoken = {primary(languages[code]): languages[code] for code in versions}
    queries = read_golden_queries(settings.rag_golden_queries)
    own = in_their_language(connection, queries, versions, languages)
    across = in_their_language(connection, _elsewhere(queries, spoken), versions, languages)
    texts = EmbeddedTexts(
        own + across,
        embed_queries_cached(
            connection, settings, table.space, [query.text for query in own + across]
        ),
    )
    questions = ask(
        connection, table, np.zeros((0, table.space.spec.dimensions), dtype=np.float32), [],
        texts=texts, rows=sum(rows_by_scope(connection, table).values()),
    )  # fmt: skip
    found = questions.answered
    return GoldenHits(
        len(own), int(found[: len(own)].sum()), len(across), int(found[len(own) :].sum())
    )


def _elsewhere(
    queries: tuple[GoldenQuery, ...], spoken: Mapping[str, str]
) -> tuple[GoldenQuery, ...]:
    """Each query as if it were of each other language: what is expected is the same verse."""
    return tuple(
        replace(query, language=tag)
        for query in queries
        for language, tag in spoken.items()
        if query.language is not None and language != primary(query.language)
    )
