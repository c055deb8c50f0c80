"""Explain a search: why each hit is there, and where expected passages stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.explain.expectation import Context, expectation
from rag_assets.retrieval.explain.expected import expected_passages, where_they_stand
from rag_assets.retrieval.explain.hits import explained_hits
from rag_assets.retrieval.explain.model import Explanation
from rag_assets.retrieval.explain.standing import Corpus
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import opened_search, traced
from rag_assets.retrieval.showing import shown
from rag_assets.settings.model import Settings

Vector = NDArray[np.float32]


def explain(
    connection: Connection,
    settings: Settings,
    served: Served,
    request: SearchRequest,
    vector: Vector,
    *,
    large_vector: Vector | None = None,
    expect: Sequence[str] = (),
    timeout_ms: int = 0,
) -> Explanation:
    """Search as :func:`rag_assets.retrieval.search.search` does, and explain the answer.

    Compares the query with every row that the request selects, as exact search does.

    :param expect: passages that should be in the answer, as :func:`expectation` reads them.
    :param timeout_ms: time limit of each statement; 0 for none.
    :raises RequestError: the request cannot be answered, or an expected passage cannot be read.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    wanted = [expectation(one) for one in expect]
    trace = traced(
        connection, settings, served, request, vector, large_vector, timeout_ms=timeout_ms
    )
    context = Context(connection, settings, served, request, timeout_ms)
    passages = expected_passages(context, wanted, trace)
    best = [members[0] for members in trace.ranked.groups[: len(trace.ranked.hits)]]
    standings = [
        Corpus(found, depth, timeout_ms).standing(
            connection,
            request,
            vector,
            [row for group in passages for one in group if one.corpus == found.side.corpus
             for row in one.ids],
            hits=[row for corpus, row in best if corpus == place],
        )
        for place, (found, depth) in enumerate(zip(trace.results, trace.depths, strict=True))
    ]  # fmt: skip
    plan, *others = [found.plan for found in trace.results]
    hits = shown(connection, request, trace.ranked.hits, timeout_ms)
    return Explanation(
        query=request.text or "",
        release=served.release_id,
        plan=plan,
        documents_plan=others[0] if others else None,
        hits=explained_hits(
            connection, settings, served.release_id, trace, hits, standings, timeout_ms=timeout_ms
        ),
        expected=where_they_stand(context, passages, trace, standings),
    )


def explain_text(
    database: Database,
    settings: Settings,
    query: str,
    request: SearchRequest,
    *,
    expect: Sequence[str] = (),
) -> Explanation:
    """Embed one query in the released space and explain its search, on a new connection.

    :raises NotReleasedError: nothing is released yet.
    :raises RagAssetsError: as for :func:`explain` and the embedder.
    """
    for one in expect:
        expectation(one)  # before paying for the embedding
    asked = replace(request, text=query)
    with opened_search(database, settings, [asked]) as opened:
        ((vector, large),) = opened.vectors
        return explain(
            opened.connection, settings, opened.served, asked, vector,
            large_vector=large, expect=expect,
        )  # fmt: skip
