"""What there is to search, and passages by their place: responses of the API and of its tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rag_assets.api.models import AnyPlan, plans_model
from rag_assets.bible.books import Language, display_name
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.contents import Contents
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.passages import Fetched, SideBySide

MAX_LISTED = 1000


class VersionModel(BaseModel):
    """A Bible version."""

    version: str
    name: str
    language: str = Field(description="A BCP 47 tag.")
    licence: str
    verses: int
    books: list[str] = Field(description="USFM codes, in canonical order.")


class BookModel(BaseModel):
    """A book that at least one of the versions has."""

    book: str = Field(description="USFM code.")
    name: str = Field(description="In English.")
    name_pt: str = Field(description="In Portuguese.")
    versions: int = Field(description="Versions that have it.")
    verses: int = Field(description="In all versions together.")


class LanguageModel(BaseModel):
    """A language, by the first part of its tags, which is what `language` selects by."""

    language: str
    versions: int
    verses: int
    documents: int
    passages: int


class ListedDocumentModel(BaseModel):
    """A document that can be searched."""

    document: str = Field(description="Its key.")
    title: str
    language: str
    passages: int


class DocumentsModel(BaseModel):
    """The documents that can be searched."""

    documents: int
    passages: int
    listed: list[ListedDocumentModel] = Field(description="Some of them, in order of their keys.")
    next: str | None = Field(description="Give this as `after` for further documents.")


class CorpusResponse(BaseModel):
    """What the active release holds, as far as the client may search it."""

    request_id: str
    release: int
    plan: AnyPlan = Field(description="How a search without a filter reads the tables.")
    versions: list[VersionModel]
    books: list[BookModel]
    languages: list[LanguageModel]
    documents: DocumentsModel | None = Field(description="null if no documents are released.")


def corpus_model(found: Contents, request_id: str) -> CorpusResponse:
    """The model of what can be searched."""
    documents = None
    if found.has_documents:
        documents = DocumentsModel(
            documents=sum(one.documents for one in found.documents),
            passages=sum(one.passages for one in found.documents),
            listed=[
                ListedDocumentModel(
                    document=one.key, title=one.title, language=one.language, passages=one.passages
                )
                for one in found.listed
            ],
            next=found.next,
        )
    return CorpusResponse(
        request_id=request_id,
        release=found.release_id,
        plan=plans_model(found.plan, found.documents_plan),
        versions=[
            VersionModel(**vars(one.named), verses=one.verses, books=list(one.books))
            for one in found.versions
        ],
        books=[
            BookModel(
                book=one.book,
                name=display_name(one.book),
                name_pt=display_name(one.book, Language.PORTUGUESE),
                versions=one.versions,
                verses=one.verses,
            )
            for one in found.books
        ],
        languages=_languages(found),
        documents=documents,
    )


def _languages(found: Contents) -> list[LanguageModel]:
    counts: dict[str, list[int]] = {}
    for version in found.versions:
        _add(counts, version.named.language, (1, version.verses, 0, 0))
    for one in found.documents:
        _add(counts, one.language, (0, 0, one.documents, one.passages))
    return [
        LanguageModel(
            language=language, versions=many[0], verses=many[1], documents=many[2], passages=many[3]
        )
        for language, many in sorted(counts.items())
    ]


def _add(counts: dict[str, list[int]], tag: str, more: Sequence[int]) -> None:
    before = counts.get(primary(tag), [0, 0, 0, 0])
    counts[primary(tag)] = [a + b for a, b in zip(before, more, strict=True)]


class VerseModel(BaseModel):
    """A verse."""

    corpus: Literal["bible"] = "bible"
    asked: bool = Field(description="false for a neighbour that came with `context`.")
    reference: str = Field(description='For people, such as "John 3:16".')
    usfm: str = Field(description='For programs, such as "JHN 3:16".')
    version: str
    language: str
    text: str


class PassageModel(BaseModel):
    """A passage of a document."""

    corpus: Literal["documents"] = "documents"
    document_corpus: str = Field(description="The document corpus, as `corpus` of a search.")
    asked: bool = Field(description="false for a neighbour that came with `context`.")
    reference: str = Field(description="For people: the title, and the page or heading.")
    document: str = Field(description="The document's key.")
    title: str
    page: int | None
    heading: list[str]
    position: int
    language: str
    text: str


class LookupPlan(BaseModel):
    """How the passages were read: by their place, without a search."""

    kind: Literal["lookup"] = "lookup"


class FetchResponse(BaseModel):
    """Passages in their order."""

    request_id: str
    release: int
    plan: LookupPlan = LookupPlan()
    passages: list[Annotated[VerseModel | PassageModel, Field(discriminator="corpus")]]
    next: int | None = Field(description="Give this as `after` for the rest of the document.")


def fetch_model(found: Fetched, request_id: str) -> FetchResponse:
    """The model of fetched passages."""
    return FetchResponse(
        request_id=request_id,
        release=found.release_id,
        passages=[
            _passage(hit, asked=asked)
            for hit, asked in zip(found.passages, found.asked, strict=True)
        ],
        next=found.next,
    )


class VersesResponse(BaseModel):
    """The same verses in several versions."""

    request_id: str
    release: int
    verses: list[VerseModel] = Field(description="In the order of the versions.")
    missing: list[str] = Field(description="Versions that do not have the reference.")


def verses_model(found: SideBySide, request_id: str) -> VersesResponse:
    """The model of verses side by side."""
    return VersesResponse(
        request_id=request_id,
        release=found.release_id,
        verses=[_verse(hit, asked=True) for hit in found.verses],
        missing=list(found.missing),
    )


def _verse(hit: Hit, *, asked: bool) -> VerseModel:
    return VerseModel(
        asked=asked,
        reference=hit.reference,
        usfm=hit.usfm,
        version=hit.version,
        language=hit.language,
        text=hit.text,
    )


def _passage(hit: Hit, *, asked: bool) -> VerseModel | PassageModel:
    if hit.document is None:
        return _verse(hit, asked=asked)
    place = hit.document
    return PassageModel(
        asked=asked,
        reference=hit.reference,
        document=place.key,
        document_corpus=place.corpus,
        title=place.title,
        page=place.page,
        heading=list(place.heading),
        position=place.position,
        language=hit.language,
        text=hit.text,
    )
