"""Health, readiness, metrics, and the page to try it out."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse, JSONResponse

from rag_assets.api.problems import MEDIA_TYPE
from rag_assets.api.security import service_of
from rag_assets.api.service import Service
from rag_assets.errors import RagAssetsError
from rag_assets.store.index_builds import builds_in_progress

router = APIRouter(tags=["service"])
ServiceOf = Annotated[Service, Depends(service_of)]
_PAGE = Path(__file__).parents[1] / "playground.html"


@router.get("/healthz", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Alive; nothing else is asked."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="Can it answer?",
    responses={503: {"description": "Not now, and why.", "content": {MEDIA_TYPE: {}}}},
)
async def ready(service: ServiceOf) -> Response:
    """Ready when a release is served and the database answers on a pooled connection."""
    found: dict[str, object] = {}
    try:
        found["release"] = service.current.served.release_id
        await service.in_database(lambda connection: connection.execute("SELECT 1").fetchone())
        found["database"] = "answers"
    except RagAssetsError as error:
        return JSONResponse({"status": "not ready", "why": str(error), **found}, status_code=503)
    return JSONResponse({"status": "ready", **found})


@router.get("/metrics/prometheus/", summary="Metrics in Prometheus' text format")
async def metrics(service: ServiceOf) -> Response:
    """Of all workers together."""
    service.read_gauges()
    try:
        builds = await service.in_database(builds_in_progress)
    except RagAssetsError:
        builds = 0  # the database is away: nothing is being built
    service.metrics.builds.set(builds)
    return Response(
        service.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


@router.get("/", include_in_schema=False)
async def playground() -> HTMLResponse:
    """A page to search by hand."""
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"))
