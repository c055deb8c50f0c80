"""The stages of a search: their spans, and the vectors that re-rank."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from rag_assets.errors import RequestError
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.sides import AnySide
from rag_assets.tracing import Attributes, Span, span
from rag_assets.vectors.sql.tables import VectorTable


def about(request: SearchRequest) -> Attributes:
    """What is known of a search before it begins."""
    return {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": request.corpus,
        "gen_ai.request.top_k": request.top_k,
        "rag_assets.hybrid": request.hybrid,
        "rag_assets.rerank": request.rerank,
    }


def stage(name: str, side: AnySide) -> AbstractContextManager[Span]:
    """The span of one stage in one corpus."""
    about = {"db.system.name": "postgresql", "db.collection.name": side.corpus}
    return span(f"{name} {side.corpus}", about, kind="CLIENT")


def large_of(
    side: AnySide, large_vector: NDArray[np.float32] | None
) -> tuple[VectorTable, NDArray[np.float32]]:
    """The table and the vector that re-rank."""
    if side.large is None:
        of = " of documents" if side.corpus == "documents" else ""
        raise RequestError(
            "no-large-space",
            "rerank",
            f"the active release has no large vectors{of} to re-rank by: leave rerank out",
        )
    if large_vector is None:
        raise RequestError(
            "no-large-vector",
            "rerank_vector",
            f"re-ranking needs a vector in {side.large.space.spec}: give rerank_vector with "
            "vector, or give query",
        )
    return side.large, large_vector


def rows_of(side: AnySide) -> int:
    """How many rows pass the filter, approximately."""
    if side.matching is not None:
        return side.matching
    return sum(side.target.scopes.get(scope, 0) for scope in side.scopes)
