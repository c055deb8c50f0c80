"""Around every request: its id, the limits on its body, its log line. Plain ASGI."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_assets.api import request_id as ids
from rag_assets.api.logs import fields
from rag_assets.api.problems import ProblemError, as_problem, problem

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
            level = logging.DEBUG if scope["path"] in QUIET else logging.INFO
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


QUIET = ("/healthz", "/readyz", "/metrics/prometheus/")
"""Paths that are asked every few seconds: their lines show at DEBUG only."""


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


class BodyLimits:
    """Refuses a body that is too large or too slow, before anything is parsed.

    :param streamed: the path whose route reads the body itself, piece by piece within limits.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int, seconds: float, streamed: str) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] in ("GET", "HEAD", "OPTIONS")
            or (scope["method"] == "POST" and scope["path"] == self._streamed)
        ):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ProblemError as error:
            await problem(error)(scope, receive, send)
            return
        if body is None:
            return  # the client went away
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        declared = next((v for n, v in scope["headers"] if n == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self._most_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._most_bytes:
                        raise self._too_large()
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ProblemError(
                408,
                "body-too-slow",
                f"the body did not arrive within {self._seconds:g} s",
                headers={"Connection": "close"},
            ) from None
        return b"".join(parts)

    def _too_large(self) -> ProblemError:
        return ProblemError(
            413,
            "body-too-large",
            f"the body is larger than {self._most_bytes // 1024} kB (RAG_API_BODY_LIMIT_KB)",
            headers={"Connection": "close"},
        )
