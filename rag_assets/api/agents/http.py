"""``/mcp``: the tools over streamable HTTP.

Without sessions: each worker process can answer each request, and a restart loses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from rag_assets.api.agents.server import GUARD
from rag_assets.api.bodies import Bodies
from rag_assets.api.problems import ProblemError

MCP = "/mcp"


class McpEndpoint:
    """Checks the key before it reads the body, within the limits of :class:`Bodies`."""

    def __init__(self, server: Server[Any]) -> None:
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    def route(self) -> Route:
        """The route, which is not in the OpenAPI document: MCP describes itself."""
        return Route(MCP, endpoint=self, methods=["POST"], include_in_schema=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests until the end of the block."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        bodies: Bodies = request.app.state.bodies
        try:
            await GUARD.check(request)
        except ProblemError:
            await bodies.discard(request)
            raise
        body = await bodies.read(request)
        try:
            await self._manager.handle_request(scope, _replayed(body, receive), send)
        finally:
            bodies.release(len(body))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then what the client does next: it disconnects."""
    unread = [body]

    async def next_message() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return next_message
