"""Golden queries: what a person says each must find, and whether the index loses any of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag_assets.corpus.bible.books import is_usfm_code
from rag_assets.errors import ConfigurationError
from rag_assets.index.tune import TOP_K
from rag_assets.retrieval.plan import Target, choose_plan
from rag_assets.store.bible import verse_ids
from rag_assets.store.database import Connection, Database
from rag_assets.store.vector_search import EXACT, SearchPlan, nearest, prepare_connection

_REFERENCE = re.compile(r"([1-4A-Z]{3}) (\d+):(\d+)")


@dataclass(frozen=True)
class GoldenQuery:
    """A query and the verses of which one must be among the first ten hits."""

    language: str
    text: str
    expected: tuple[str, ...]


@dataclass(frozen=True)
class GoldenResult:
    """Queries whose verse exact search finds, and the share of those that the plan finds, too.

    :param applicable: queries with an expected verse in a version of their language.
    :param lost: queries that exact search answers and the index does not.
    """

    applicable: int
    by_exact: int
    by_plan: int
    lost: tuple[str, ...]
    missed: tuple[str, ...]


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


def golden_result(
    database: Database,
    target: Target,
    queries: Sequence[GoldenQuery],
    vectors: NDArray[np.float32],
    languages: Mapping[str, str],
    *,
    exact_rows: int | None,
) -> GoldenResult:
    """Search with each query among the versions of its language, exactly and as a search would.

    :param vectors: float32, shape (queries, dimensions).
    :param languages: by version, its BCP 47 tag.
    """
    applicable, by_exact, lost, missed = 0, 0, [], []
    with (
        database.connect(autocommit=True) as exact,
        database.connect(autocommit=True) as planned,
    ):
        prepare_connection(exact)
        prepare_connection(planned)
        for query, vector in zip(queries, vectors, strict=True):
            spoken = _primary(query.language)
            scopes = [code for code in target.scopes if _primary(languages[code]) == spoken]
            wanted = _wanted(exact, scopes, query.expected)
            if not wanted:
                continue
            applicable += 1

            def finds(
                connection: Connection,
                plan: SearchPlan,
                vector: NDArray[np.float32] = vector,
                scopes: Sequence[str] = tuple(scopes),
                wanted: frozenset[int] = wanted,
            ) -> bool:
                found = nearest(connection, target.table, plan, vector, top_k=TOP_K, scopes=scopes)
                return any(verse_id in wanted for verse_id, _ in found)

            if not finds(exact, EXACT):
                missed.append(query.text)
                continue
            by_exact += 1
            if not finds(planned, choose_plan(target, scopes, exact_rows=exact_rows)):
                lost.append(query.text)
    return GoldenResult(applicable, by_exact, by_exact - len(lost), tuple(lost), tuple(missed))


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


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
