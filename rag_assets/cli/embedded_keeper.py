"""Restarts the embedded PostgreSQL when it dies while `up` runs, a limited number of times."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres import embedded

MAX_STARTS = 5
WINDOW_S = 600.0
"""A server that dies more often than this would keep dying: an operator must read its log."""


class EmbeddedKeeper:
    """Call :meth:`check` often: while the server is up, it reads one small file.

    :param say: reports that the server ended, and that it answers again.
    :param clock: seconds.
    """

    def __init__(
        self,
        data_folder: Path,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data_folder = data_folder.resolve()
        self._say = say
        self._clock = clock
        self._starts: deque[float] = deque()

    def check(self) -> None:
        """Start the server again if it has ended.

        :raises DatabaseUnavailableError: it does not start, or ended too often; the message names
            its log.
        """
        if embedded.is_alive(self._data_folder):
            return
        now = self._clock()
        while self._starts and self._starts[0] <= now - WINDOW_S:
            self._starts.popleft()
        if len(self._starts) == MAX_STARTS:
            raise DatabaseUnavailableError(
                f"the embedded PostgreSQL ended {MAX_STARTS + 1} times within "
                f"{WINDOW_S / 60:.0f} minutes and is not restarted: see the end of "
                f"{self._data_folder / 'log'}, then start `rag-assets up` again"
            )
        self._starts.append(now)
        self._say("the embedded PostgreSQL ended: restarting it")
        embedded.ensure_running(self._data_folder)
        self._say("the embedded PostgreSQL is up again")
