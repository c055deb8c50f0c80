"""Routes with a JSON body, which check the API key before they read the body.

FastAPI reads and parses a body before it resolves the dependencies that would refuse the request.
Resolving parameters also costs it a few tenths of a millisecond per request, which endpoints
marked :func:`direct` avoid.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.types import Receive, Scope

from rag_assets.api.bodies import Bodies
from rag_assets.api.problems import ProblemError
from rag_assets.api.security import Guard, service_of
from rag_assets.api.service import Service

Answering = Callable[[Request, Service, Any], Coroutine[Any, Any, Response]]
_DIRECT = "_rag_direct"
_JSON = "application/json"


def direct(model: type[BaseModel]) -> Callable[[Answering], Answering]:
    """Mark an endpoint of a :class:`JsonRoute` to be called directly.

    It is called with request, service and body if the body is valid. Other bodies go through
    FastAPI, which reports what is wrong.

    :param model: the body's model.
    """

    def mark(endpoint: Answering) -> Answering:
        setattr(endpoint, _DIRECT, model)
        return endpoint

    return mark


class _Request(Request):
    """A request whose body has been read.

    Parsed with pydantic's parser, which takes an eighth of json's time for a vector.
    """

    def __init__(self, scope: Scope, receive: Receive, body: bytes) -> None:
        super().__init__(scope, receive)
        self._whole = body

    async def body(self) -> bytes:
        return self._whole

    async def json(self) -> Any:
        try:
            return from_json(self._whole, cache_strings="keys")
        except ValueError:
            return await super().json()  # accepts it anyway, or reports what is wrong


class JsonRoute(APIRoute):
    """A route that checks its guards, then reads its body within the limits of :class:`Bodies`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        guards = [d.dependency for d in self.dependencies if isinstance(d.dependency, Guard)]
        model: type[BaseModel] | None = getattr(self.endpoint, _DIRECT, None)

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
                parsed = _parsed(request, body, model) if model else None
                if parsed is None:
                    return await handle(_Request(request.scope, request.receive, body))
                response: Response = await self.endpoint(request, await service_of(request), parsed)
                return response
            finally:
                bodies.release(len(body))

        return answer


def _parsed(request: Request, body: bytes, model: type[BaseModel]) -> BaseModel | None:
    """The body, if it is declared as JSON and valid."""
    if request.headers.get("content-type") != _JSON:
        return None
    try:
        return model.model_validate_json(body)
    except ValidationError:
        return None
