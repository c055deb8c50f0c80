"""How many connections a worker holds, and how long a client may keep it waiting."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from typing import Literal, Protocol

Reason = Literal["slow-head", "silent", "unread"]
log = logging.getLogger("rag_assets.api")

_OPEN_FILES = 65_536
_WARN_EVERY_S = 60.0


class Closable(Protocol):
    """A connection, as far as it is known here."""

    def drop(self) -> None:
        """Close it without an answer, whatever was not sent yet."""


class Connections:
    """A worker's connections that wait for their clients, the one silent longest first.

    uvicorn's ``limit_concurrency`` counts those, too, and then answers every request with 503,
    health checks included: a thousand idle connections would stop everybody else.

    :param most: connections at once; one more, and the one silent longest is closed.
    :param patience_s: for a request's head, and for a client that does not read its answer.
    :param closed: called with the reason for each connection that is closed early.
    """

    def __init__(self, *, most: int, patience_s: float, closed: Callable[[Reason], None]) -> None:
        self.most = most
        self.patience_s = patience_s
        self.closed = closed
        self._waiting: dict[Closable, None] = {}
        self._warned_at = -_WARN_EVERY_S

    def waits(self, connection: Closable) -> None:
        """The server has nothing to do on the connection until its client sends something."""
        self._waiting[connection] = None

    def heard(self, connection: Closable) -> None:
        """Its client sent something: if it still waits, it is now the last to be closed."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._waiting[connection] = None

    def works(self, connection: Closable) -> None:
        """A request is being answered, or the connection is gone."""
        self._waiting.pop(connection, None)

    def make_room(self) -> None:
        """Close the connection that has been silent longest; at worst the newest."""
        connection = next(iter(self._waiting))
        self.works(connection)
        self.closed("silent")
        now = time.monotonic()
        if now - self._warned_at >= _WARN_EVERY_S:  # not a line each: there may be thousands
            self._warned_at = now
            log.warning(
                "more than %d connections: those silent longest are closed "
                "(RAG_API_CONNECTIONS; rag_api_closed_connections_total counts them)",
                self.most,
            )
        connection.drop()


def raise_open_files() -> int:
    """Raise the soft limit of open files as far as the hard one allows; the limit now.

    A shell's usual 1,024 are used up by as many connections, and then nothing can be accepted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else _OPEN_FILES


def connections_within(wanted: int) -> int:
    """As many connections as are wanted, and a quarter of the open files left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if soft == resource.RLIM_INFINITY else soft * 3 // 4
    if room < wanted:
        log.warning(
            "only %d open files are allowed: a worker holds %d connections, not %d "
            "(RAG_API_CONNECTIONS; raise the hard limit, such as LimitNOFILE or `ulimit -Hn`)",
            soft, room, wanted,
        )  # fmt: skip
    return min(wanted, room)
