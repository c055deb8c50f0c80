"""Progress reports of long work: the CLI draws them, Dagster logs them, tests record them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """A receiver of progress reports, for one task at a time."""

    def start(self, task: str, total: int) -> None:
        """Begin a task of ``total`` steps."""

    def advance(self, steps: int) -> None:
        """Report that ``steps`` more steps are done."""

    def say(self, message: str) -> None:
        """Report a message for the user."""


class Silent:
    """Ignores all reports."""

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None: ...


class LogLines:
    """Logs the start of a task, its progress at most every ``every_s`` seconds, and its end."""

    def __init__(
        self,
        log: Callable[[str], None],
        *,
        every_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock = clock
        self._task = ""
        self._total = self._done = 0
        self._started = self._logged_at = 0.0

    def start(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._started = self._logged_at = self._clock()
        self._log(f"{task}: 0 of {total}")

    def advance(self, steps: int) -> None:
        self._done += steps
        now = self._clock()
        if self._done < self._total and now - self._logged_at < self._every_s:
            return
        self._logged_at = now
        rate = self._done / max(now - self._started, 1e-9)
        self._log(f"{self._task}: {self._done} of {self._total} ({rate:.0f}/s)")

    def say(self, message: str) -> None:
        self._log(message)
