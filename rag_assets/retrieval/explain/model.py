"""What an explanation consists of. Plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_assets.retrieval.hits import Hit
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.tables import Corpus

Stage = Literal[
    "outside_key_scope",
    "not_in_source",
    "refused_by_policy",
    "not_embedded",
    "stale",
    "not_in_release",
    "outside_filter",
    "not_probed",
    "beyond_candidates",
    "excluded_by_words",
    "under_min_score",
    "beyond_top_k",
    "grouped",
    "found",
]
"""How far a passage came, in the order of the steps: each but ``found`` is where it stopped."""


@dataclass(frozen=True)
class Verdict:
    """Where a passage stopped.

    :param reason: one sentence of cause.
    :param command: the next command to type; empty if there is nothing to do.
    """

    stage: Stage
    reason: str
    command: str


@dataclass(frozen=True)
class Ranks:
    """Where a passage stands after each step, from 1; ``None`` where it is not.

    :param exact: by distance, among all rows of its corpus that pass the filter.
    :param vector: among the rows that the search's plan found in its corpus.
    :param text: among those that the words found.
    :param fused: among the candidates of all corpora, vectors and words together.
    :param grouped: of the hit that represents it, even if that is beyond ``top_k``.
    """

    exact: int | None = None
    vector: int | None = None
    text: int | None = None
    fused: int | None = None
    grouped: int | None = None


@dataclass(frozen=True)
class PlanRank:
    """Where a passage stands in one of the plans that the release has for this filter.

    :param plan: as operators read it, such as ``ivfflat, 25 of 1,000 lists, 200 candidates``.
    :param used: whether the search used it.
    """

    kind: str
    plan: str
    rank: int | None
    used: bool


@dataclass(frozen=True)
class Expected:
    """Where an expected passage stands.

    :param passage: as it was asked for; ``reference`` names the one passage that this is about.
    :param score: cosine similarity to the query; ``None`` if it has no vector that was searched.
    :param plans: exact search first.
    """

    passage: str
    reference: str
    corpus: Corpus
    verdict: Verdict
    ranks: Ranks = Ranks()
    score: float | None = None
    plans: tuple[PlanRank, ...] = ()

    @property
    def found(self) -> bool:
        """Whether it is in the answer."""
        return self.verdict.stage == "found"


@dataclass(frozen=True)
class Why:
    """Where a hit comes from, and how it was found.

    :param source: the file, below RAG_BIBLES_DIR or the inbox; the version's code if its folder is
        not on this machine.
    :param line: of a verse, from 1; ``page``: of a document, from 1.
    :param text_hash: SHA-256 of the embedded text, in hexadecimal digits.
    :param run_id: the run that wrote the vector.
    :param model: provider and model of the space that the plan searched.
    :param cost_usd: mean cost of a text that the run requested; ``None`` if it requested none, or
        the price is unknown.
    :param generation: of the index; ``None`` without one.
    """

    source: str
    line: int | None
    page: int | None
    text_hash: str
    run_id: str
    model: str
    cost_usd: float | None
    generation: int | None
    release: int
    ranks: Ranks


@dataclass(frozen=True)
class ExplainedHit:
    """A hit, and why it is there."""

    hit: Hit
    why: Why


@dataclass(frozen=True)
class Explanation:
    """A search, explained.

    :param plan: as for a search result; the Bible's if both corpora were searched.
    :param expected: those of one passage together, the one that came furthest first.
    """

    query: str
    release: int
    plan: SearchPlan
    documents_plan: SearchPlan | None
    hits: tuple[ExplainedHit, ...]
    expected: tuple[Expected, ...] = ()
