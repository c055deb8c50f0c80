"""``/api/v1/ai/rag/retrieve`` and ``/api/v1/ai/rag/eval``."""

import time
from dataclasses import asdict, replace
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Body, Depends, Query, Request, Response

from rag_assets.api import request_id as ids
from rag_assets.api.hit_models import hit_model
from rag_assets.api.json_body import JsonRoute, direct
from rag_assets.api.models import (
    EXAMPLES,
    EvalRequest,
    EvalResponse,
    EvalResult,
    Problem,
    RetrieveRequest,
    RetrieveResponse,
    SimpleRequest,
    Timing,
    check_exactly_one,
    plan_model,
    reranking_model,
)
from rag_assets.api.security import Guard, confinement_of, service_of
from rag_assets.api.service import Service
from rag_assets.api.sources import Source
from rag_assets.errors import RequestError
from rag_assets.retrieval.confinement import Confinement
from rag_assets.retrieval.cross_encoder import is_wanted, with_candidates
from rag_assets.retrieval.evaluation import evaluated, evaluation_summary, name_of
from rag_assets.retrieval.query_vectors import Vector
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult, search
from rag_assets.retrieval.sides import needs_lookup, sides_of
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import DOCUMENTS

PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The body is not JSON.",
        401: "No API key, or one that is not known.",
        403: "The key lacks a scope or may not read this, or policy withholds a version.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        422: "The request cannot be answered so.",
        429: "The key's rate is used up: wait for Retry-After seconds.",
        502: "The embedding provider fails.",
        503: "Nothing is released, or the database or provider is down: wait for Retry-After.",
        504: "The provider or the search took too long.",
    }.items()
}

PREFIX = "/api/v1/ai/rag"
RETRIEVE = f"{PREFIX}/retrieve"

router = APIRouter(prefix=PREFIX, tags=["retrieval"], responses=PROBLEMS, route_class=JsonRoute)
ServiceOf = Annotated[Service, Depends(service_of)]


@router.post(
    "/retrieve",
    response_model=RetrieveResponse,
    dependencies=[Depends(Guard("read"))],
    summary="The passages nearest to a query or a vector",
)
@direct(RetrieveRequest)
async def retrieve(
    request: Request,
    service: ServiceOf,
    asked: Annotated[RetrieveRequest, Body(openapi_examples=EXAMPLES)],
) -> Response:
    """Search what is released. Give `query` or `vector`, never both."""
    return _json(await retrieved(request, service, asked))


@router.get(
    "/retrieve",
    response_model=RetrieveResponse,
    dependencies=[Depends(Guard("read"))],
    summary="The same for a simple query",
)
async def retrieve_simply(
    request: Request, service: ServiceOf, asked: Annotated[SimpleRequest, Query()]
) -> Response:
    """Search with parameters only; vectors need POST."""
    given = RetrieveRequest(**asked.model_dump())
    return _json(await retrieved(request, service, given))


@router.post(
    "/eval",
    dependencies=[Depends(Guard("read"))],
    summary="How well queries find what they should",
)
async def evaluate(request: Request, service: ServiceOf, asked: EvalRequest) -> EvalResponse:
    """Run each query as a search would; hits, latency, hit@k, P50, P95 and coverage."""
    source = service.sources.to_search()
    served = source.current.served
    wanted = replace(
        asked.plain(),
        confinement=confinement_of(request),
        cross_encoder=is_wanted(service.settings, asked.cross_encoder),
    )
    await _check(service, source, wanted, served)
    if not all(item.query.strip() for item in asked.queries):
        raise RequestError("no-query", "queries", "a query is empty: write what you look for")
    results = []
    for item in asked.queries:
        started = time.perf_counter()
        found = await _search(service, source, served, replace(wanted, text=item.query))
        elapsed = (time.perf_counter() - started) * 1000
        results.append(
            evaluated(
                item.query,
                item.expected,
                [name_of(hit) for hit in found.hits],
                elapsed,
                not_first=item.not_first,
            )
        )
    return EvalResponse(
        request_id=ids.request_id.get(),
        release=served.release_id,
        **asdict(evaluation_summary(results, top_k=asked.top_k)),
        results=[EvalResult(**asdict(result)) for result in results],
    )


def _json(answer: RetrieveResponse) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


async def retrieved(request: Request, service: Service, asked: RetrieveRequest) -> RetrieveResponse:
    """Search, measure and log. The middleware counts requests, so that refusals count too."""
    started = time.perf_counter()
    try:
        answer, found = await _retrieve(service, asked, confinement_of(request), started)
        request.state.corpus, request.state.plan = asked.corpus, found.plan_name
        service.metrics.returned.observe(len(found.hits))
        service.metrics.latency.labels("search").observe(found.search_ms / 1000)
        service.metrics.latency.labels("embedding").observe(answer.timing.embedding_ms / 1000)
        request.state.log_fields = {
            "release": found.release_id,
            "plan": found.plan_name,
            "k": len(found.hits),
            "search_ms": round(found.search_ms, 1),
            **({"reranking": found.reranking.outcome} if found.reranking else {}),
            "key": getattr(request.state, "key_id", "-"),
        }
        return answer
    except Exception:
        # A label for each name that a client makes up would let the metrics grow without end.
        known = asked.corpus in ("bible", "both", DOCUMENTS)
        request.state.corpus = asked.corpus if known else "other"
        raise
    finally:
        service.metrics.latency.labels("total").observe(time.perf_counter() - started)


