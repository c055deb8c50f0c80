"""Health, readiness and metrics."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse

from rag_assets.api.models import Problem, Ready
from rag_assets.api.security import service_of
from rag_assets.api.service import Service

router = APIRouter(tags=["service"])
ServiceOf = Annotated[Service, Depends(service_of)]


@router.get("/healthz", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Alive; nothing else is asked."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="Can it answer?",
    response_model_exclude_none=True,
    responses={503: {"model": Problem, "description": "Not now, and why."}},
)
async def ready(service: ServiceOf) -> Ready:
    """Ready when a release is served and the database answers on a pooled connection."""
    source = service.sources.to_search()
    release_id = source.current.served.release_id
    await service.search(source, lambda connection: connection.execute("SELECT 1").fetchone())
    return Ready(release=release_id, searched=source.name if service.sources.replica else None)


@router.get(
    "/metrics/prometheus/",
    summary="Metrics in Prometheus' text format",
    response_class=PlainTextResponse,
)
async def metrics(service: ServiceOf) -> Response:
    """The API's own metrics, over all workers, followed by those read from the databases."""
    operations = await service.operations_exposition()
    service.read_gauges()
    return Response(
        service.metrics.exposition() + operations,
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )
