"""What an explanation consists of. Plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.retrieval.hits import Hit
from rag_assets.vectors.search_plan import SearchPlan


@dataclass(frozen=True)
class Ranks:
    """Where a passage stands after each step, from 1; ``None`` where it is not.

    :param exact: by distance, among all rows of its corpus that pass the filter.
    :param vector: among the rows that the search's plan found in its corpus.
    :param text: among those that the words found.
    :param fused: among the candidates of all corpora, vectors and words together.
    """

    exact: int | None = None
    vector: int | None = None
    text: int | None = None
    fused: int | None = None


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
    """

    query: str
    release: int
    plan: SearchPlan
    documents_plan: SearchPlan | None
    hits: tuple[ExplainedHit, ...]
