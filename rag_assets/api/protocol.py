"""HTTP as uvicorn speaks it, with limits on what no request has come of yet.

Of httptools' parser nothing is bounded by itself: neither the size of a head nor its number of
headers, nor the time that it takes, nor how many requests follow each other unanswered. uvicorn's
``h11_max_incomplete_event_size`` is for its other, slower parser.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from rag_assets.api import request_id as ids
from rag_assets.api.connections import Connections
from rag_assets.api.problems import ProblemError, problem

log = logging.getLogger("rag_assets.api")

CONNECTIONS = "connections"
"""The app's lifespan hands :class:`Connections` to each connection by this name."""

MOST_HEAD_BYTES = 64 * 1024
"""Of a head, and of anything else that is no body, such as trailers."""
MOST_HEADERS = 100
MOST_PIPELINED = 16


class Protocol(HttpToolsProtocol):
    """One connection. What it refuses, neither the app nor its middleware sees."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all: Connections = app_state[CONNECTIONS]
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unparsed = 0  # bytes since the last head, or part of a body, was whole
        self._keep_alive = True
        self._fault: ProblemError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: its first request's head has to come in time."""
        super().connection_made(transport)
        self._all.waits(self)
        self._limit_head()
        if len(self.connections) > self._all.most:
            self._all.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing waits any more."""
        self._no_head_limit()
        self._all.works(self)
        super().connection_lost(exc)
        self._no_unread_limit()

    def data_received(self, data: bytes) -> None:
        """Parse; what neither ended a head nor was a body must not pile up."""
        self._unparsed += len(data)
        self._all.heard(self)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unparsed > MOST_HEAD_BYTES:
            self._refuse(_head_too_large(f"{MOST_HEAD_BYTES // 1024} kB"))
        elif self._unparsed and not self._answering():
            self._limit_head()  # also where it was a blank line, which begins nothing

    def on_message_begin(self) -> None:
        """A head begins, which has to be whole in time."""
        super().on_message_begin()
        self._limit_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep it: each takes some twenty times the bytes that it came with."""
        if len(self.headers) >= MOST_HEADERS:
            self._fault = _head_too_large(f"{MOST_HEADERS} headers")
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request. Answered before its body has come, it ends the connection."""
        self._no_head_limit()
        self._unparsed = 0
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError
        super().on_headers_complete()
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here: the client now waits for us, and may then send another."""
        self._unparsed = 0
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive
            self._all.works(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to read the last answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_unread()
        elif self.cycle.response_complete:  # else a pipelined request follows
            self._all.waits(self)

    def shutdown(self) -> None:
        """Take no further request."""
        self._keep_alive = False
        super().shutdown()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        self._limit_unread()

    def resume_writing(self) -> None:
        """It does again."""
        self._no_unread_limit()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """No further request came; an answer that was not read must not hold the connection."""
        self.drop()

    def drop(self) -> None:
        """Close without waiting for what the client did not read."""
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read."""
        self._refuse(self._fault or ProblemError(400, "not-http", msg))

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if nothing else had been asked for; uvicorn would log two lines for each."""

    def _refuse(self, error: ProblemError) -> None:
        """Answer with a problem, and close the connection."""
        if self._answering():  # in the midst of another answer it would be a part of that
            self.drop()
            return
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
        self._limit_unread()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._all.patience_s, self._give_head_up)

    def _no_head_limit(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_head_up(self) -> None:
        self._head_timer = None
        if self._answering():
            self.shutdown()  # half a request behind one that is being answered
            return
        self._all.closed("slow-head")
        if not self._unparsed:
            self.drop()
            return
        seconds = self._all.patience_s
        detail = f"the head did not arrive within {seconds:g} s (RAG_API_HEAD_TIMEOUT_S)"
        self._refuse(ProblemError(408, "head-too-slow", detail))

    def _limit_unread(self) -> None:
        self._no_unread_limit()
        self._unread_timer = self.loop.call_later(self._all.patience_s, self._drop_unread)

    def _no_unread_limit(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _drop_unread(self) -> None:
        self._unread_timer = None
        self._all.closed("unread")
        self.drop()


def _head_too_large(limit: str) -> ProblemError:
    return ProblemError(431, "head-too-large", f"the head is larger than {limit}")
