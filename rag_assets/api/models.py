"""The API's requests and responses, which its OpenAPI document describes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rag_assets.api.hit_models import AnyHit
from rag_assets.retrieval.cross_encoder import Outcome
from rag_assets.retrieval.request import (
    CORPUS_NAME,
    MAX_CONTEXT,
    MAX_TEXT_DEPTH,
    MAX_TOP_K,
    SearchRequest,
)
from rag_assets.retrieval.search import SearchResult
from rag_assets.retrieval.snippets import Snippets
from rag_assets.vectors.search_plan import SearchPlan

MAX_QUERY = 8000
MAX_NAMES = 200
MAX_EVAL = 1000

Name = Annotated[str, Field(min_length=1, max_length=100)]
CorpusName = Annotated[str, Field(pattern=CORPUS_NAME)]
DocumentKey = Annotated[str, Field(min_length=1, max_length=400)]
Component = Annotated[float, Field(allow_inf_nan=False)]
CrossEncoderWish = Annotated[
    bool | None,
    Field(
        description="Re-rank the hits with the cross-encoder of RAG_RERANK_URL. Unset: if there is "
        "one and `query` is given."
    ),
]
Vector = Annotated[list[Component], Field(min_length=1, max_length=4000)]

EXAMPLES = {
    "en": {
        "summary": "A question in English",
        "value": {"query": "a great fish swallowed Jonah", "top_k": 5, "language": "en"},
    },
    "pt": {
        "summary": "Uma pergunta em português",
        "value": {
            "query": "o bom pastor conduz a águas tranquilas",
            "top_k": 5,
            "language": "pt",
            "books": ["Salmos"],
        },
    },
    "collapsed": {
        "summary": "One hit per verse, with full text search",
        "value": {"query": "where you go I will go", "hybrid": True, "collapse": True},
    },
}


class SimpleRequest(BaseModel):
    """The parameters that fit in a URL: everything but vectors."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(None, max_length=MAX_QUERY, description="What to look for, in words.")
    top_k: int = Field(10, ge=1, le=MAX_TOP_K, description="How many hits.")
    corpus: CorpusName = Field(
        "both",
        description="What to search: `bible`, a document corpus such as `documents`, or `both`: "
        "the Bible and every document corpus, of which a filter for one kind selects it.",
    )
    versions: list[Name] | None = Field(
        None, min_length=1, max_length=MAX_NAMES, description="Only these Bible versions."
    )
    language: Name | None = Field(
        None, description="Only versions and documents of this language, such as pt."
    )
    books: list[Name] | None = Field(
        None,
        min_length=1,
        max_length=MAX_NAMES,
        description="Only these books, by USFM code or common name.",
    )
    chapter_from: int | None = Field(None, ge=1, le=200, description="First chapter.")
    chapter_to: int | None = Field(None, ge=1, le=200, description="Last chapter.")
    documents: list[DocumentKey] | None = Field(
        None, min_length=1, max_length=MAX_NAMES, description="Only these documents, by their keys."
    )
    min_score: float | None = Field(
        None, ge=-1, le=1, allow_inf_nan=False, description="Minimum cosine similarity."
    )
    rerank: bool = Field(
        False, description="Re-rank the small space's candidates with the large model."
    )
    hybrid: bool = Field(
        False,
        description="Include full text search; needs `query`. A phrase in double quotes is then "
        "required, and a word after a minus excluded.",
    )
    text_weight: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="With `hybrid`: what the words count beside the vector. Unset: the release's.",
    )
    text_depth: int | None = Field(
        None,
        ge=1,
        le=MAX_TEXT_DEPTH,
        description="With `hybrid`: hits of either search to merge, at least. Unset: the "
        "release's.",
    )
    collapse: bool = Field(
        False,
        description="One hit per verse, in its best version; one per document, its best passage.",
    )
    context: int = Field(
        0,
        ge=0,
        le=MAX_CONTEXT,
        description="Passages before and after each document's hit that come with it.",
    )
    snippet: Snippets = Field(
        "part",
        description="What hits show of their passages, with the query's words marked: the part "
        "that matches, the full passage, or none.",
    )
    elements: bool = Field(
        False,
        description="Hits also have their passages as elements of a page, made of their Markdown.",
    )
    cross_encoder: CrossEncoderWish = None

    def plain(self) -> SearchRequest:
        """Convert to a request of :mod:`rag_assets.retrieval`, without vectors."""
        chapters = None
        if self.chapter_from is not None or self.chapter_to is not None:
            chapters = self.chapter_from or 1, self.chapter_to or 200
        return SearchRequest(
            top_k=self.top_k,
            text=self.query,
            versions=None if self.versions is None else tuple(self.versions),
            language=self.language,
            books=None if self.books is None else tuple(self.books),
            chapters=chapters,
            min_score=self.min_score,
            rerank=self.rerank,
            hybrid=self.hybrid,
            text_weight=self.text_weight,
            text_depth=self.text_depth,
            collapse=self.collapse,
            corpus=self.corpus,
            documents=None if self.documents is None else tuple(self.documents),
            context=self.context,
            snippets=self.snippet,
            elements=self.elements,
        )


class RetrieveRequest(SimpleRequest):
    """Either ``query`` or ``vector``, and how to search."""

    model_config = ConfigDict(strict=True)

    vector: Vector | None = Field(
        None, description="The query's vector, in the space of the active release."
    )
    rerank_vector: Vector | None = Field(
        None, description="With `vector`: the query's vector in the large space."
    )


