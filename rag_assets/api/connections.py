"""How many connections a worker holds, and how long a client may keep it waiting."""

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
    """A connection, as far as this module needs it."""

    def drop(self) -> None:
        """Close it immediately, without an answer."""


class Connections:
    """The connections of a worker that wait for their clients, least recently active first.

    uvicorn's ``limit_concurrency`` counts these, too, and then answers every request with 503,
    health checks included: a thousand idle connections would stop everybody else.

    :param limit: connections at once; past it the least recently active is closed.
    :param timeout_s: for the head of a request, and for a client that does not read its answer.
    :param on_close: called with the reason for each connection that is closed early.
    """

    def __init__(self, *, limit: int, timeout_s: float, on_close: Callable[[Reason], None]) -> None:
        self.limit = limit
        self.timeout_s = timeout_s
        self.on_close = on_close
        self._waiting: dict[Closable, None] = {}
        self._warned_at = -_WARN_EVERY_S

    def mark_waiting(self, connection: Closable) -> None:
        """The server has nothing to do on it until its client sends something."""
        self._waiting[connection] = None

    def mark_active(self, connection: Closable) -> None:
        """Its client sent something: if it still waits, it is the last to be evicted."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._waiting[connection] = None

    def mark_busy(self, connection: Closable) -> None:
        """Its request is being answered, or it is closed: it cannot be evicted."""
        self._waiting.pop(connection, None)

    def evict(self) -> None:
        """Close the least recently active connection; if all others are busy, the newest."""
        connection = next(iter(self._waiting))
        self.mark_busy(connection)
        self.on_close("evicted")
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:  # there may be thousands a second
            self._warned_at = now
            log.warning(
                "more than %d connections: the least recently active are closed, counted by "
                "rag_api_closed_connections_total (RAG_API_CONNECTIONS)",
                self.limit,
            )
        connection.drop()


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one, at most to 65,536.

    1,024 connections use up a shell's usual limit, and then nothing can be accepted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within(wanted: int) -> int:
    """The number of connections wanted, or what leaves a quarter of the open files for the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if soft == resource.RLIM_INFINITY else soft * 3 // 4
    if room < wanted:
        log.warning(
            "only %d open files are allowed: a worker takes %d connections instead of %d "
            "(RAG_API_CONNECTIONS). Raise the hard limit of open files to have more",
            soft, room, wanted,
        )  # fmt: skip
    return min(wanted, room)
