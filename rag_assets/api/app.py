"""The retrieval API: a FastAPI app for each worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from rag_assets.api import logs, problems
from rag_assets.api.middleware import BodyLimits, Counted, RequestId
from rag_assets.api.openapi import describe
from rag_assets.api.routes import documents, retrieve, service
from rag_assets.api.security import Keyring
from rag_assets.api.service import Service
from rag_assets.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """A fresh app. It opens its connections when it starts, not here."""
    settings = settings or load_settings()
    logs.set_up(settings)
    opened = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await opened.open()
        yield
        await opened.close()

    app = FastAPI(
        title="rag_assets retrieval",
        version=version("rag-assets"),
        description="Search what the active release holds: Bible versions that passed the gate.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere; openapi.json stays
        redoc_url=None,
    )
    app.state.service = opened
    app.state.keyring = Keyring(seconds=settings.rag_api_key_cache_s)
    problems.install(app)
    app.include_router(retrieve.router)
    app.include_router(documents.router)
    app.include_router(service.router)
    # The last one added is the outermost.
    app.add_middleware(
        BodyLimits,
        most_bytes=settings.rag_api_body_limit_kb * 1024,
        seconds=settings.rag_api_body_timeout_s,
        streamed=documents.DOCUMENTS,
    )
    app.add_middleware(
        Counted,
        path=retrieve.RETRIEVE,
        count=lambda *labels: opened.metrics.requests.labels(*labels).inc(),
    )
    app.add_middleware(RequestId)
    describe(app)
    return app
