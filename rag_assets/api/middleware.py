"""Plain ASGI middleware for every request: its id, its log line, and its origin."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_assets import tracing
from rag_assets.api import request_id as ids
from rag_assets.api.logs import fields
from rag_assets.api.origin import foreign
from rag_assets.api.problems import ProblemError, as_problem, problem
from rag_assets.errors import RagAssetsError
from rag_assets.tracing import NO_SPAN, Span

log = logging.getLogger("rag_assets.api")


class RequestId:
    """Gives each request a span, and an id, which its header, log lines and errors show."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _is_quiet(scope["path"]):
            await self._answer(scope, receive, send, NO_SPAN)
        else:
            parent = _header(scope, tracing.HEADER)
            with tracing.request_span(scope["method"], parent) as span:
                await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        mine = ids.choose(_header(scope, ids.HEADER))
        token = ids.request_id.set(mine)
        status = 0
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = {"X-Request-ID": mine, **scope.get("state", {}).get("headers", {})}
                message["headers"] = [
                    *message["headers"],
                    *((name.lower().encode(), value.encode()) for name, value in more.items()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            # Nothing else handled it: log it, and send the client a plain problem.
            log.error("unexpected error", exc_info=error)
            if status:
                raise
            await problem(as_problem(error))(scope, receive, send_with_headers)
        finally:
            _describe(span, scope, status, mine)
            elapsed = (time.perf_counter() - started) * 1000
            level = logging.DEBUG if _is_quiet(scope["path"]) else logging.INFO
            log.log(
                level,
                "%s %s",
                scope["method"],
                quote(scope["path"]),  # the decoded path may contain line breaks
                extra=fields(
                    status=status,
                    ms=round(elapsed, 1),
                    **scope.get("state", {}).get("log_fields", {}),
                ),
            )
            ids.request_id.reset(token)


def _header(scope: Scope, wanted: bytes) -> str | None:
    found = next((value for name, value in scope["headers"] if name == wanted), None)
    return None if found is None else found.decode("latin-1")


def _describe(span: Span, scope: Scope, status: int, request_id: str) -> None:
    """What is known of a request once it is answered; the path only as the route spells it."""
    route = getattr(scope.get("route"), "path", None)
    if route is None and "endpoint" in scope and not scope.get("path_params"):
        route = scope["path"]
    span.set(
        {
            "http.route": route,
            "http.response.status_code": status,
            "rag_assets.request_id": request_id,
        }
    )
    if route:
        span.rename(f"{scope['method']} {route}")
    if status >= 500:
        span.fail(str(status))


_QUIET = ("/healthz", "/readyz", "/metrics/prometheus")


def _is_quiet(path: str) -> bool:
    """Whether programs request the path every few seconds, so that it is logged at DEBUG only."""
    return path.removesuffix("/") in _QUIET


class Counted:
    """Counts the responses at one path, including those that no route sent.

    :param count: called with the status, and the route's corpus and plan or ``none``.
    """

    def __init__(self, app: ASGIApp, *, path: str, count: Callable[[str, str, str], None]) -> None:
        self._app = app
        self._path = path
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return

        def count(status: int) -> None:
            state = scope.get("state", {})
            self._count(str(status), state.get("corpus", "none"), state.get("plan", "none"))

        started = False

        async def send_and_count(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_count)
        except Exception:
            if not started:
                count(500)  # an outer middleware will respond with this
            raise


class LocalRequests:
    """While no API key is required, refuses requests that another site's page may have triggered.

    A page can make a browser send requests to this machine and, if its own host name resolves here
    (DNS rebinding), even read the responses. Probes and scrapes use an IP address and return no
    texts, so they are allowed.

    :param is_open: whether no key is required.
    """

    def __init__(self, app: ASGIApp, *, is_open: Callable[[], Awaitable[bool]]) -> None:
        self._app = app
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (wrong := foreign(scope["headers"])):
            try:
                if not _is_quiet(scope["path"]) and await self._is_open():
                    raise wrong
            except (ProblemError, RagAssetsError) as error:
                await problem(as_problem(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)