async def _retrieve(
    service: Service, asked: RetrieveRequest, confinement: Confinement, started: float
) -> tuple[RetrieveResponse, SearchResult]:
    source, served, wanted, vector, large = await prepared(service, asked, confinement)
    before = time.perf_counter()
    found = await _search(service, source, served, wanted, vector, large, sampled=True)
    now = time.perf_counter()
    answer = RetrieveResponse(
        request_id=ids.request_id.get(),
        release=found.release_id,
        k_returned=len(found.hits),
        why_fewer=found.why_fewer or None,
        plan=plan_model(found),
        reranking=reranking_model(found),
        timing=Timing(
            embedding_ms=round(found.embedding_ms, 3),
            search_ms=round(found.search_ms, 3),
            reranking_ms=round(found.reranking.ms, 3) if found.reranking else None,
            total_ms=round((now - min(started, before)) * 1000, 3),
        ),
        hits=[hit_model(hit) for hit in found.hits],
    )
    return answer, found


async def prepared(
    service: Service, asked: RetrieveRequest, confinement: Confinement
) -> tuple[Source, Served, SearchRequest, Vector | None, Vector | None]:
    """Where to search, what, for which request, and the vectors that the client gave.

    :raises RequestError: the request cannot be answered.
    """
    if wrong := check_exactly_one(asked.query, asked.vector):
        raise RequestError("query-or-vector", "query", wrong)
    source = service.sources.to_search()
    served = source.current.served
    wanted = replace(
        asked.plain(),
        confinement=confinement,
        cross_encoder=is_wanted(
            service.settings, asked.cross_encoder, query=asked.query is not None
        ),
    )
    await _check(service, source, wanted, served)  # before paying for the embedding
    vector = _given(asked.vector, served.target.table.space, "vector")
    large = None
    if asked.rerank_vector is not None and served.large_space is not None:
        large = _given(asked.rerank_vector, served.large_space, "rerank_vector")
    return source, served, wanted, vector, large


async def _check(service: Service, source: Source, wanted: SearchRequest, served: Served) -> None:
    """Refuse requests that cannot be answered; uses the database only if a lookup is needed."""
    if needs_lookup(wanted, served):
        timeout_ms = service.settings.rag_api_statement_timeout_ms
        await service.search(
            source,
            lambda connection: sides_of(connection, wanted, served, timeout_ms=timeout_ms),
            timeout_ms=0,
        )
    else:
        sides_of(None, wanted, served)


async def _search(
    service: Service,
    source: Source,
    served: Served,
    wanted: SearchRequest,
    vector: Vector | None = None,
    large: Vector | None = None,
    *,
    sampled: bool = False,
) -> SearchResult:
    """Search, after embedding the query unless its vector is given, and re-rank.

    :param sampled: the search is a user's, which may be repeated exactly in the background.
    """
    started = time.perf_counter()
    given, large = await embedded(service, served, wanted, vector, large)
    embedding_ms = (time.perf_counter() - started) * 1000
    wide = with_candidates(service.settings, wanted)
    found = await service.search(
        source,
        lambda connection: search(
            connection,
            service.settings,
            served,
            wide,
            given,
            large_vector=large,
            timeout_ms=service.settings.rag_api_statement_timeout_ms,
        ),
        timeout_ms=0,  # a search limits its own statements
    )
    if sampled:
        service.sample(source, served, wanted, found, given, large)
    found = await service.reranked(wanted, found)  # without a connection: it may take a second
    return replace(found, embedding_ms=embedding_ms)


async def embedded(
    service: Service,
    served: Served,
    wanted: SearchRequest,
    vector: Vector | None,
    large: Vector | None,
) -> tuple[Vector, Vector | None]:
    """The query's vectors: those that were given, or its text's."""
    if vector is None and wanted.text is not None:
        vector = await service.query_vector(served.target.table.space, wanted.embedded_text)
        if wanted.rerank and served.large_space is not None:
            large = await service.query_vector(served.large_space, wanted.embedded_text)
    if vector is None:
        raise RequestError("query-or-vector", "query", "give query or vector")
    return vector, large


def _given(components: list[float] | None, space: Space, field: str) -> Vector | None:
    """The client's vector, normalised, if it has the space's dimension and a direction."""
    if components is None:
        return None
    spec = space.spec
    if len(components) != spec.dimensions:
        raise RequestError(
            "wrong-dimension",
            field,
            f"{field} has {len(components)} dimensions, the released space has "
            f"{spec.dimensions} ({spec})",
        )
    vector = np.asarray(components, dtype=np.float64)  # squares overflow float32 easily
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise RequestError(
            "no-direction", field, f"{field} is zero or too large: it has no direction"
        )
    return (vector / norm).astype(np.float32)
