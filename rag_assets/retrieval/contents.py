"""What can be searched now: versions, books, languages and documents of the active release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.bible.books import book_position
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import AnySide, sides_of
from rag_assets.retrieval.sql.passages import (
    DocumentsOfLanguage,
    ListedDocument,
    VersionName,
    documents_after,
    documents_by_language,
    version_names,
)
from rag_assets.vectors.search_plan import SearchPlan


@dataclass(frozen=True)
class ReleasedVersion:
    """A version with its number of verses, and its books in canonical order."""

    named: VersionName
    verses: int
    books: tuple[str, ...]


@dataclass(frozen=True)
class ReleasedBook:
    """A book with its number of verses in all versions together."""

    book: str
    versions: int
    verses: int


@dataclass(frozen=True)
class Contents:
    """What a client may search.

    :param plan: how a search without a filter reads the Bible, or the documents if there is none.
    :param documents_plan: the same for the documents, beside the Bible.
    :param has_documents: whether documents are released and may be searched.
    :param documents: searchable documents by language.
    :param listed: the first documents after the given key.
    :param next: give it as ``after`` for further documents; ``None`` if there are none.
    """

    release_id: int
    plan: SearchPlan
    documents_plan: SearchPlan | None
    versions: tuple[ReleasedVersion, ...]
    books: tuple[ReleasedBook, ...]
    has_documents: bool
    documents: tuple[DocumentsOfLanguage, ...]
    listed: tuple[ListedDocument, ...]
    next: str | None


def contents(
    connection: Connection,
    served: Served,
    request: SearchRequest,
    *,
    exact_rows: int | None,
    after: str = "",
    limit: int,
    timeout_ms: int = 0,
) -> Contents:
    """List what a request without filters would search.

    :param request: its corpus and language restrict the list.
    :param exact_rows: as for :func:`choose_plan`.
    :param limit: how many documents to list.
    :raises RequestError: as for :func:`sides_of`.
    """
    sides = sides_of(connection, request, served, timeout_ms=timeout_ms)
    plan, *others = [
        choose_plan(side.target, side.scopes, exact_rows=exact_rows, rows=side.matching)
        for side in sides
    ]
    by_corpus = {side.corpus: side for side in sides}
    bible, documents = by_corpus.get("bible"), by_corpus.get("documents")
    codes = bible.scopes if bible else ()
    named = version_names(connection, codes, timeout_ms=timeout_ms)
    by_language, listed = _documents(connection, documents, after, limit, timeout_ms)
    return Contents(
        release_id=served.release_id,
        plan=plan,
        documents_plan=others[0] if others else None,
        versions=tuple(_version(one, served) for one in named),
        books=_books(codes, served),
        has_documents=documents is not None,
        documents=tuple(by_language),
        listed=tuple(listed[:limit]),
        next=listed[limit - 1].key if len(listed) > limit else None,
    )


def _documents(
    connection: Connection, side: AnySide | None, after: str, limit: int, timeout_ms: int
) -> tuple[Sequence[DocumentsOfLanguage], Sequence[ListedDocument]]:
    """Documents by language, and one more than ``limit`` of them."""
    if side is None:
        return (), ()
    languages, corpora = side.filter.scopes, side.filter.corpora
    return (
        documents_by_language(connection, languages, corpora=corpora, timeout_ms=timeout_ms),
        documents_after(
            connection, after, limit + 1, languages, corpora=corpora, timeout_ms=timeout_ms
        ),
    )


def _version(named: VersionName, served: Served) -> ReleasedVersion:
    books = [book for version, book in served.books if version == named.version]
    return ReleasedVersion(
        named, served.target.scopes[named.version], tuple(sorted(books, key=book_position))
    )


def _books(versions: Sequence[str], served: Served) -> tuple[ReleasedBook, ...]:
    wanted = set(versions)
    found: dict[str, list[int]] = {}
    for (version, book), verses in served.books.items():
        if version in wanted:
            found.setdefault(book, []).append(verses)
    return tuple(
        ReleasedBook(book, len(found[book]), sum(found[book]))
        for book in sorted(found, key=book_position)
    )
