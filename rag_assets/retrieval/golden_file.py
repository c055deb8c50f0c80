"""The file of golden queries: each with what it must find, and what must not come first."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rag_assets.bible.books import is_usfm_code
from rag_assets.errors import ConfigurationError
from rag_assets.retrieval.request import SearchRequest

MAX_QUERIES = 2048
_VERSE = re.compile(r"([1-4A-Z]{3}) (\d+):(\d+)")
_LIKE_A_VERSE = re.compile(r"\S+ \d+(:\d+(-\d+)?)?")
_KEYS = {"language", "text", "expected", "not_first"}


@dataclass(frozen=True)
class GoldenQuery:
    """A query, and what is known about its hits: verses by reference, documents by key.

    :param language: the only language to search; ``None`` for no filter.
    :param expected: one of these must be among the first ten hits; empty for no expectation.
    :param not_first: none of these may be the first hit.
    :param corpus: the document corpus that is searched; ``None``: by what is expected.
    """

    language: str | None
    text: str
    expected: tuple[str, ...]
    not_first: tuple[str, ...] = ()
    corpus: str | None = None

    @property
    def verses(self) -> tuple[tuple[str, int, int], ...]:
        """The expected verses: book, chapter, verse."""
        found = map(_VERSE.fullmatch, self.expected)
        return tuple((m[1], int(m[2]), int(m[3])) for m in found if m is not None)

    @property
    def documents(self) -> tuple[str, ...]:
        """The keys of the expected documents."""
        return tuple(name for name in self.expected if _VERSE.fullmatch(name) is None)

    @property
    def names_documents(self) -> bool:
        """Whether a document is expected, or must not be first."""
        names = (*self.expected, *self.not_first)
        return any(_VERSE.fullmatch(name) is None for name in names)

    def asked(self, request: SearchRequest) -> SearchRequest:
        """The request with this query: among documents, too, if it names one."""
        corpus = self.corpus or ("both" if self.names_documents else "bible")
        return replace(request, text=self.text, language=self.language, corpus=corpus)


def read_golden_queries(path: Path, *, expecting: bool = True) -> tuple[GoldenQuery, ...]:
    """Read ``[[query]]`` tables of TOML or, from a file that is not ``.toml``, JSON lines.

    :param expecting: whether a query that expects nothing is an error.
    :raises ConfigurationError: names the file, the query and what is wrong with it.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            entries = tomllib.loads(content).get("query")
        else:
            entries = [json.loads(line) for line in content.splitlines() if line.strip()]
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} is not there: write golden queries there, or name another file; "
            "RAG_GOLDEN_QUERIES, if it names this one, may be none to do without"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON lines"
        raise ConfigurationError(f"{path} is not {kind}: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{path} holds no [[query]] with text and expected")
    if len(entries) > MAX_QUERIES:
        raise ConfigurationError(f"{path} has {len(entries)} queries: the maximum is {MAX_QUERIES}")
    return tuple(
        _query(f"{path}: query {place}", entry, expecting=expecting)
        for place, entry in enumerate(entries, start=1)
    )


def _query(where: str, entry: object, *, expecting: bool) -> GoldenQuery:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{where} is not a table with text and expected")
    if unknown := sorted(entry.keys() - _KEYS):
        raise ConfigurationError(
            f"{where} has {', '.join(unknown)}: it may have {', '.join(sorted(_KEYS))}"
        )
    language, text = entry.get("language"), entry.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(f"{where} has no text")
    if not isinstance(language, str | None) or language == "":
        raise ConfigurationError(
            f"{where}: language is not a tag such as en: leave it out to search all languages"
        )
    expected = _names(where, "expected", entry.get("expected"))
    not_first = _names(where, "not_first", entry.get("not_first"))
    if expecting and not (expected or not_first):
        raise ConfigurationError(f"{where} ({text!r}) expects nothing: give expected or not_first")
    if both := sorted(set(expected) & set(not_first)):
        raise ConfigurationError(f"{where} both expects {both[0]!r} and forbids it as the first")
    return GoldenQuery(language, text, expected, not_first)


def _names(where: str, field: str, given: object) -> tuple[str, ...]:
    """Verses and documents' keys. What looks like a reference must be one of a verse."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise ConfigurationError(f"{where}: {field} is not a list of references and document keys")
    for name in given:
        verse = _VERSE.fullmatch(name) if isinstance(name, str) else None
        known = verse is not None and is_usfm_code(verse[1])
        if not isinstance(name, str) or not name or (not known and _LIKE_A_VERSE.fullmatch(name)):
            raise ConfigurationError(
                f"{where}: {field} has {name!r}: write a verse as RUT 1:16, and a document as its "
                "key, such as manual.pdf"
            )
    return tuple(given)
