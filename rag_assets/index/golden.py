"""Golden queries: the verses that each must find, and whether a user's search finds them."""

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
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.query_vectors import embed_queries_cached
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.retrieval.sql.verses import verses_by_id
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

_REFERENCE = re.compile(r"([1-4A-Z]{3}) (\d+):(\d+)")


@dataclass(frozen=True)
class GoldenQuery:
    """A query and its expected verses, one of which must be among the first ten hits."""

    language: str
    text: str
    expected: tuple[str, ...]


@dataclass(frozen=True)
class GoldenResult:
    """How the released plan answers text queries, compared with exact search.

    A golden query runs without a filter and, if other languages are served too, confined to its
    language; the two count separately.

    :param applicable: golden queries with an expected verse in a version of their language.
    :param by_exact: how many of those exact search answers; ``by_plan``: how many the plan does.
    :param lost: queries that exact search answers and the plan does not, with their filter.
    :param missed: queries that even exact search does not answer, with their filter.
    :param fragments: sampled fragments of passages, which run without a filter.
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


def golden_texts(
    connection: Connection,
    queries: Sequence[GoldenQuery],
    scopes: Collection[str],
    languages: Mapping[str, str],
) -> tuple[TextQuery, ...]:
    """The queries that expect a verse of these versions in the query's own language.

    :param languages: BCP 47 tag by version.
    """
    found = []
    for query in queries:
        wanted = {
            verse_id: code
            for code in versions_in(query.language, scopes, languages)
            for verse_id in _wanted(connection, [code], query.expected)
        }
        if wanted:
            found.append(TextQuery(query.text, wanted, query.language))
    return tuple(found)


def versions_in(
    language: str, scopes: Collection[str], languages: Mapping[str, str]
) -> tuple[str, ...]:
    """The versions in a language, whatever the region."""
    wanted = primary(language)
    return tuple(code for code in sorted(scopes) if primary(languages[code]) == wanted)


@dataclass(frozen=True)
class _Answer:
    """The answers to one query under one filter.

    :param language: the language that the search was confined to; empty for none.
    :param by_exact: whether exact search finds a wanted passage; ``by_plan``: the plan.
    """

    query: TextQuery
    language: str
    by_exact: bool
    by_plan: bool

    def __str__(self) -> str:
        where = f"language {self.language}" if self.language else "no filter"
        return f"{self.query.text} ({where})"


def golden_cases(
    texts: EmbeddedTexts, scopes: Collection[str], languages: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """The filters for golden queries: none (the empty name), and each of their languages if other
    languages are served too."""
    cases = {"": tuple(scopes)}
    for language in {primary(query.language) for query in texts.queries if query.language}:
        members = versions_in(language, scopes, languages)
        if len(members) < len(scopes):
            cases[language] = members
    return cases


def golden_result(
    connection: Connection, settings: Settings, served: Served, questions: Questions
) -> GoldenResult:
    """Run each query as an application would, by the plan under test.

    :param connection: autocommits and is prepared for vectors.
    :param served: the index under test.
    :param questions: with text queries, compared under :func:`golden_cases`.
    """
    answers = tuple(_run_all(connection, settings, served, questions))
    golden = [one for one in answers if one.query.language is not None]
    fragments = [one for one in answers if one.query.language is None]
    return GoldenResult(
        applicable=len(golden),
        by_exact=sum(one.by_exact for one in golden),
        by_plan=sum(one.by_plan for one in golden),
        lost=_lost(golden),
        missed=tuple(str(one) for one in golden if not one.by_exact),
        fragments=len(fragments),
        fragments_by_exact=sum(one.by_exact for one in fragments),
        fragments_lost=_lost(fragments),
    )


def _lost(answers: Sequence[_Answer]) -> tuple[str, ...]:
    return tuple(str(one) for one in answers if one.by_exact and not one.by_plan)


def _run_all(
    connection: Connection, settings: Settings, served: Served, questions: Questions
) -> Iterator[_Answer]:
    """Run each query without a filter; a golden one also in its language, if there are others."""
    texts = questions.texts
    if texts is None:
        return
    cases = golden_cases(texts, served.target.scopes, served.languages)
    for place, (query, vector) in enumerate(zip(texts.queries, texts.vectors, strict=True)):
        for language in dict.fromkeys(("", primary(query.language or ""))):
            if language not in cases:
                continue
            by_exact = bool(questions.answered(cases[language])[place])
            request = SearchRequest(top_k=TOP_K, text=query.text, language=language or None)
            by_plan = by_exact and _finds(connection, settings, served, request, query, vector)
            yield _Answer(query, language, by_exact, by_plan)


def loses_queries(measured: Mapping[str, object]) -> bool:
    """Whether a recorded result names queries that only exact search answers."""
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
    """The golden queries for these versions and a sample of fragments, embedded as queries.

    :param languages: by version; ignored for documents, which have only fragments.
    :raises RagAssetsError: the file of golden queries is wrong, or the provider failed.
    """
    queries: tuple[TextQuery, ...] = ()
    if table.corpus == "bible" and settings.rag_golden_queries is not None:
        golden = read_golden_queries(settings.rag_golden_queries)
        queries = golden_texts(connection, golden, scopes, languages)
    queries += fragments(connection, table, list(scopes), count, seed=seed)
    texts = [query.text for query in queries]
    return EmbeddedTexts(queries, embed_queries_cached(connection, settings, table.space, texts))
