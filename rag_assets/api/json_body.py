"""Routes with a JSON body: the key is checked before a byte of the body is read.

FastAPI reads and parses a body before it resolves the dependencies that would refuse the request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.types import Receive, Scope

from rag_assets.api.bodies import Bodies
from rag_assets.api.problems import ProblemError
from rag_assets.api.security import Guard


class _Request(Request):
    """One whose body is here, read by the parser that pydantic brings: for a vector it takes an
    eighth of json's time."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes) -> None:
        super().__init__(scope, receive)
        self._whole = body

    async def body(self) -> bytes:
        return self._whole

    async def json(self) -> Any:
        try:
            return from_json(self._whole, cache_strings="keys")
        except ValueError:
            return await super().json()  # takes it all the same, or says what is wrong with it


class JsonRoute(APIRoute):
    """A route that checks its guards, then reads its body within :class:`Bodies`' limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        guards = [d.dependency for d in self.dependencies if isinstance(d.dependency, Guard)]

        async def answer(request: Request) -> Response:
            bodies: Bodies = request.app.state.bodies
            try:
                for guard in guards:
                    await guard.check(request)
            except ProblemError:
                await bodies.discard(request)
                raise
            if request.method == "GET":
                return await handle(request)
            body = await bodies.read(request)
            try:
                return await handle(_Request(request.scope, request.receive, body))
            finally:
                bodies.release(len(body))

        return answer
