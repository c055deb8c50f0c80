"""uvicorn's HTTP protocol, with limits on everything that precedes a request.

httptools limits neither the size of a head nor the number of its headers, and uvicorn neither the
time that a head may take nor the number of pipelined requests. uvicorn's
``h11_max_incomplete_event_size`` only applies to its other, slower parser.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from rag_assets.api import request_id as ids
from rag_assets.api.connections import Connections
from rag_assets.api.problems import ProblemError, problem

log = logging.getLogger("rag_assets.api")

CONNECTIONS = "connections"
"""The key under which the app's lifespan passes :class:`Connections` to each connection."""

MAX_HEAD_BYTES = 64 * 1024
"""Limit for a head, and for anything else outside a body, such as trailers."""
MAX_HEADERS = 100
MAX_PIPELINED = 16


class Protocol(HttpToolsProtocol):
    """One connection. Neither the app nor its middleware sees what it refuses."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._held: Connections = app_state[CONNECTIONS]
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._unparsed = 0  # bytes since the last complete head or part of a body
        self._keep_alive = True
        self._fault: ProblemError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first head; evict a connection if there are too many."""
        super().connection_made(transport)
        self._held.mark_waiting(self)
        self._start_head_timer()
        if len(self.connections) > self._held.limit:
            self._held.evict()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers, and notify the request that is being answered.

        uvicorn notifies only the newest request, even if it is answering an earlier one.
        """
        self._stop_head_timer()
        self._held.mark_busy(self)
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self._stop_unread_timer()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and limit what is neither a complete head nor a body."""
        self._unparsed += len(data)
        self._held.mark_active(self)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unparsed > MAX_HEAD_BYTES:
            self._refuse(_head_too_large(f"{MAX_HEAD_BYTES // 1024} kB"))
        elif self._unparsed and not self._answering():
            self._start_head_timer()  # a blank line starts no head, but stops keep-alive's timer

    def on_message_begin(self) -> None:
        """Start the timer for a head."""
        super().on_message_begin()
        self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, up to a limit: a short one takes twenty times its size in memory."""
        if len(self.headers) >= MAX_HEADERS:
            self._fault = _head_too_large(f"{MAX_HEADERS} headers")
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request. The connection is closed if it is answered before its body arrived."""
        self._stop_head_timer()
        self._unparsed = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError
        super().on_headers_complete()
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Mark the connection busy: the request is complete, and keep-alive is allowed again."""
        self._unparsed = 0
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
            self._held.mark_busy(self)
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to read the last response."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_unread_timer()
        elif self.cycle.response_complete:  # else a pipelined request follows
            self._held.mark_waiting(self)

    def shutdown(self) -> None:
        """Accept no further request on this connection."""
        self._keep_alive = False
        super().shutdown()

    def pause_writing(self) -> None:
        """Start the timer for unread responses: the client reads too slowly."""
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        """Stop the timer: the client has caught up."""
        self._stop_unread_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Drop the idle connection. uvicorn would wait until the last response is read."""
        self.drop()

    def drop(self) -> None:
        """Close immediately; anything that the client has not read is lost."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that cannot be parsed."""
        self._refuse(self._fault or ProblemError(400, "not-http", msg))

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing about the ignored upgrade; uvicorn would log two lines for each."""

    def _refuse(self, error: ProblemError) -> None:
        """Respond with a problem, and close the connection."""
        if self._answering():
            if self.pipeline or self.cycle.response_started:  # it would look like part of that
                self.drop()
                return
            self.cycle.disconnected = True
        mine = ids.choose(None)
        token = ids.request_id.set(mine)
        try:
            answer = problem(error)
            log.info("refused before any request: %s", error.kind)
        finally:
            ids.request_id.reset(token)
        headers = [
            *answer.raw_headers,
            (ids.HEADER, mine.encode("latin-1")),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + bytes(answer.body))
        self.transport.close()
        self._start_unread_timer()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._held.timeout_s, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        if self._answering():
            self.shutdown()  # an incomplete head follows a request that is being answered
            return
        self._held.on_close("slow-head")
        if not self._unparsed:
            self.drop()
            return
        seconds = self._held.timeout_s
        detail = f"the head did not arrive within {seconds:g} s (RAG_API_HEAD_TIMEOUT_S)"
        self._refuse(ProblemError(408, "head-too-slow", detail))

    def _start_unread_timer(self) -> None:
        self._stop_unread_timer()
        self._unread_timer = self.loop.call_later(self._held.timeout_s, self._unread_timed_out)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _unread_timed_out(self) -> None:
        self._unread_timer = None
        self._held.on_close("unread")
        self.drop()


def _head_too_large(limit: str) -> ProblemError:
    return ProblemError(431, "head-too-large", f"the head is larger than {limit}")
