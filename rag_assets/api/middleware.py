"""Around every request: its id, its log line, and where it comes from. Plain ASGI."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_assets.api import request_id as ids
from rag_assets.api.logs import fields
from rag_assets.api.origin import foreign
from rag_assets.api.problems import ProblemError, as_problem, problem
from rag_assets.errors import RagAssetsError

log = logging.getLogger("rag_assets.api")


class RequestId:
    """Gives each request an id, and shows it in every header, log line and error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        presented = next((value for name, value in scope["headers"] if name == ids.HEADER), None)
        mine = ids.choose(presented.decode("latin-1") if presented else None)
        token = ids.request_id.set(mine)
        status = 0
        started = time.perf_counter()

        async def tell(message: Message) -> None:
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
            await self._app(scope, receive, tell)
        except Exception as error:
            # Nothing below foresaw it: it is logged, and the client gets a plain problem.
            log.error("unforeseen error", exc_info=error)
            if status:
                raise
            await problem(as_problem(error))(scope, receive, tell)
        finally:
            elapsed = (time.perf_counter() - started) * 1000
            level = logging.DEBUG if _is_quiet(scope["path"]) else logging.INFO
            log.log(
                level,
                "%s %s",
                scope["method"],
                quote(scope["path"]),  # decoded it may hold line ends
                extra=fields(
                    status=status, ms=round(elapsed, 1), **scope.get("state", {}).get("told", {})
                ),
            )
            ids.request_id.reset(token)


_QUIET = ("/healthz", "/readyz", "/metrics/prometheus")


def _is_quiet(path: str) -> bool:
    """Whether programs ask it every few seconds, by address: its lines show at DEBUG only."""
    return path.removesuffix("/") in _QUIET


class Counted:
    """Tells the status of each answer at one path, also of those that no route gave.

    :param count: told the status, and the corpus and plan that the route found, or ``none``.
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

        async def look(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, look)
        except Exception:
            if not started:
                count(500)  # as it will be answered further out
            raise


class LocalRequests:
    """While no API key is asked for, refuses what a web page elsewhere may have had a browser send.

    A page can send requests to this machine, and with a name of its own that it made to point here
    even read the answers. Probes and scrapes go by address and show no text: they are let through.

    :param is_open: whether no key is asked for.
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
