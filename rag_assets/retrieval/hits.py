"""What a search returns for each passage found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.bible.books import Language, display_name
from rag_assets.retrieval.rendering import Element
from rag_assets.retrieval.snippets import Part
from rag_assets.retrieval.sql.chunks import FoundChunk
from rag_assets.retrieval.sql.verses import FoundVerse
from rag_assets.vectors.sql.tables import DOCUMENTS, Corpus


@dataclass(frozen=True)
class DocumentPlace:
    """The document of a hit, and the place in it.

    :param page: the page that the passage begins on, from 1; ``None`` without pages.
    :param heading: headings above it, outermost first.
    :param position: position of the passage in its document, from 1.
    :param corpus: the document corpus.
    :param before: texts of the passages before it, if requested; ``after``: of those after it.
    """

    key: str
    title: str
    page: int | None
    heading: tuple[str, ...]
    position: int
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    corpus: str = DOCUMENTS


@dataclass(frozen=True)
class Hit:
    """One hit; ``reference``, such as "John 3:16", is in its language.

    :param usfm: the reference for programs; empty for a document, like ``version``.
    :param score: cosine similarity, from -1 to 1, in the space that ranked the hits.
    :param corpus: ``documents`` for a document of any corpus.
    :param source: the search that found it: vector, text, or both.
    :param also: the other versions in which the verse was found, if hits are collapsed.
    :param document: ``None`` for a verse.
    :param snippet: what to show of the text; ``None`` unless requested.
    :param elements: the text as elements of a page; ``None`` unless requested.
    :param relevance: the score of the cross-encoder, if one ranked the hit.
    """

    rank: int
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    score: float
    source: str
    also: tuple[str, ...]
    corpus: Corpus = "bible"
    document: DocumentPlace | None = None
    snippet: tuple[Part, ...] | None = None
    elements: tuple[Element, ...] | None = None
    relevance: float | None = None


def verse_hit(rank: int, members: Sequence[FoundVerse], *, score: float, source: str) -> Hit:
    """A hit for a verse.

    :param members: the best row, then the other rows of the verse.
    """
    verse = members[0]
    portuguese = verse.language.lower().startswith("pt")
    name = display_name(verse.book, Language.PORTUGUESE if portuguese else Language.ENGLISH)
    end = f"-{verse.verse_end}" if verse.verse_end != verse.verse else ""
    place = f"{verse.chapter}:{verse.verse}{end}"
    return Hit(
        rank=rank,
        reference=f"{name} {place}",
        usfm=f"{verse.book} {place}",
        version=verse.version_code,
        language=verse.language,
        text=verse.text,
        score=score,
        source=source,
        also=tuple(dict.fromkeys(member.version_code for member in members[1:])),
    )


def chunk_hit(rank: int, chunk: FoundChunk, *, score: float, source: str) -> Hit:
    """A hit for a document's passage."""
    return Hit(
        rank=rank,
        reference=_reference(chunk),
        usfm="",
        version="",
        language=chunk.language,
        text=chunk.text,
        score=score,
        source=source,
        also=(),
        corpus="documents",
        document=DocumentPlace(
            chunk.document_key,
            chunk.title,
            chunk.page,
            tuple(chunk.heading),
            chunk.position,
            corpus=chunk.corpus,
        ),
    )


def _reference(chunk: FoundChunk) -> str:
    """The title, with the page or, without pages, the innermost heading."""
    if chunk.page is not None:
        return f"{chunk.title}, p. {chunk.page}"
    if chunk.heading and chunk.heading[-1] != chunk.title:
        return f"{chunk.title}: {chunk.heading[-1]}"
    return chunk.title
