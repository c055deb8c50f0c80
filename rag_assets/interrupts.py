"""Ctrl-C and SIGTERM: a command ends at any moment, in one line, with status 130 or 143.

What a command does is kept as it goes, and what was killed continues where it stopped. So a signal
does not unwind the program: an exception at any line would meet libraries that swallow it, take it
for a failure of their own, or print its trace. Whoever holds something that others would miss
registers how to let go of it; then the process ends.

Commands that serve until they are stopped set handlers of their own.
"""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, TypeVar

GRACE_S = 20.0
"""Seconds that letting go may take."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"  # and nothing of a progress bar's line

Result = TypeVar("Result")

_letting_go: list[Callable[[], None]] = []
_standard_error: list[int] = []  # a copy: Dagster redirects the descriptor itself while a step runs


def end_on_signals() -> None:
    """From now on. Signals that were blocked until then, so as to meet no other handler, arrive."""
    _standard_error[:] = _standard_error or [os.dup(2)]
    for number in _SIGNALS:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def before_ending(let_go: Callable[[], None]) -> None:
    """Call this when a signal ends the process, the latest first. What it raises is ignored."""
    _letting_go.append(let_go)


def forget(let_go: Callable[[], None]) -> None:
    """Do not call it any more."""
    with suppress(ValueError):
        _letting_go.remove(let_go)


@contextmanager
def let_go_by(let_go: Callable[[], None]) -> Iterator[None]:
    """As :func:`before_ending`, while the block lasts."""
    before_ending(let_go)
    try:
        yield
    finally:
        forget(let_go)


def keep_from_children() -> None:
    """Ctrl-C is not for what the calling thread starts: another program would show its own trace.

    A terminal sends it to the whole group of processes. The main thread still takes it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run`` for where the handlers of signals raise, as Dagster's do during a step.

    What a handler raises in the middle of an event loop is lost in a callback, or comes out of a
    task group as one failure among others. So a signal cancels the work, and its handler is called
    when the loop has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)  # handlers are called in the main thread only
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    raising = {
        number: handler
        for number, handler in handlers.items()
        if callable(handler) and handler is not _end
    }
    received: list[int] = []
    cancel: list[Callable[[], object]] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        for one in cancel:
            one()

    async def cancellable() -> Result:
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        cancel.append(partial(loop.call_soon_threadsafe, task.cancel))
        if received:
            task.cancel()
        try:
            return await task
        finally:
            cancel.clear()

    try:
        for number in raising:
            signal.signal(number, receive)
        return asyncio.run(cancellable())
    finally:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, raising)
        for number, handler in raising.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for came in received:
            raising[signal.Signals(came)](came, None)


def _end(number: int, _: FrameType | None) -> None:
    """In the main thread, wherever it is: it may hold any lock, so another thread lets go."""
    for one in _SIGNALS:
        signal.signal(one, lambda *_: None)  # not ignored: children would inherit that
    with suppress(Exception):  # it may be this very stream that was being written to
        sys.stdout.flush()
    _say("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    ended = _thread.allocate_lock()
    ended.acquire()
    _thread.start_new_thread(_let_go, (ended,))
    ended.acquire(timeout=GRACE_S)
    os._exit(128 + number)


def _let_go(ended: _thread.LockType) -> None:
    for let_go in reversed(_letting_go):
        with suppress(BaseException):
            let_go()
    ended.release()


def _say(name: str) -> None:
    """The last words: what other threads say after them is about being cut off."""
    line = f"stopped by {name}: what was done is kept, and the next start continues\n"
    for place in _standard_error:
        with suppress(OSError):
            os.write(place, f"{_SHOW_CURSOR if os.isatty(place) else ''}{line}".encode())
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
