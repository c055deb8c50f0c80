"""Golden queries: the file, and the verses that each query must find."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_assets.bible.books import is_usfm_code
from rag_assets.bible.sql.verses import verse_ids
from rag_assets.errors import ConfigurationError
from rag_assets.index.query_classes import QueryClass
from rag_assets.index.text_queries import TextQuery
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import primary
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

_REFERENCE = re.compile(r"([1-4A-Z]{3}) (\d+):(\d+)")


@dataclass(frozen=True)
class GoldenQuery:
    """A query and its expected verses, one of which must be among the first ten hits."""

    language: str
    text: str
    expected: tuple[str, ...]


def read_golden_queries(path: Path) -> tuple[GoldenQuery, ...]:
    """Read a file of ``[[query]]`` tables with ``language``, ``text`` and ``expected``.

    :raises ConfigurationError: names the file, the query and what is wrong with it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is not there: write golden queries there, name another file in "
            "RAG_GOLDEN_QUERIES, or set it to none to do without"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    entries = content.get("query")
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{path} holds no [[query]]")
    return tuple(_query(path, place, entry) for place, entry in enumerate(entries, start=1))


def _query(path: Path, place: int, entry: object) -> GoldenQuery:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{path}: query {place} is no [[query]] table")
    language, text, expected = (entry.get(name) for name in ("language", "text", "expected"))
    if not isinstance(language, str) or not isinstance(text, str) or not text.strip():
        raise ConfigurationError(f"{path}: query {place} needs a language and a text")
    if not isinstance(expected, list) or not expected:
        raise ConfigurationError(f"{path}: query {place} ({text!r}) expects nothing")
    for reference in expected:
        match = _REFERENCE.fullmatch(str(reference))
        if match is None or not is_usfm_code(match.group(1)):
            raise ConfigurationError(
                f"{path}: query {place} expects {reference!r}: write it as RUT 1:16"
            )
    return GoldenQuery(language, text, tuple(expected))


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
    """The queries that expect a verse of these versions in the query's own language.

    Each is asked without a filter and, if other languages are served too, confined to its language.
    """
    confined = in_their_language(connection, queries, scopes, languages)
    plain = [TextQuery(query.text, QueryClass.GOLDEN, query.wanted) for query in confined]
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
        members = versions_in(query.language, scopes, languages)
        wanted = _wanted(connection, members, query.expected)
        if wanted:
            language = primary(query.language)
            found.append(
                TextQuery(
                    query.text, QueryClass.GOLDEN_LANGUAGE, wanted, language=language,
                    scopes=frozenset(members), where=f"language {language}",
                )
            )  # fmt: skip
    return tuple(found)


def versions_in(
    language: str, scopes: Collection[str], languages: Mapping[str, str]
) -> tuple[str, ...]:
    """The versions in a language, whatever the region."""
    wanted = primary(language)
    return tuple(code for code in sorted(scopes) if primary(languages[code]) == wanted)


def _wanted(
    connection: Connection, scopes: Sequence[str], expected: Sequence[str]
) -> frozenset[int]:
    found: set[int] = set()
    for reference in expected:
        match = _REFERENCE.fullmatch(reference)
        if match is not None:
            book, chapter, verse = match.groups()
            found |= verse_ids(connection, scopes, book, int(chapter), int(verse))
    return frozenset(found)
