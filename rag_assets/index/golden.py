"""Golden queries: what a person says each must find, and whether a search of users finds it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_assets.bible.books import is_usfm_code
from rag_assets.bible.sql.verses import verse_ids
from rag_assets.errors import ConfigurationError
from rag_assets.index.cases import TOP_K
from rag_assets.index.questions import EmbeddedTexts, Questions, TextQuery, fragments
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.query_vectors import embed_queries_once
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest, primary
from rag_assets.retrieval.search import search
from rag_assets.retrieval.sql.verses import verses_by_id
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

_REFERENCE = re.compile(r"([1-4A-Z]{3}) (\d+):(\d+)")


@dataclass(frozen=True)
class GoldenQuery:
    """A query and the verses of which one must be among the first ten hits."""

    language: str
    text: str
    expected: tuple[str, ...]


@dataclass(frozen=True)
class GoldenResult:
    """How the released plan answers queries in words, as against exact search.

    A golden query is asked without a filter and, where other languages are served, too, confined to
    its language; each counts by itself.

    :param applicable: golden queries with an expected verse in a version of their language.
    :param by_exact: of those, answered by exact search; ``by_plan`` of these, by the plan, too.
    :param lost: queries that exact search answers and the plan does not, with their filter.
    :param fragments: sampled fragments of passages, asked without a filter.
    """

    applicable: int
    by_exact: int
    by_plan: int
    lost: tuple[str, ...]
    missed: tuple[str, ...]
    fragments: int = 0
    fragments_by_exact: int = 0
    fragments_lost: tuple[str, ...] = ()


def read_golden_queries(path: Path) -> tuple[GoldenQuery, ...]:
    """Read the file: tables ``[[query]]`` with ``language``, ``text`` and ``expected``.

    :raises ConfigurationError: naming the file, the query and what is wrong with it.
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


def golden_texts(
    connection: Connection,
    queries: Sequence[GoldenQuery],
    scopes: Collection[str],
    languages: Mapping[str, str],
) -> tuple[TextQuery, ...]:
    """The queries that expect a verse of these versions, in the language of the query.

    :param languages: by version, its BCP 47 tag.
    """
    found = []
    for query in queries:
        spoken = versions_in(query.language, scopes, languages)
        wanted = {
            verse_id: code
            for code in spoken
            for verse_id in _wanted(connection, [code], query.expected)
        }
        if wanted:
            found.append(TextQuery(query.text, wanted, query.language))
    return tuple(found)


def versions_in(
    language: str, scopes: Collection[str], languages: Mapping[str, str]
) -> tuple[str, ...]:
    """The versions in a language, whatever its region."""
    spoken = primary(language)
    return tuple(code for code in sorted(scopes) if primary(languages[code]) == spoken)


@dataclass(frozen=True)
class _Asked:
    """One query with one filter.

    :param language: that the search was confined to; empty for none.
    """

    query: TextQuery
    language: str
    exactly: bool
    by_plan: bool

    def __str__(self) -> str:
        where = f"language {self.language}" if self.language else "no filter"
        return f"{self.query.text} ({where})"


def golden_cases(
    texts: EmbeddedTexts, scopes: Collection[str], languages: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Filters that golden queries are asked under: none (the empty name), and their languages,
    where other languages are served, too."""
    cases = {"": tuple(scopes)}
    for language in {primary(query.language) for query in texts.queries if query.language}:
        spoken = versions_in(language, scopes, languages)
        if len(spoken) < len(scopes):
            cases[language] = spoken
    return cases


def golden_result(
    connection: Connection, settings: Settings, served: Served, questions: Questions
) -> GoldenResult:
    """Ask each query as an application would, by the plan that serves.

    :param connection: autocommits and is prepared for vectors.
    :param served: the index on trial.
    :param questions: with queries in words, compared under :func:`golden_cases`.
    """
    asked = tuple(_ask_all(connection, settings, served, questions))
    golden = [one for one in asked if one.query.language is not None]
    fragments = [one for one in asked if one.query.language is None]
    return GoldenResult(
        applicable=len(golden),
        by_exact=sum(one.exactly for one in golden),
        by_plan=sum(one.by_plan for one in golden),
        lost=_lost(golden),
        missed=tuple(str(one) for one in golden if not one.exactly),
        fragments=len(fragments),
        fragments_by_exact=sum(one.exactly for one in fragments),
        fragments_lost=_lost(fragments),
    )


def _lost(asked: Sequence[_Asked]) -> tuple[str, ...]:
    return tuple(str(one) for one in asked if one.exactly and not one.by_plan)


def _ask_all(
    connection: Connection, settings: Settings, served: Served, questions: Questions
) -> Iterator[_Asked]:
    """Each query without a filter; a golden one also in its language, where there are others."""
    texts = questions.texts
    if texts is None:
        return
    cases = golden_cases(texts, served.target.scopes, served.languages)
    for place, (query, vector) in enumerate(zip(texts.queries, texts.vectors, strict=True)):
        for language in dict.fromkeys(("", primary(query.language or ""))):
            if language not in cases:
                continue
            exactly = bool(questions.answered(cases[language])[place])
            request = SearchRequest(top_k=TOP_K, text=query.text, language=language or None)
            by_plan = exactly and _finds(connection, settings, served, request, query, vector)
            yield _Asked(query, language, exactly, by_plan)


def loses_queries(measured: Mapping[str, object]) -> bool:
    """Whether a result, as it is kept, names queries that only exact search answers."""
    return bool(measured.get("lost") or measured.get("fragments_lost"))


def _finds(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    query: TextQuery,
    vector: NDArray[np.float32],
) -> bool:
    """Whether one of the wanted verses is among the hits of a search."""
    wanted = {
        (verse.version_code, f"{verse.book} {verse.chapter}:{verse.verse}")
        for verse in verses_by_id(connection, query.wanted)
    }
    hits = search(connection, settings, served, request, vector).hits
    return any((hit.version, hit.usfm.partition("-")[0]) in wanted for hit in hits)


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


def embedded_texts(
    connection: Connection,
    settings: Settings,
    table: VectorTable,
    scopes: Collection[str],
    languages: Mapping[str, str],
    *,
    count: int,
    seed: int,
) -> EmbeddedTexts:
    """The golden queries of these versions and a sample of fragments, embedded as queries are.

    :param languages: by version; of no account for documents, of which there are only fragments.
    :raises RagAssetsError: the file of golden queries is wrong, or the provider's errors.
    """
    queries: tuple[TextQuery, ...] = ()
    if table.corpus == "bible" and settings.rag_golden_queries is not None:
        asked = read_golden_queries(settings.rag_golden_queries)
        queries = golden_texts(connection, asked, scopes, languages)
    queries += fragments(connection, table, list(scopes), count, seed=seed)
    texts = [query.text for query in queries]
    return EmbeddedTexts(queries, embed_queries_once(connection, settings, table.space, texts))
