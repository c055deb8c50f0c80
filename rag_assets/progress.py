"""Progress reports of long work: the CLI draws them, Dagster logs them, tests record them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def never_silent(progress: Progress, *, after_s: float = 20.0) -> Iterator[Progress]:
    """Report that work continues whenever nothing else was reported for ``after_s`` seconds.

    :class:`LogLines` may swallow up to five seconds of progress, so that a log is never silent for
    more than 30 seconds.
    """
    if isinstance(progress, _Audible):  # a second one would report the first one's reports
        yield progress
        return
    audible = _Audible(progress)
    ended = threading.Event()
    thread = threading.Thread(
        target=audible.repeat, args=(ended, after_s), name="progress", daemon=True
    )
    thread.start()
    try:
        yield audible
    finally:
        ended.set()
        thread.join()


class _Audible:
    """Passes reports on, and remembers the last one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._what = "working"
        self._began = self._heard = time.monotonic()

    def start(self, task: str, total: int) -> None:
        self._note(task)
        self._progress.start(task, total)

    def advance(self, steps: int) -> None:
        self._heard = time.monotonic()
        self._progress.advance(steps)

    def say(self, message: str) -> None:
        self._note(message)
        self._progress.say(message)

    def repeat(self, ended: threading.Event, after_s: float) -> None:
        """Say what was last reported, until the work has ended."""
        while not ended.wait(max(0.01, self._heard + after_s - time.monotonic())):
            now = time.monotonic()
            if now - self._heard >= after_s:
                self._heard = now
                with suppress(Exception):  # the work itself reports what is wrong
                    self._progress.say(f"still running, {now - self._began:.0f} s: {self._what}")

    def _note(self, what: str) -> None:
        self._what = what
        self._began = self._heard = time.monotonic()
