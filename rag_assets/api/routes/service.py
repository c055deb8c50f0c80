"""Health, readiness, metrics and the playground page."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from rag_assets.api.models import Problem, Ready
from rag_assets.api.security import service_of
from rag_assets.api.service import Service

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


@router.get("/", include_in_schema=False)
async def playground() -> HTMLResponse:
    """A page to search by hand."""
    page, headers = _playground()
    return HTMLResponse(page, headers=headers)


@cache
def _playground() -> tuple[str, dict[str, str]]:
    """The page, and headers that restrict it to its own script and style and to this API.

    Trusted types prevent the script from turning text into HTML.
    """
    page = _PAGE.read_text(encoding="utf-8")
    policy = [
        "default-src 'none'",
        f"script-src {_hash_of('script', page)}",
        f"style-src {_hash_of('style', page)}",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    return page, {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _hash_of(tag: str, page: str) -> str:
    (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
