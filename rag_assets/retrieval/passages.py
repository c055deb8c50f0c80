"""Fetching: released passages by their reference or position, with their neighbours.

The same checks as a search apply: a fetch resolves to a :class:`SearchRequest` for one version or
document.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.hits import Hit, chunk_hit, verse_hit
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest, named_book
from rag_assets.retrieval.sides import sides_of
from rag_assets.retrieval.sql.passages import chunks_from, verses_between

_REFERENCE = re.compile(
    r"\s*(?P<book>.*?\D)\s*(?P<chapter>\d{1,3})"
    r"(?:[:.,](?P<verse>\d{1,3})(?:[-–](?P<last>\d{1,3}))?)?\s*"
)


@dataclass(frozen=True)
class Place:
    """A chapter, or verses of it.

    :param verses: first and last; ``None`` for the whole chapter.
    """

    book: str
    chapter: int
    verses: tuple[int, int] | None


@dataclass(frozen=True)
class Fetched:
    """Passages in their order.

    :param asked: for each, whether it was asked for; the others are its neighbours.
    :param next: position of the document's next passage, if there are more.
    """

    release_id: int
    passages: tuple[Hit, ...]
    asked: tuple[bool, ...]
    next: int | None = None


def place_of(reference: str) -> Place:
    """Read a reference such as ``JHN 3:16``, ``João 3:16-18`` or ``1 Samuel 2``. Pure.

    :raises RequestError: it is not a reference, or names no book.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise RequestError(
            "bad-reference",
            "reference",
            f"{reference!r} is not a reference: give a chapter, such as JHN 3, or verses of it, "
            "such as JHN 3:16 or JHN 3:16-18",
        )
    chapter, verse, last = found["chapter"], found["verse"], found["last"]
    verses = None if verse is None else (int(verse), int(last or verse))
    if verses is not None and verses[0] > verses[1]:
        raise RequestError(
            "bad-reference", "reference", f"{reference!r}: the first verse is after the last"
        )
    return Place(named_book(found["book"].strip()), int(chapter), verses)


def fetch_verses(
    connection: Connection,
    served: Served,
    request: SearchRequest,
    reference: str,
    *,
    timeout_ms: int = 0,
) -> Fetched:
    """Verses of the request's one version, with ``request.context`` verses before and after.

    :raises RequestError: the version may not be read, or does not have the reference.
    """
    place = place_of(reference)
    only = replace(request, corpus="bible", context=0)
    (side,) = sides_of(connection, only, served, timeout_ms=timeout_ms)
    (version,) = side.scopes
    found = verses_between(
        connection,
        version,
        place.book,
        place.chapter,
        place.verses,
        context=request.context,
        timeout_ms=timeout_ms,
    )
    if not found:
        raise RequestError(
            "unknown-reference", "reference", f"version {version} has no {reference.strip()}"
        )
    hits = [
        verse_hit(number, [verse], score=1.0, source="reference")
        for number, (verse, _) in enumerate(found, start=1)
    ]
    return Fetched(served.release_id, tuple(hits), tuple(asked for _, asked in found))


@dataclass(frozen=True)
class SideBySide:
    """Verses of a reference in several versions.

    :param verses: in the order of the versions, then of the text.
    :param missing: versions that do not have the reference.
    """

    release_id: int
    verses: tuple[Hit, ...]
    missing: tuple[str, ...]


def fetch_side_by_side(
    connection: Connection,
    served: Served,
    request: SearchRequest,
    reference: str,
    *,
    timeout_ms: int = 0,
) -> SideBySide:
    """The same verses in the request's versions, or in all that may be read.

    :raises RequestError: a version may not be read, or it is not a reference.
    """
    place = place_of(reference)
    (side,) = sides_of(connection, replace(request, corpus="bible"), served, timeout_ms=timeout_ms)
    verses: list[Hit] = []
    missing = []
    for version in side.scopes:
        found = verses_between(
            connection, version, place.book, place.chapter, place.verses,
            context=0, timeout_ms=timeout_ms,
        )  # fmt: skip
        first = len(verses) + 1
        verses += [
            verse_hit(number, [verse], score=1.0, source="reference")
            for number, (verse, _) in enumerate(found, start=first)
        ]
        missing += [] if found else [version]
    return SideBySide(served.release_id, tuple(verses), tuple(missing))


def fetch_passages(
    connection: Connection,
    served: Served,
    request: SearchRequest,
    position: int | None,
    *,
    first: int = 1,
    limit: int,
    timeout_ms: int = 0,
) -> Fetched:
    """One passage of the request's one document with its neighbours, or passages in order.

    :param position: of the passage; ``None`` for passages from ``first`` on, at most ``limit``.
    :raises RequestError: the document may not be read, or does not have the passage.
    """
    only = replace(request, corpus="both", context=0)
    (side,) = sides_of(connection, only, served, timeout_ms=timeout_ms)
    (document_id,) = side.filter.documents or ()
    if position is not None:
        first = max(1, position - request.context)
        limit = position + request.context - first + 1
    found = chunks_from(connection, document_id, first, limit + 1, timeout_ms=timeout_ms)
    positions = [chunk.position for chunk in found[:limit]]
    if not positions or (position is not None and position not in positions):
        raise RequestError(
            "unknown-position",
            "position",
            f"the document has no passage {first if position is None else position}",
        )
    hits = [
        chunk_hit(number, chunk, score=1.0, source="reference")
        for number, chunk in enumerate(found[:limit], start=1)
    ]
    return Fetched(
        served.release_id,
        tuple(hits),
        tuple(_asked(positions, position)),
        found[limit].position if position is None and len(found) > limit else None,
    )


def _asked(positions: Sequence[int], position: int | None) -> list[bool]:
    return [position is None or one == position for one in positions]
