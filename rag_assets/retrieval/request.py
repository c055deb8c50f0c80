"""Search requests, and how they resolve against the active release."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rag_assets.bible.books import SCRIPTURE, Language, book_code, display_name
from rag_assets.errors import RequestError
from rag_assets.retrieval.confinement import EVERYTHING, Confinement, primary
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.snippets import Snippets
from rag_assets.retrieval.words import take_apart
from rag_assets.vectors.sql.tables import Corpus

MAX_TOP_K = 100
MAX_CONTEXT = 10
MAX_TEXT_DEPTH = 1000

CORPUS_NAME = r"^[a-z][a-z0-9_]{0,39}$"


@dataclass(frozen=True)
class SearchRequest:
    """How to search; ``None`` means no restriction.

    :param text: the query's words, for full text search.
    :param corpus: what to search: ``bible``, a document corpus by its name, or ``both``, the Bible
        and every document corpus, of which a filter that applies to one kind selects that kind.
    :param language: only versions, or documents, in this language; only a tag's first part counts.
    :param books: USFM codes or names, in English or Portuguese.
    :param chapters: first and last.
    :param min_score: minimum cosine similarity, from -1 to 1.
    :param rerank: re-rank the small space's candidates with the large model.
    :param hybrid: include full text search. A phrase in double quotes is then required, and a word
        after a minus is excluded.
    :param text_weight: what the words count beside the vectors, from 0 to 1; ``None`` for the
        release's.
    :param text_depth: how many rows of either to fuse, at least; ``None`` for the release's.
    :param collapse: one hit per verse, in its best version, and per document, with its best chunk.
    :param documents: keys of documents.
    :param context: passages before and after each document's hit that come with it.
    :param snippets: what hits show of their passages: the part that matches, all, or nothing.
    :param elements: hits also have their passages as elements of a page.
    :param cross_encoder: a cross-encoder re-ranks the hits: fetch its candidates.
    :param confinement: what the client may read, whatever it asks for.
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
    text_weight: float | None = None
    text_depth: int | None = None
    collapse: bool = False
    corpus: str = "bible"
    documents: tuple[str, ...] | None = None
    context: int = 0
    snippets: Snippets = "none"
    elements: bool = False
    cross_encoder: bool = False
    confinement: Confinement = EVERYTHING

    @property
    def of_documents(self) -> bool:
        """Whether it names a document corpus."""
        return self.corpus not in ("bible", "both")

    @property
    def embedded_text(self) -> str:
        """What to embed: in hybrid search, the text without its operators."""
        text = self.text or ""
        return (take_apart(text).text.strip() or text) if self.hybrid else text


def corpora(request: SearchRequest, served: Served) -> tuple[Corpus, ...]:
    """The corpora to search, at least one. Pure.

    :raises RequestError: no documents are released, a filter does not apply to the corpus, or the
        client may not read what it selects.
    """
    selected, may = _selected(request, served), request.confinement
    found = tuple(
        corpus
        for corpus in selected
        if (may.allows_corpus(corpus) if corpus == "bible" else document_corpora(request, served))
    )
    if not found:
        named = (request.corpus,) if request.of_documents else selected
        raise may.refusal("corpus", f"the request searches {' and '.join(named)}")
    if request.language is not None and not may.allows_language(request.language):
        raise may.refusal("language", f"language {request.language} may not be read")
    if len(found) > 1 and request.rerank and (served.large is None) != _lacks_large(served):
        # Distances in two spaces cannot rank rows of both: search the corpus that can be re-ranked.
        return ("documents",) if served.large is None else ("bible",)
    return found


def document_corpora(request: SearchRequest, served: Served) -> tuple[str, ...]:
    """The document corpora to search: released, selected, and open to the client. Pure."""
    released = served.documents.corpora if served.documents else {}
    return tuple(
        corpus
        for corpus in released
        if request.corpus in (corpus, "both") and request.confinement.allows_corpus(corpus)
    )


def _lacks_large(served: Served) -> bool:
    return served.documents is None or served.documents.large is None


def _selected(request: SearchRequest, served: Served) -> tuple[Corpus, ...]:
    """The corpora that the request selects by its filters, and that are released."""
    verse_filters = [
        field
        for field, given in (
            ("versions", request.versions),
            ("books", request.books),
            ("chapter_from", request.chapters),
        )
        if given is not None
    ]
    if request.context and (request.corpus == "bible" or verse_filters):
        raise RequestError(
            "not-of-the-bible",
            "context",
            "context applies to documents only: search corpus documents or both, without versions, "
            "books and chapters, or leave context out",
        )
    if served.documents is None:
        if request.of_documents or request.documents is not None:
            raise RequestError(
                "no-documents",
                "corpus",
                "the active release has no documents: `rag-assets release gate` shows why",
            )
        return ("bible",)
    if request.of_documents:
        _check_corpus(request, served.documents.corpora)
    if verse_filters and (request.of_documents or request.documents is not None):
        raise RequestError(
            "not-of-documents",
            verse_filters[0],
            "versions, books and chapters are the Bible's: documents have none",
        )
    if request.corpus == "bible" and request.documents is not None:
        raise RequestError(
            "not-of-the-bible",
            "documents",
            "the Bible has no documents: ask for corpus documents, or leave documents out",
        )
    if request.corpus == "bible" or verse_filters:
        return ("bible",)
    if request.of_documents or request.documents is not None or not served.target.scopes:
        return ("documents",)
    return ("bible", "documents")


