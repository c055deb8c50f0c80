"""The sides of a search: the corpora that a request selects, each with its filter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import EVERYTHING, Confinement, primary
from rag_assets.retrieval.hits import Hit, chunk_hit, verse_hit
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served, ServedDocuments, by_language
from rag_assets.retrieval.request import (
    Confined,
    SearchRequest,
    confine,
    corpora,
    did_you_mean,
    document_corpora,
    near_names,
    no_such_language,
)
from rag_assets.retrieval.sql.chunks import (
    CHUNKS,
    FoundChunk,
    chunks_by_corpus,
    documents_by_key,
    keys_near,
)
from rag_assets.retrieval.sql.verses import VERSES, FoundVerse
from rag_assets.retrieval.unreleased import EXPLAINED, document_missing, explained
from rag_assets.vectors.search_plan import RowFilter
from rag_assets.vectors.sql.served import ReleasedText
from rag_assets.vectors.sql.statement import Joined
from rag_assets.vectors.sql.tables import Corpus, VectorTable, bible_table

CHUNKS_PER_DOCUMENT = 5
"""First guess of how many passages of one document rank before the next document's."""

Passage = TypeVar("Passage")


class Side(Protocol[Passage]):
    """One corpus, confined to what a request selects.

    :param scopes: versions, or languages of documents, by which the plan is chosen.
    :param filter: the rows that may be found.
    :param matching: approximate number of rows that pass a further filter; ``None`` without one.
    :param rows_per_hit: rows that one hit may represent if hits are collapsed.
    """

    @property
    def corpus(self) -> Corpus: ...
    @property
    def target(self) -> Target: ...
    @property
    def large(self) -> VectorTable | None: ...
    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def filter(self) -> RowFilter: ...
    @property
    def matching(self) -> int | None: ...
    @property
    def rows_per_hit(self) -> int: ...

    @property
    def languages(self) -> Sequence[str]:
        """First parts of the tags of the languages that are searched."""

    @property
    def text(self) -> ReleasedText: ...
    @property
    def joined(self) -> Joined: ...
    def passage(self, columns: Mapping[str, Any]) -> Passage:
        """The passage of a row, from the columns joined to it."""

    def group(self, passage: Passage) -> Hashable:
        """The key shared by the rows that one hit represents."""

    def hit(self, rank: int, members: Sequence[Passage], *, score: float, source: str) -> Hit:
        """The hit for these rows, which are given best first."""


class BibleSide:
    """Verses of the released versions."""

    corpus: Corpus = "bible"
    joined = VERSES

    def __init__(self, served: Served, confined: Confined) -> None:
        self.target = served.target
        self.large = served.large
        self.scopes = confined.scopes
        self.matching = confined.rows
        self.filter = RowFilter(confined.scopes, confined.books, confined.chapters)
        self.rows_per_hit = len(confined.scopes)  # each verse has at most one row per version
        self.text = served.text
        self.languages = sorted({primary(served.languages[code]) for code in confined.scopes})

    def passage(self, columns: Mapping[str, Any]) -> FoundVerse:
        return FoundVerse(**columns)

    def group(self, passage: FoundVerse) -> Hashable:
        return passage.book, passage.chapter, passage.verse

    def hit(self, rank: int, members: Sequence[FoundVerse], *, score: float, source: str) -> Hit:
        return verse_hit(rank, members, score=score, source=source)


class DocumentsSide:
    """Chunks of the documents: of all, of some, or of those in a language.

    :param languages: requested languages with their chunks; ``None`` for all, including new ones.
    :param documents: ids of the requested documents with their chunks; ``None`` for all.
    :param corpora: the corpora that are searched.
    """

    corpus: Corpus = "documents"
    joined = CHUNKS
    rows_per_hit = CHUNKS_PER_DOCUMENT

    def __init__(
        self,
        served: ServedDocuments,
        languages: Mapping[str, int] | None,
        documents: Mapping[int, int] | None,
        corpora: Sequence[str],
    ) -> None:
        self.target = served.target
        self.large = served.large
        every = served.in_languages(corpora)
        self.scopes = tuple(every if languages is None else languages)
        whole = served.complete and set(corpora) == served.corpora.keys()
        given = (languages, documents, None if whole else every)
        counts = [sum(one.values()) for one in given if one is not None]
        self.matching = min(counts, default=None)
        self.filter = RowFilter(
            None if languages is None else self.scopes,
            documents=None if documents is None else tuple(documents),
            corpora=None if whole else tuple(corpora),
        )
        self.text = served.text
        self.languages = sorted(set(map(primary, self.scopes)))

    def passage(self, columns: Mapping[str, Any]) -> FoundChunk:
        return FoundChunk(**columns)

    def group(self, passage: FoundChunk) -> Hashable:
        return passage.document_id

    def hit(self, rank: int, members: Sequence[FoundChunk], *, score: float, source: str) -> Hit:
        return chunk_hit(rank, members[0], score=score, source=source)


AnySide = Side[Any]


