"""A hit, as the API's OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.rendering import Element
from rag_assets.retrieval.snippets import Part

Snippet = Annotated[
    tuple[Part, ...] | None,
    Field(
        description="What to show of the passage, in parts; `match` is true for words of the "
        "query. The parts are text, not HTML. null for `snippet: none`."
    ),
]
Elements = Annotated[
    tuple[Element, ...] | None,
    Field(description="With `elements`: the passage as elements of a page, in document order."),
]
Relevance = Annotated[
    float | None,
    Field(description="The cross-encoder's score, if it ranked the hits; on its own scale."),
]


class HitModel(BaseModel):
    """A verse."""

    rank: int
    corpus: Literal["bible"] = "bible"
    reference: str = Field(description='For people, such as "John 3:16", in the hit\'s language.')
    usfm: str = Field(description='For programs, such as "JHN 3:16".')
    version: str
    language: str
    text: str = Field(description="The whole passage, whatever `snippet` is.")
    snippet: Snippet
    elements: Elements
    score: float = Field(description="Cosine similarity, from -1 to 1.")
    relevance: Relevance
    source: str = Field(description="What found it: vector, text or both.")
    also: list[str] = Field(description="With `collapse`: other versions of the verse found.")


class DocumentHitModel(BaseModel):
    """A passage of a document."""

    rank: int
    corpus: Literal["documents"] = "documents"
    document_corpus: str = Field(description="The document corpus, as `corpus` of a request.")
    reference: str = Field(description="For people: the title, and the page or heading.")
    document: str = Field(description="The document's key.")
    title: str
    page: int | None = Field(description="The page that it begins on, from 1, if there are pages.")
    heading: list[str] = Field(description="Headings above it, the outermost first.")
    position: int = Field(description="Position of the passage in its document, from 1.")
    language: str
    text: str = Field(description="The whole passage, whatever `snippet` is.")
    snippet: Snippet
    elements: Elements
    score: float = Field(description="Cosine similarity, from -1 to 1.")
    relevance: Relevance
    source: str = Field(description="What found it: vector, text or both.")
    before: list[str] = Field(description="With `context`: the passages before it, in order.")
    after: list[str] = Field(description="With `context`: the passages after it, in order.")


AnyHit = Annotated[HitModel | DocumentHitModel, Field(discriminator="corpus")]


def hit_model(hit: Hit) -> HitModel | DocumentHitModel:
    """The model of a hit."""
    if hit.document is None:
        return HitModel(**vars(hit))
    place = hit.document
    return DocumentHitModel(
        rank=hit.rank,
        reference=hit.reference,
        document=place.key,
        document_corpus=place.corpus,
        title=place.title,
        page=place.page,
        heading=list(place.heading),
        position=place.position,
        language=hit.language,
        text=hit.text,
        snippet=hit.snippet,
        elements=hit.elements,
        score=hit.score,
        relevance=hit.relevance,
        source=hit.source,
        before=list(place.before),
        after=list(place.after),
    )
