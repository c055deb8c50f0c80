"""Passages as a caller names them, and what they are in the database."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rag_assets.bible.books import display_name
from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.explain.model import Verdict
from rag_assets.retrieval.passages import place_of
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus

_VERSION = r"(?P<version>[A-Z]{2,3}_[A-Z0-9_]+)"
_IN_VERSION = re.compile(rf"\s*{_VERSION}\s+(?P<reference>.+)", re.DOTALL)
_AS_HITS_NAME_IT = re.compile(rf"\s*(?P<reference>.*[0-9])\s+\(?{_VERSION}\)?\s*", re.DOTALL)
_PASSAGE = re.compile(r"(?P<key>.+)#(?P<position>[1-9][0-9]{0,8})", re.DOTALL)
_LIKE_A_REFERENCE = re.compile(r"\s*[^/]*\D[\s.]*\d{1,3}[:.,]\d{1,3}\s*")


@dataclass(frozen=True)
class ExpectedVerse:
    """A verse, in one version or, with ``None``, in any."""

    asked: str
    book: str
    chapter: int
    verse: int
    version: str | None = None

    @property
    def name(self) -> str:
        """In English, such as ``Jonah 1:17``."""
        return f"{display_name(self.book)} {self.chapter}:{self.verse}"


@dataclass(frozen=True)
class ExpectedDocument:
    """A document or, with its position, one passage of it.

    :param doubt: why it is no verse, if it looks like one.
    """

    asked: str
    key: str
    position: int | None = None
    doubt: RequestError | None = None


@dataclass(frozen=True)
class Context:
    """What expected passages are looked up in.

    :param timeout_ms: time limit of each statement; 0 for none.
    """

    connection: Connection
    settings: Settings
    served: Served
    request: SearchRequest
    timeout_ms: int


@dataclass(frozen=True)
class Passage:
    """An expected passage.

    :param reference: such as ``EN_SAMPLE Jonah 1:17`` or ``manual.pdf#2``.
    :param ids: rows with vectors: one, or those of a whole document.
    :param narrow: fields of a request that selects little else.
    :param stopped: where it stopped before the search; ``None`` if it can be searched. Only called
        for a passage that is not in the answer, because it may read files.
    """

    asked: str
    reference: str
    corpus: Corpus
    ids: tuple[int, ...]
    narrow: Mapping[str, Any]
    stopped: Callable[[], Verdict | None]


def expectation(asked: str) -> ExpectedVerse | ExpectedDocument:
    """Read ``Jonah 1:17``, ``EN_SAMPLE Jonah 1:17``, ``manual.pdf`` or ``manual.pdf#2``.

    ``Jonah 1:17 EN_SAMPLE`` and ``Jonah 1:17 (EN_SAMPLE)``, as hits are listed, are read, too.

    :raises RequestError: it is empty, names a version and no verse, a chapter or several verses.
    """
    if not asked.strip():
        raise RequestError(
            "bad-reference", "expect", "what is expected is empty: give a verse or a document's key"
        )
    if found := _IN_VERSION.fullmatch(asked) or _AS_HITS_NAME_IT.fullmatch(asked):
        return _verse(asked, found["reference"], found["version"])
    doubt = None
    try:
        return _verse(asked, asked, None)
    except RequestError as error:
        if error.kind == "not-one-verse":
            raise
        if _LIKE_A_REFERENCE.fullmatch(asked):
            doubt = error
    if found := _PASSAGE.fullmatch(asked):
        return ExpectedDocument(asked, found["key"], int(found["position"]), doubt)
    return ExpectedDocument(asked, asked, None, doubt)


def _verse(asked: str, reference: str, version: str | None) -> ExpectedVerse:
    try:
        place = place_of(reference)
    except RequestError as error:
        raise RequestError(error.kind, "expect", str(error), error.choices) from None
    if place.verses is None or place.verses[0] != place.verses[1]:
        raise RequestError(
            "not-one-verse", "expect", f"{asked!r} is not one verse: give one such as Jonah 1:17"
        )
    return ExpectedVerse(asked, place.book, place.chapter, place.verses[0], version)
