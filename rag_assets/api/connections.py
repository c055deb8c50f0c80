"""Limits on a worker's connections, and on how long a client may keep one waiting."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from typing import Literal, Protocol

Reason = Literal["slow-head", "evicted", "unread"]
log = logging.getLogger("rag_assets.api")

_OPEN_FILES = 65_536
_WARN_EVERY_S = 60.0


class Closable(Protocol):
    """A connection that can be dropped."""

    def drop(self) -> None:
        """Close it immediately, without a response."""


class Connections:
    """The connections of a worker that wait for their clients, least recently active first.

    uvicorn's ``limit_concurrency`` counts these too, and then answers every request with 503,
    including health checks: a thousand idle connections would lock out all other clients.

    :param limit: maximum number of connections; beyond it, the least recently active is closed.
    :param timeout_s: limit for the head of a request, and for a client to read its response.
    :param on_close: called with the reason for each connection that is closed early.
    """

    def __init__(self, *, limit: int, timeout_s: float, on_close: Callable[[Reason], None]) -> None:
        self.limit = limit
        self.timeout_s = timeout_s
        self.on_close = on_close
        self._waiting: dict[Closable, None] = {}
        self._warned_at = -_WARN_EVERY_S

    def mark_waiting(self, connection: Closable) -> None:
        """Record that the server waits for the client."""
        self._waiting[connection] = None

    def mark_active(self, connection: Closable) -> None:
        """Record that the client sent something; a waiting connection is then evicted last."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._waiting[connection] = None

    def mark_busy(self, connection: Closable) -> None:
        """Record that its request is being answered, or it is closed: it cannot be evicted."""
        self._waiting.pop(connection, None)

    def evict(self) -> None:
        """Close the least recently active connection: the newest one if all others are busy."""
        connection = next(iter(self._waiting))
        self.mark_busy(connection)
        self.on_close("evicted")
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:  # there may be thousands per second
            self._warned_at = now
            log.warning(
                "more than %d connections: the least recently active are closed, counted by "
                "rag_api_closed_connections_total (RAG_API_CONNECTIONS)",
                self.limit,
            )
        connection.drop()


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard limit, at most to 65,536.

    1,024 connections exhaust a shell's usual limit, after which no connection can be accepted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within(wanted: int) -> int:
    """The wanted number of connections, or fewer to leave a quarter of the open files free."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if soft == resource.RLIM_INFINITY else soft * 3 // 4
    if room < wanted:
        log.warning(
            "only %d open files are allowed: a worker takes %d connections instead of %d "
            "(RAG_API_CONNECTIONS). Raise the hard limit of open files to have more",
            soft, room, wanted,
        )  # fmt: skip
    return min(wanted, room)