def _check_corpus(request: SearchRequest, released: Collection[str]) -> None:
    """Refuse a document corpus that is not released; one that may not be read is refused later."""
    may = request.confinement
    if request.corpus in released or not may.allows_corpus(request.corpus):
        return
    choices = ["bible", "both", *filter(may.allows_corpus, released)]
    raise RequestError(
        "unknown-corpus",
        "corpus",
        f"corpus {request.corpus} is not in the active release. There are {', '.join(choices)}",
        choices,
    )


@dataclass(frozen=True)
class Confined:
    """The verses that a request selects.

    :param rows: their approximate number if books or chapters are given; otherwise ``None``.
    """

    scopes: tuple[str, ...]
    books: tuple[str, ...] | None
    chapters: tuple[int, int] | None
    rows: int | None


def confine(request: SearchRequest, served: Served) -> Confined:
    """Resolve the versions and books of a request. Pure.

    :raises RequestError: one of them is unknown, not released, or kept out by policy; or the client
        may read no released version.
    """
    scopes = _scopes(request, served)
    books = None if request.books is None else tuple(map(named_book, request.books))
    if request.chapters is not None and request.chapters[0] > request.chapters[1]:
        raise RequestError(
            "bad-chapters",
            "chapter_from",
            f"the first chapter, {request.chapters[0]}, is after the last, {request.chapters[1]}",
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
    may = request.confinement
    known = {
        code for code in served.target.scopes if may.allows_version(code, served.languages[code])
    }
    if served.target.scopes and not known:
        raise may.refusal("versions", "no released version may be read")
    scopes = tuple(sorted(known))
    if not (known or served.withheld or request.versions):
        raise RequestError(
            "no-verses",
            "corpus",
            "the active release has no Bible version: `rag-assets release gate` shows why",
        )
    if request.versions is not None:
        for code in request.versions:
            _check_version(code, known, request, served)
        scopes = tuple(dict.fromkeys(request.versions))
    if request.language is not None:
        languages = {code: primary(served.languages[code]) for code in known}
        scopes = tuple(code for code in scopes if languages[code] == primary(request.language))
        if not scopes:
            raise no_such_language("version asked for", request.language, languages.values())
    return scopes


def _check_version(
    code: str, known: Collection[str], request: SearchRequest, served: Served
) -> None:
    """Refuse a version that is not among the known ones, with the reason."""
    if code in known:
        return
    if not request.confinement.allows_version(code, served.languages.get(code)):
        raise request.confinement.refusal("versions", f"version {code} may not be read")
    if code in served.withheld:
        raise RequestError(
            "version-withheld",
            "versions",
            f"version {code} may not be served: its licence, its enabled_for_rag or "
            "RAG_ALLOWED_VERSIONS forbids it",
        )
    near = near_names(code, known) or sorted(known)[:10]
    raise RequestError(
        "unknown-version",
        "versions",
        f"version {code} is not in the active release. {_released(near)}",
        near,
    )


def named_book(name: str) -> str:
    """Return the USFM code of a book given by its code, or by its name in any of the languages.

    :raises RequestError: there is no such book; names similar ones.
    """
    code = book_code(name) or book_code(name, Language.PORTUGUESE)
    if code is not None:
        return code
    names = {
        display_name(code, language): code
        for language in (Language.ENGLISH, Language.PORTUGUESE)
        for code in SCRIPTURE
    }
    near = near_names(name, [*names, *SCRIPTURE])
    raise RequestError(
        "unknown-book",
        "books",
        f"there is no book {name!r}{did_you_mean(near)}",
        near or [*SCRIPTURE],
    )


def no_such_language(what: str, language: str, known: Iterable[str]) -> RequestError:
    """The error for a language that nothing is in; names the languages that exist."""
    languages = sorted(set(known))
    return RequestError(
        "unknown-language",
        "language",
        f"no {what} is in language {language}. Known languages: {', '.join(languages) or 'none'}",
        languages,
    )


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that are similar to an unknown one, or else contain it."""
    folded = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    containing = [one for one in folded if name.casefold() in one]
    return [folded[one] for one in found or containing[:3]]


def _released(near: list[str]) -> str:
    return f"It has, for example, {', '.join(near)}." if near else "It has no version."


def did_you_mean(near: Sequence[str]) -> str:
    """The end of a sentence, and one that suggests these names, if any."""
    return f". Did you mean {', '.join(near)}?" if near else ""
