"""What a search is asked for, and what that means for the release in force."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from rag_assets.corpus.bible.books import SCRIPTURE, Language, book_code, display_name
from rag_assets.errors import RequestError
from rag_assets.retrieval.released import Served

MAX_TOP_K = 100


@dataclass(frozen=True)
class SearchRequest:
    """How to search; ``None`` means all.

    :param text: the query's words, for full text search.
    :param language: versions of this language only; of a tag the first part counts.
    :param books: USFM codes or names, in English or Portuguese.
    :param chapters: first and last.
    :param min_score: least cosine similarity, from -1 to 1.
    :param rerank: the large space re-orders the small space's candidates.
    :param hybrid: full text search takes part, by reciprocal rank.
    :param collapse: one hit a verse, the best of its versions.
    """

    top_k: int = 10
    text: str | None = None
    versions: tuple[str, ...] | None = None
    language: str | None = None
    books: tuple[str, ...] | None = None
    chapters: tuple[int, int] | None = None
    min_score: float | None = None
    rerank: bool = False
    hybrid: bool = False
    collapse: bool = False


@dataclass(frozen=True)
class Confined:
    """The rows that a request means.

    :param rows: about how many they are, where books are asked for; ``None`` otherwise.
    """

    scopes: tuple[str, ...]
    books: tuple[str, ...] | None
    chapters: tuple[int, int] | None
    rows: int | None


def confine(request: SearchRequest, served: Served) -> Confined:
    """Find the versions and books that are meant. Pure.

    :raises RequestError: one of them is unknown, not released, or kept out by policy.
    """
    scopes = _scopes(request, served)
    books = None if request.books is None else tuple(map(_book, request.books))
    if request.chapters is not None and request.chapters[0] > request.chapters[1]:
        raise RequestError(
            "bad-chapters",
            "chapter_from",
            f"the first chapter, {request.chapters[0]}, is behind the last, {request.chapters[1]}",
        )
    rows = None
    if books is not None or request.chapters is not None:
        wanted = set(scopes)
        rows = sum(
            count
            for (version, book), count in served.books.items()
            if version in wanted and (books is None or book in books)
        )
    return Confined(scopes, books, request.chapters, rows)


def _scopes(request: SearchRequest, served: Served) -> tuple[str, ...]:
    known = served.target.scopes
    scopes = tuple(sorted(known))
    if request.versions is not None:
        for code in request.versions:
            if code in served.withheld:
                raise RequestError(
                    "version-withheld",
                    "versions",
                    f"version {code} may not be served: its licence, its enabled_for_rag or "
                    "RAG_ALLOWED_VERSIONS keeps it out",
                )
            if code not in known:
                near = _nearest(code, known)
                raise RequestError(
                    "unknown-version",
                    "versions",
                    f"version {code} is not in the active release. {_did_you_mean(near)}",
                    near,
                )
        scopes = tuple(dict.fromkeys(request.versions))
    if request.language is not None:
        spoken = {code: _primary(tag) for code, tag in served.languages.items()}
        scopes = tuple(code for code in scopes if spoken[code] == _primary(request.language))
        if not scopes:
            languages = sorted(set(spoken.values()))
            raise RequestError(
                "unknown-language",
                "language",
                f"no version asked for is in language {request.language}. There are "
                f"{', '.join(languages) or 'none'}",
                languages,
            )
    return scopes


def _book(name: str) -> str:
    code = book_code(name) or book_code(name, Language.PORTUGUESE)
    if code is not None:
        return code
    names = {
        display_name(code, language): code
        for language in (Language.ENGLISH, Language.PORTUGUESE)
        for code in SCRIPTURE
    }
    near = _nearest(name, [*names, *SCRIPTURE])
    raise RequestError(
        "unknown-book", "books", f"there is no book {name!r}. {_did_you_mean(near)}", near
    )


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    return [folded[one] for one in found] or sorted(folded.values())[:10]


def _did_you_mean(near: list[str]) -> str:
    return f"Did you mean {', '.join(near)}?" if near else "There is none at all."


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
