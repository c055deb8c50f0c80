"""Passages by their place instead of by their nearness, and what there is to choose from.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.retrieval.sql.chunks import FoundChunk
from rag_assets.retrieval.sql.verses import FoundVerse


@dataclass(frozen=True)
class VersionName:
    """A Bible version as it is declared."""

    version: str
    name: str
    language: str
    licence: str


@dataclass(frozen=True)
class DocumentsOfLanguage:
    """How many searchable documents and passages are in one language."""

    language: str
    documents: int
    passages: int


@dataclass(frozen=True)
class ListedDocument:
    """A document that can be searched."""

    key: str
    title: str
    language: str
    passages: int


def verses_between(
    connection: Connection,
    version: str,
    book: str,
    chapter: int,
    verses: tuple[int, int] | None,
    *,
    context: int,
    timeout_ms: int = 0,
) -> list[tuple[FoundVerse, bool]]:
    """Verses of one chapter with up to ``context`` verses before and after them, in order.

    Each with whether it is one of those asked for, bridges that contain one included. By verses'
    unique index of version, book, chapter and verse.

    :param verses: first and last; ``None`` for the whole chapter.
    """
    first, last = verses or (0, 32_767)
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            WITH asked AS (
                SELECT version_code, book, chapter, verse, verse_end, text FROM verses
                 WHERE version_code = %(version)s AND book = %(book)s AND chapter = %(chapter)s
                   AND verse <= %(last)s AND verse_end >= %(first)s
            ), place AS (
                SELECT min(verse) AS first, max(verse) AS last FROM asked
            )
            SELECT version_code, b.language, book, chapter, verse, verse_end, text, asked
              FROM (
                SELECT *, true AS asked FROM asked
                UNION ALL
                (SELECT v.version_code, v.book, v.chapter, v.verse, v.verse_end, v.text, false
                   FROM verses v, place
                  WHERE v.version_code = %(version)s AND v.book = %(book)s
                    AND (v.chapter, v.verse) < (%(chapter)s, place.first)
                  ORDER BY v.chapter DESC, v.verse DESC LIMIT %(context)s)
                UNION ALL
                (SELECT v.version_code, v.book, v.chapter, v.verse, v.verse_end, v.text, false
                   FROM verses v, place
                  WHERE v.version_code = %(version)s AND v.book = %(book)s
                    AND (v.chapter, v.verse) > (%(chapter)s, place.last)
                  ORDER BY v.chapter, v.verse LIMIT %(context)s)
              ) AS found JOIN bible_versions b USING (version_code)
             ORDER BY chapter, verse
            """,
            {
                "version": version, "book": book, "chapter": chapter, "first": first,
                "last": last, "context": context,
            },
        )  # fmt: skip
    return [(FoundVerse(*columns), asked) for *columns, asked in rows.fetchall()]


def chunks_from(
    connection: Connection, document_id: int, first: int, limit: int, *, timeout_ms: int = 0
) -> list[FoundChunk]:
    """Up to ``limit`` passages of a document from a position on, in order.

    By the chunks' unique index of document and position.
    """
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT c.document_id, d.document_key, d.corpus, coalesce(d.title, d.document_key),
                   c.language, c.page, c.heading, c.position, c.text
              FROM documents d JOIN document_chunks c USING (document_id)
             WHERE d.document_id = %s AND d.state <> 'withdrawn' AND c.position >= %s
             ORDER BY c.position LIMIT %s
            """,
            (document_id, first, limit),
        )
    return [FoundChunk(*columns) for columns in rows.fetchall()]


def version_names(
    connection: Connection, versions: Sequence[str], *, timeout_ms: int = 0
) -> list[VersionName]:
    """Names and licences of these versions, in order of their codes."""
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT version_code, name, language, licence FROM bible_versions
             WHERE version_code = ANY(%s) ORDER BY version_code
            """,
            (list(versions),),
        )
    return [VersionName(*columns) for columns in rows.fetchall()]


def documents_by_language(
    connection: Connection,
    languages: Sequence[str] | None,
    *,
    corpora: Sequence[str] | None = None,
    timeout_ms: int = 0,
) -> list[DocumentsOfLanguage]:
    """Searchable documents by language. Reads all of ``documents``.

    :param languages: only these tags; ``None`` for all. ``corpora``: only these.
    """
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT language, count(*), sum(chunks)::bigint FROM documents
             WHERE chunks > 0 AND language IS NOT NULL AND state <> 'withdrawn'
               AND (%(languages)s::text[] IS NULL OR language = ANY(%(languages)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
             GROUP BY language ORDER BY language
            """,
            {
                "languages": None if languages is None else list(languages),
                "corpora": None if corpora is None else list(corpora),
            },
        )
    return [DocumentsOfLanguage(*columns) for columns in rows.fetchall()]


def documents_after(
    connection: Connection,
    key: str,
    limit: int,
    languages: Sequence[str] | None,
    *,
    corpora: Sequence[str] | None = None,
    timeout_ms: int = 0,
) -> list[ListedDocument]:
    """Up to ``limit`` searchable documents after a key, in order of their keys, by its index.

    :param languages: only these tags; ``None`` for all. ``corpora``: only these.
    """
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT document_key, coalesce(title, document_key), language, chunks FROM documents
             WHERE document_key > %(key)s AND chunks > 0 AND language IS NOT NULL
               AND state <> 'withdrawn'
               AND (%(languages)s::text[] IS NULL OR language = ANY(%(languages)s))
               AND (%(corpora)s::text[] IS NULL OR corpus = ANY(%(corpora)s))
             ORDER BY document_key LIMIT %(limit)s
            """,
            {
                "key": key.replace("\0", " "),  # PostgreSQL has no such character
                "languages": None if languages is None else list(languages),
                "corpora": None if corpora is None else list(corpora),
                "limit": limit,
            },
        )
    return [ListedDocument(*columns) for columns in rows.fetchall()]
