"""Golden queries for an index of verses: the verses that each query must find."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rag_assets.bible.sql.verses import verse_ids
from rag_assets.index.query_classes import QueryClass
from rag_assets.index.text_queries import TextQuery
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.golden_file import GoldenQuery, read_golden_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable


def golden_queries(
    connection: Connection,
    settings: Settings,
    table: VectorTable,
    scopes: Collection[str],
    languages: Mapping[str, str],
) -> tuple[TextQuery, ...]:
    """The golden queries to ask of a table, each without a filter and in its language.

    None for documents, and if RAG_GOLDEN_QUERIES names no file.

    :raises ConfigurationError: the file is wrong.
    """
    if table.corpus != "bible" or settings.rag_golden_queries is None:
        return ()
    queries = read_golden_queries(settings.rag_golden_queries)
    return golden_texts(connection, queries, scopes, languages)


def golden_texts(
    connection: Connection,
    queries: Sequence[GoldenQuery],
    scopes: Collection[str],
    languages: Mapping[str, str],
) -> tuple[TextQuery, ...]:
    """The queries that expect a verse of these versions, in the query's own language if it has one.

    Each is asked without a filter and, if other languages are served too, confined to its language.
    """
    confined = in_their_language(connection, queries, scopes, languages)
    plain = [
        TextQuery(query.text, QueryClass.GOLDEN, query.wanted, expected=query.expected)
        for query in confined
    ]
    plain += [
        TextQuery(query.text, QueryClass.GOLDEN, wanted, expected=query.expected)
        for query in queries
        if query.language is None and (wanted := _wanted(connection, tuple(scopes), query))
    ]
    return (*plain, *(query for query in confined if query.scopes != frozenset(scopes)))


def in_their_language(
    connection: Connection,
    queries: Sequence[GoldenQuery],
    scopes: Collection[str],
    languages: Mapping[str, str],
) -> tuple[TextQuery, ...]:
    """The queries that expect a verse of these versions in the query's own language, confined to
    it.

    :param languages: BCP 47 tag by version.
    """
    found = []
    for query in queries:
        if query.language is None:
            continue
        members = versions_in(query.language, scopes, languages)
        wanted = _wanted(connection, members, query)
        if wanted:
            language = primary(query.language)
            found.append(
                TextQuery(
                    query.text, QueryClass.GOLDEN_LANGUAGE, wanted, language=language,
                    scopes=frozenset(members), where=f"language {language}",
                    expected=query.expected,
                )
            )  # fmt: skip
    return tuple(found)


def versions_in(
    language: str, scopes: Collection[str], languages: Mapping[str, str]
) -> tuple[str, ...]:
    """The versions in a language, whatever the region."""
    wanted = primary(language)
    return tuple(code for code in sorted(scopes) if primary(languages[code]) == wanted)


def _wanted(connection: Connection, scopes: Sequence[str], query: GoldenQuery) -> frozenset[int]:
    found: set[int] = set()
    for book, chapter, verse in query.verses:
        found |= verse_ids(connection, scopes, book, chapter, verse)
    return frozenset(found)
