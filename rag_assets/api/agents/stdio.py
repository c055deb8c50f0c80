"""The tools on standard input and output, for a client that starts the server itself."""

from __future__ import annotations

import anyio
from fastapi import FastAPI, Request
from mcp.server.stdio import stdio_server

from rag_assets.api import request_id as ids
from rag_assets.api.agents.server import mcp_server
from rag_assets.api.app import create_app
from rag_assets.settings.model import Settings

_FIRST_READ_S = 10.0
"""A client calls as soon as it is connected; the active release is read within a second."""


async def serve_stdio(settings: Settings) -> None:
    """Answer until the client closes standard input. Logs go to standard error."""
    app = create_app(settings)
    server = mcp_server(lambda: _request(app, settings))
    async with app.router.lifespan_context(app):
        current = app.state.service.sources.primary.current
        await anyio.to_thread.run_sync(current.wait_until_read, _FIRST_READ_S)
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())


def _request(app: FastAPI, settings: Settings) -> Request:
    """A request of the API with an id of its own and the key of RAG_MCP_API_KEY."""
    ids.request_id.set(ids.choose(None))
    key = settings.rag_mcp_api_key
    headers = [] if key is None else [(b"x-api-key", key.get_secret_value().encode())]
    state = {"how_to_give_a_key": "RAG_MCP_API_KEY"}
    scope = {"type": "http", "app": app, "headers": headers, "state": state}
    return Request(scope)
