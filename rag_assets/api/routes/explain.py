"""``/api/v1/explain``: why each hit of a search is there, and why another passage is not."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from rag_assets.api import request_id as ids
from rag_assets.api.explain_models import ExplainRequest, ExplainResponse, explain_model
from rag_assets.api.json_body import JsonRoute
from rag_assets.api.routes.retrieve import PROBLEMS, embedded, prepared
from rag_assets.api.security import Guard, confinement_of, service_of
from rag_assets.api.service import Service
from rag_assets.retrieval.explain.explain import explain

EXPLAIN = "/api/v1/explain"
TIMEOUT_MS = 10_000
"""An explanation also searches exactly, which may take longer than a search is allowed to."""

router = APIRouter(tags=["retrieval"], responses=PROBLEMS, route_class=JsonRoute)
ServiceOf = Annotated[Service, Depends(service_of)]


@router.post(
    EXPLAIN, dependencies=[Depends(Guard("read"))], summary="Why a search answers as it does"
)
async def explain_search(
    request: Request, service: ServiceOf, asked: ExplainRequest
) -> ExplainResponse:
    """Search as `retrieve` does; explain each hit, and where expected passages stopped."""
    return await explained(request, service, asked)


async def explained(request: Request, service: Service, asked: ExplainRequest) -> ExplainResponse:
    """Explain a search, and log it."""
    source, served, wanted, given, given_large = await prepared(
        service, asked, confinement_of(request)
    )
    vector, large = await embedded(service, served, wanted, given, given_large)
    timeout_ms = max(TIMEOUT_MS, service.settings.rag_api_statement_timeout_ms)
    found = await service.search(
        source,
        lambda connection: explain(
            connection, service.settings, served, wanted, vector,
            large_vector=large, expect=asked.expect, timeout_ms=timeout_ms,
        ),
        timeout_ms=0,
    )  # fmt: skip
    request.state.log_fields = {
        "release": found.release,
        "k": len(found.hits),
        "key": getattr(request.state, "key_id", "-"),
    }
    return explain_model(found, ids.request_id.get(), cross_encoder=wanted.cross_encoder)
