"""Request bodies: each limited in size and time, and all of a worker's in one memory budget."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect

from rag_assets.api.problems import RETRY_AFTER_S, ProblemError
from rag_assets.settings.model import Settings

_FREE = 64 * 1024
"""Bytes of each body that are not counted, so that queries are answered whatever the load. They
are bounded by the number of connections."""
_DISCARD_S = 1.0


class Bodies:
    """The memory that one worker holds for bodies that are being received or answered."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = settings.rag_api_body_limit_kb * 1024
        self._budget = settings.rag_api_bodies_mb * 2**20
        self._seconds = settings.rag_api_body_timeout_s
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Read the whole body. The caller must :meth:`release` its size.

        :raises ProblemError: 413: it is too large; 408: too slow; 503: the budget is used up; 400:
            the client disconnected.
        """
        if _declared(request) > self._max_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for part in request.stream():
                    if size + len(part) > self._max_bytes:
                        raise self._too_large()
                    self._grow(size, size + len(part))
                    size += len(part)
                    parts.append(part)
        except BaseException as error:
            self.release(size)
            if isinstance(error, TimeoutError):
                detail = f"the body did not arrive within {self._seconds:g} s"
                raise ProblemError(408, "body-too-slow", detail) from None
            if isinstance(error, ClientDisconnect):
                raise body_cut() from None
            raise
        return b"".join(parts)

    def release(self, size: int) -> None:
        """Return to the budget what a body, or a piece of one, took."""
        self._held -= max(0, size - _FREE)

    @contextmanager
    def holding(self, piece: bytes) -> Iterator[None]:
        """Count one piece of a body that is processed piece by piece.

        :raises ProblemError: 503: the budget is used up.
        """
        self._grow(0, len(piece))
        try:
            yield
        finally:
            self.release(len(piece))

    async def discard(self, request: Request) -> None:
        """Read and discard a small body before its request is refused.

        Closing a connection with unread data resets it, and some systems then lose the response.
        """
        if 0 < _declared(request) <= _FREE:
            try:
                async with asyncio.timeout(_DISCARD_S):
                    async for _ in request.stream():
                        pass
            except (TimeoutError, ClientDisconnect):
                pass

    def _grow(self, before: int, after: int) -> None:
        more = max(0, after - _FREE) - max(0, before - _FREE)
        if more and self._held + more > self._budget:
            raise ProblemError(
                503,
                "bodies-too-many",
                f"the bodies of all requests together exceed {self._budget // 2**20} MB "
                "(RAG_API_BODIES_MB): try again",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        self._held += more

    def _too_large(self) -> ProblemError:
        return ProblemError(
            413,
            "body-too-large",
            f"the body is larger than {self._max_bytes // 1024} kB (RAG_API_BODY_LIMIT_KB)",
        )


def body_cut() -> ProblemError:
    """The problem for the log when the client has disconnected."""
    return ProblemError(400, "body-cut", "the client left before the body was whole")


def _declared(request: Request) -> int:
    declared = request.headers.get("content-length", "0")
    return int(declared) if declared.isdecimal() else 0