def sides_of(
    connection: Connection | None, request: SearchRequest, served: Served, *, timeout_ms: int = 0
) -> tuple[AnySide, ...]:
    """The sides to search, at least one, confined to what the client may read.

    :param connection: may be ``None`` unless :func:`needs_lookup`.
    :param timeout_ms: time limit of each statement; 0 for none.
    :raises RequestError: something requested is unknown, not released, or withheld by policy.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    try:
        return _sides(connection, request, served, timeout_ms)
    except RequestError as error:
        if connection is None or request.confinement != EVERYTHING:
            raise  # what a confined client may not read is unknown to it
        raise explained(
            connection,
            error,
            bible_table(served.target.table.space),
            release_id=served.release_id,
            versions=request.versions or (),
            released=served.target.scopes,
            bibles_dir=served.bibles_dir,
            timeout_ms=timeout_ms,
        ) from None


def _sides(
    connection: Connection | None, request: SearchRequest, served: Served, timeout_ms: int
) -> tuple[AnySide, ...]:
    sides: list[AnySide] = []
    without: list[RequestError] = []
    for corpus in corpora(request, served):
        try:
            if corpus == "bible":
                sides.append(BibleSide(served, confine(request, served)))
            elif served.documents is not None:
                sides.append(_documents(connection, request, served, served.documents, timeout_ms))
        except RequestError as error:
            if error.kind not in ("unknown-language", "not-for-this-key"):
                raise
            without.append(error)
    if sides:
        return tuple(sides)
    if len(without) == 1 or any(error.kind == "not-for-this-key" for error in without):
        raise without[0]
    languages = [language for error in without for language in error.choices]
    raise no_such_language("version or document", request.language or "", languages)


def needs_lookup(request: SearchRequest, served: Served) -> bool:
    """Whether :func:`sides_of` queries the database: for document keys, a new language, or how far
    something that is not released has come. Pure.

    :raises RequestError: as for :func:`confine`, unless more can be said about it.
    """
    try:
        searched = corpora(request, served)
        if "bible" in searched:
            confine(request, served)
    except RequestError as error:
        if error.kind in EXPLAINED:
            return True
        if error.kind != "unknown-language":
            raise
    if served.documents is None or "documents" not in searched:
        return False
    known = served.documents.in_languages(document_corpora(request, served))
    return request.documents is not None or (
        request.language is not None and primary(request.language) not in known
    )


def _documents(
    connection: Connection | None,
    request: SearchRequest,
    served: Served,
    released: ServedDocuments,
    timeout_ms: int,
) -> DocumentsSide:
    languages = documents = None
    corpora = document_corpora(request, served)
    known = released.in_languages(corpora)
    if request.language is not None:
        languages = _of_language(connection, request, request.language, known, corpora, timeout_ms)
    elif request.confinement.languages is not None:
        languages = _readable(request.confinement.languages, known)
    if request.documents is not None:
        documents = _named(connection, request.documents, request.confinement, corpora, timeout_ms)
    return DocumentsSide(released, languages, documents, corpora)


def _readable(languages: Sequence[str], known: Mapping[str, int]) -> Mapping[str, int]:
    """Chunks in the languages that may be read, by tag; those without chunks included.

    The first document in one of them may be newer than the counts.
    """
    return dict.fromkeys(languages, 0) | {
        tag: rows for tag, rows in known.items() if primary(tag) in languages
    }


def _of_language(
    connection: Connection | None,
    request: SearchRequest,
    language: str,
    known: Mapping[str, int],
    corpora: Sequence[str],
    timeout_ms: int,
) -> Mapping[str, int]:
    """Chunks in a language, by tag."""
    wanted = primary(language)
    if wanted not in known and connection is not None:
        # The first document in a language may be newer than the counts.
        now = chunks_by_corpus(connection, timeout_ms=timeout_ms)
        known = by_language({corpus: now.get(corpus, {}) for corpus in corpora})
    found = {tag: rows for tag, rows in known.items() if primary(tag) == wanted}
    if not found:
        allowed = filter(request.confinement.allows_language, known)
        raise no_such_language("document", language, map(primary, allowed))
    return found


def _named(
    connection: Connection | None,
    keys: Sequence[str],
    may: Confinement,
    corpora: Sequence[str],
    timeout_ms: int,
) -> Mapping[int, int]:
    """Chunks of the documents with these keys, by id.

    One that the client may not read is unknown to it.
    """
    if connection is None:
        raise LookupError("documents are looked up in the database")
    found = documents_by_key(
        connection, keys, languages=may.languages, corpora=corpora, timeout_ms=timeout_ms
    )
    for key in keys:
        if key not in found:
            if may == EVERYTHING and (
                missing := document_missing(connection, key, timeout_ms=timeout_ms)
            ):
                raise missing
            others = keys_near(
                connection, key, languages=may.languages, corpora=corpora, timeout_ms=timeout_ms
            )
            near = near_names(key, others)
            raise RequestError(
                "unknown-document",
                "documents",
                f"there is no searchable document {key!r}{did_you_mean(near)}",
                near,
            )
    return {one.document_id: one.chunks for one in found.values()}
