"""How long work tells how far it is. The command line draws it, Dagster logs it, tests listen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Told by the work; one task at a time."""

    def start(self, task: str, total: int) -> None:
        """A task of ``total`` steps begins."""

    def advance(self, steps: int) -> None:
        """So many steps of it are done."""

    def say(self, message: str) -> None:
        """Something a person should know."""


class Silent:
    """Tells nobody."""

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None: ...


class LogLines:
    """A line when a task begins, at most one every ``every_s`` seconds, and one at its end."""

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
        self._started = self._spoke = 0.0

    def start(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._started = self._spoke = self._clock()
        self._log(f"{task}: 0 of {total}")

    def advance(self, steps: int) -> None:
        self._done += steps
        now = self._clock()
        if self._done < self._total and now - self._spoke < self._every_s:
            return
        self._spoke = now
        rate = self._done / max(now - self._started, 1e-9)
        self._log(f"{self._task}: {self._done} of {self._total} ({rate:.0f}/s)")

    def say(self, message: str) -> None:
        self._log(message)
