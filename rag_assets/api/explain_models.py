"""The request and response of ``/api/v1/explain``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from rag_assets.api.hit_models import DocumentHitModel, HitModel, hit_model
from rag_assets.api.models import AnyPlan, RetrieveRequest, plans_model
from rag_assets.retrieval.explain.model import Expected, ExplainedHit, Explanation, Stage
from rag_assets.vectors.sql.tables import Corpus

MAX_EXPECTED = 20
Expectations = list[Annotated[str, Field(min_length=1, max_length=450)]]
EXPECT: Expectations = Field(
    default_factory=list,
    max_length=MAX_EXPECTED,
    description='Verses such as "Jonah 1:17", in any version or in one ("EN_SAMPLE Jonah 1:17"), '
    'or keys of documents, with a passage\'s position after # ("manual.pdf#2").',
)


class ExplainRequest(RetrieveRequest):
    """A search, and the passages that are expected in its answer."""

    expect: Expectations = EXPECT


class RanksModel(BaseModel):
    """Where a passage stands after each step of the search, from 1; null where it is not."""

    exact: int | None = Field(description="By distance, among all rows that the filter passes.")
    vector: int | None = Field(description="Among the rows that the plan found.")
    text: int | None = Field(description="Among the rows that the words found.")
    fused: int | None = Field(description="Among all candidates, of both corpora.")
    grouped: int | None = Field(description="Of the hit that represents it, also beyond `top_k`.")


class WhyModel(BaseModel):
    """Where a hit comes from, and how it was found."""

    source: str = Field(
        description="The file, below the folder of the Bibles or the inbox; a version's code if "
        "its folder is not on this machine."
    )
    line: int | None = Field(description="Of a verse in its file, from 1.")
    page: int | None = Field(description="Of a document, from 1, if it has pages.")
    text_hash: str = Field(description="SHA-256 of the embedded text, in hexadecimal digits.")
    run_id: str = Field(description="The run that wrote the vector.")
    model: str = Field(description="Provider and model of the space that was searched.")
    cost_usd: float | None = Field(
        description="Mean cost of a text that the run requested; null if it requested none, or the "
        "price is unknown."
    )
    generation: int | None = Field(description="Of the index; null if none was read.")
    release: int
    ranks: RanksModel


class ExplainedHitModel(HitModel):
    """A verse, and why it is there."""

    why: WhyModel


class ExplainedDocumentHitModel(DocumentHitModel):
    """A passage of a document, and why it is there."""

    why: WhyModel


class PlanRankModel(BaseModel):
    """Where a passage stands in one plan of search that the release has."""

    kind: Literal["exact", "codes", "ivfflat", "iterative"]
    plan: str = Field(description='For people, such as "ivfflat, 25 of 310 lists, 200 candidates".')
    rank: int | None
    used: bool = Field(description="Whether the search used this plan.")


class ExpectedModel(BaseModel):
    """Where an expected passage stands, and where it stopped if it is not in the answer."""

    passage: str = Field(description="As it was asked for.")
    reference: str = Field(
        description='The passage that this is about, such as "EN_SAMPLE Jonah 1:17": of a verse '
        "in several versions, each."
    )
    corpus: Corpus
    found: bool = Field(description="Whether it is in the answer.")
    stage: Stage = Field(description="Where it stopped, or `found`.")
    reason: str = Field(description="One sentence of cause.")
    next_command: str | None = Field(description="The next command to type.")
    score: float | None = Field(description="Cosine similarity, if it has a vector.")
    ranks: RanksModel
    plans: list[PlanRankModel] = Field(description="Its rank in each plan of search.")


class ExplainResponse(BaseModel):
    """Hits, best first, each with why it is there; and where each expected passage stands."""

    request_id: str
    query: str | None
    release: int = Field(description="The release that was searched.")
    plan: AnyPlan
    cross_encoder: bool = Field(
        description="Whether `retrieve` re-ranks these hits by a cross-encoder: ranks are those "
        "before it."
    )
    hits: list[
        Annotated[ExplainedHitModel | ExplainedDocumentHitModel, Field(discriminator="corpus")]
    ]
    expected: list[ExpectedModel]


def explain_model(found: Explanation, request_id: str, *, cross_encoder: bool) -> ExplainResponse:
    """The model of an explanation."""
    return ExplainResponse(
        request_id=request_id,
        query=found.query or None,
        release=found.release,
        plan=plans_model(found.plan, found.documents_plan),
        cross_encoder=cross_encoder,
        hits=[_hit(one) for one in found.hits],
        expected=[_expected(one) for one in found.expected],
    )


def _hit(one: ExplainedHit) -> ExplainedHitModel | ExplainedDocumentHitModel:
    why = WhyModel(**{**vars(one.why), "ranks": RanksModel(**vars(one.why.ranks))})
    model = hit_model(one.hit)
    if isinstance(model, HitModel):
        return ExplainedHitModel(**model.model_dump(), why=why)
    return ExplainedDocumentHitModel(**model.model_dump(), why=why)


def _expected(one: Expected) -> ExpectedModel:
    return ExpectedModel(
        passage=one.passage,
        reference=one.reference,
        corpus=one.corpus,
        found=one.found,
        stage=one.verdict.stage,
        reason=one.verdict.reason,
        next_command=one.verdict.command or None,
        score=one.score,
        ranks=RanksModel(**vars(one.ranks)),
        plans=[PlanRankModel.model_validate(vars(plan)) for plan in one.plans],
    )