class Timing(BaseModel):
    """Milliseconds."""

    embedding_ms: float
    search_ms: float
    reranking_ms: float | None = Field(description="null if no cross-encoder was called.")
    total_ms: float


class RerankingModel(BaseModel):
    """What the cross-encoder did."""

    outcome: Outcome = Field(
        description="done, or why the hits have the order that they had without it."
    )
    model: str | None
    candidates: int = Field(description="Hits that it was given.")


class PlanModel(BaseModel):
    """How the table was read."""

    kind: Literal["exact", "codes", "ivfflat", "iterative"]
    generation: int | None
    probes: int | None
    lists: int | None
    candidates: int | None


class BothPlansModel(BaseModel):
    """How each corpus' table was read."""

    kind: Literal["both"] = "both"
    bible: PlanModel
    documents: PlanModel


AnyPlan = Annotated[PlanModel | BothPlansModel, Field(discriminator="kind")]


def plan_model(found: SearchResult) -> PlanModel | BothPlansModel:
    """The model of a search's plans."""
    return plans_model(found.plan, found.documents_plan)


def reranking_model(found: SearchResult) -> RerankingModel | None:
    """The model of what the cross-encoder did."""
    if found.reranking is None:
        return None
    done = found.reranking
    return RerankingModel(outcome=done.outcome, model=done.model, candidates=done.candidates)


def plans_model(plan: SearchPlan, documents: SearchPlan | None) -> PlanModel | BothPlansModel:
    """The model of one plan, or of the Bible's and the documents'."""
    if documents is None:
        return _plan(plan)
    return BothPlansModel(bible=_plan(plan), documents=_plan(documents))


def _plan(plan: SearchPlan) -> PlanModel:
    return PlanModel(
        kind=plan.kind,
        generation=plan.generation,
        probes=plan.probes or None,
        lists=plan.lists or None,
        candidates=plan.candidates or None,
    )


class RetrieveResponse(BaseModel):
    """Hits, best first."""

    request_id: str
    release: int = Field(description="The release that was searched.")
    k_returned: int
    why_fewer: str | None = Field(description="Why there are fewer hits than `top_k`.")
    plan: AnyPlan
    reranking: RerankingModel | None = Field(description="null if no cross-encoder was called.")
    timing: Timing
    hits: list[AnyHit]


class EvalQuery(BaseModel):
    """One query, and what one of the hits should be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1, max_length=MAX_QUERY)
    expected: list[Name] = Field(
        default_factory=list,
        max_length=MAX_NAMES,
        description='Verses such as "RUT 1:16", or keys of documents.',
    )
    not_first: list[Name] = Field(
        default_factory=list, max_length=MAX_NAMES, description="What must not be the first hit."
    )


class EvalRequest(BaseModel):
    """Queries, and how to search with all of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    queries: list[EvalQuery] = Field(min_length=1, max_length=MAX_EVAL)
    top_k: int = Field(10, ge=1, le=MAX_TOP_K)
    corpus: CorpusName = "bible"
    versions: list[Name] | None = Field(None, min_length=1, max_length=MAX_NAMES)
    language: Name | None = None
    hybrid: bool = False
    text_weight: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    text_depth: int | None = Field(None, ge=1, le=MAX_TEXT_DEPTH)
    collapse: bool = False
    cross_encoder: CrossEncoderWish = None

    def plain(self) -> SearchRequest:
        """Convert to a request of :mod:`rag_assets.retrieval`."""
        return SearchRequest(
            top_k=self.top_k,
            corpus=self.corpus,
            versions=None if self.versions is None else tuple(self.versions),
            language=self.language,
            hybrid=self.hybrid,
            text_weight=self.text_weight,
            text_depth=self.text_depth,
            collapse=self.collapse,
        )


class EvalResult(BaseModel):
    """The result of one query."""

    query: str
    expected: list[str]
    hits: list[str] = Field(description="USFM references and keys of documents, best first.")
    found_at: int | None = Field(description="Rank of the first expected one.")
    latency_ms: float
    wrong_first: bool = Field(description="The first hit is one that must not be first.")


class EvalResponse(BaseModel):
    """The results of all queries.

    ``hit_at_k`` is the share of the queries with an expectation that met it; ``coverage`` is the
    share of all queries that returned ``top_k`` hits. A figure that ``top_k`` hits cannot show is
    null.
    """

    request_id: str
    release: int
    queries: int
    expecting: int
    hit_at_k: float | None
    hit_at_1: float | None
    hit_at_10: float | None
    mrr_at_10: float | None
    ndcg_at_10: float | None
    recall_at_100: float | None
    wrong_first: int = Field(description="Queries whose first hit must not be first.")
    coverage: float
    p50_ms: float
    p95_ms: float
    results: list[EvalResult]


class Ready(BaseModel):
    """The service can answer."""

    status: Literal["ready"] = "ready"
    release: int = Field(description="The release that is served.")
    database: Literal["answers"] = "answers"
    searched: Literal["primary", "replica"] | None = Field(
        None, description="The server that is searched, if there is a replica."
    )


class Problem(BaseModel):
    """An error, as RFC 9457 describes problem details."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str


def check_exactly_one(query: str | None, vector: object) -> str | None:
    """What is wrong with the combination of query and vector, if anything."""
    if query is not None and vector is not None:
        return "give query or vector, not both"
    if query is None and vector is None:
        return "give query, or a vector in the space of the active release"
    if query is not None and not query.strip():
        return "the query is empty: write what you look for"
    return None
