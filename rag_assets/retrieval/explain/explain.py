"""Explain a search: why each hit is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection
from rag_assets.retrieval.explain.hits import explained_hits
from rag_assets.retrieval.explain.model import Explanation
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import traced
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import exact_ranks

Vector = NDArray[np.float32]


def explain(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    vector: Vector,
    *,
    large_vector: Vector | None = None,
    timeout_ms: int = 0,
) -> Explanation:
    """Search as :func:`rag_assets.retrieval.search.search` does, and explain the answer.

    Compares the query with every row that the request selects, as exact search does.

    :param timeout_ms: time limit of each statement; 0 for none.
    :raises RequestError: the request cannot be answered.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    trace = traced(
        connection, settings, served, request, vector, large_vector, timeout_ms=timeout_ms
    )
    best = [members[0] for members in trace.ranked.groups[: len(trace.ranked.hits)]]
    exact = [
        exact_ranks(
            connection,
            found.side.target.table,
            vector,
            found.side.filter,
            [row for place, row in best if place == corpus],
            timeout_ms=timeout_ms,
        )
        for corpus, found in enumerate(trace.results)
    ]
    plan, *others = [found.plan for found in trace.results]
    return Explanation(
        query=request.text or "",
        release=served.release_id,
        plan=plan,
        documents_plan=others[0] if others else None,
        hits=explained_hits(
            connection, settings, served.release_id, trace, exact, timeout_ms=timeout_ms
        ),
    )
