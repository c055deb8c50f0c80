"""The retrieval API: a FastAPI app for each worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from rag_assets import tracing
from rag_assets.api import logs, problems
from rag_assets.api.agents.http import McpEndpoint
from rag_assets.api.agents.server import mcp_server
from rag_assets.api.bodies import Bodies
from rag_assets.api.connections import Connections, connections_within
from rag_assets.api.middleware import Counted, LocalRequests, RequestId
from rag_assets.api.openapi import describe
from rag_assets.api.protocol import CONNECTIONS
from rag_assets.api.routes import corpus, documents, explain, pages, queue, retrieve, service
from rag_assets.api.security import Keyring
from rag_assets.api.service import Service
from rag_assets.settings.model import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create an app, which opens its connections when it starts."""
    settings = settings or load_settings()
    logs.set_up(settings)
    opened = Service(settings)
    keyring = Keyring(seconds=settings.rag_api_key_cache_s)
    connections = Connections(
        limit=connections_within(settings.rag_api_connections),
        timeout_s=settings.rag_api_head_timeout_s,
        on_close=lambda reason: opened.metrics.closed.labels(reason).inc(),
    )

    mcp = McpEndpoint(mcp_server())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        tracing.set_up(settings, "rag_assets-api")
        await opened.open()
        async with mcp.running():
            yield {CONNECTIONS: connections}
        await opened.close()
        tracing.flush()

    app = FastAPI(
        title="rag_assets retrieval",
        version=version("rag-assets"),
        description="Search the active release: Bible versions and documents that passed the gate.",
        lifespan=lifespan,
        openapi_url=None,  # served by describe()
        docs_url=None,  # FastAPI's page loads scripts from other sites
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # the names of a client's functions
    )
    app.state.service = opened
    app.state.keyring = keyring
    app.state.bodies = Bodies(settings)
    problems.install(app)
    app.include_router(retrieve.router)
    app.include_router(corpus.router)
    app.include_router(explain.router)
    app.include_router(documents.router)
    app.include_router(queue.router)
    app.include_router(service.router)
    app.include_router(pages.router)
    app.router.routes.append(mcp.route())
    # The last one added is the outermost.
    app.add_middleware(LocalRequests, is_open=lambda: keyring.is_open(opened))
    app.add_middleware(
        Counted,
        path=retrieve.RETRIEVE,
        count=lambda *labels: opened.metrics.requests.labels(*labels).inc(),
    )
    app.add_middleware(RequestId)
    describe(app)
    return app
