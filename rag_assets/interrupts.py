"""Ctrl-C and SIGTERM: end a command at any moment, with one line and status 130 or 143.

Commands store their work as they go, and continue where they stopped after being killed. So a
signal does not unwind the program: an exception at an arbitrary line would meet libraries that
swallow it, treat it as their own failure, or print a stack trace. Code that holds something others
need registers a callback to release it; then the process ends.

Commands that serve until they are stopped set their own handlers.
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
"""Seconds that the callbacks may take."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\r\x1b[2K\x1b[?25h"  # also clears a progress bar's line

Result = TypeVar("Result")

_callbacks: list[Callable[[], None]] = []
_standard_error: list[int] = []  # a copy: Dagster redirects the descriptor itself while a step runs


def end_on_signals() -> None:
    """Install the handlers, and unblock signals that were held back from other handlers."""
    _standard_error[:] = _standard_error or [os.dup(2)]
    for number in _SIGNALS:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def before_ending(callback: Callable[[], None]) -> None:
    """Register a callback for when a signal ends the process; its exceptions are ignored.

    The latest is called first.
    """
    _callbacks.append(callback)


def forget(callback: Callable[[], None]) -> None:
    """Unregister a callback."""
    with suppress(ValueError):
        _callbacks.remove(callback)


@contextmanager
def calling_before_end(callback: Callable[[], None]) -> Iterator[None]:
    """Register a callback while the block runs, as :func:`before_ending`."""
    before_ending(callback)
    try:
        yield
    finally:
        forget(callback)


def keep_from_children() -> None:
    """Keep Ctrl-C from processes that the calling thread starts, which would print stack traces.

    A terminal sends it to the whole process group. The main thread still receives it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run`` with signal handlers that raise, as Dagster's do during a step.

    An exception from a handler in the middle of an event loop is lost in a callback, or becomes one
    failure among others in a task group. So a signal cancels the work, and its handler is called
    after the loop has ended.
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
        for cancel_task in cancel:
            cancel_task()

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
        for arrived in received:
            raising[signal.Signals(arrived)](arrived, None)


def _end(number: int, _: FrameType | None) -> None:
    """End the process. The main thread may hold any lock, so another one calls the callbacks."""
    for one in _SIGNALS:
        signal.signal(one, lambda *_: None)  # not SIG_IGN, which children would inherit
    with suppress(Exception):  # the main thread may have been writing to this stream
        sys.stdout.flush()
    _say("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    ended = _thread.allocate_lock()
    ended.acquire()
    _thread.start_new_thread(_call_back, (ended,))
    ended.acquire(timeout=GRACE_S)
    os._exit(128 + number)


def _call_back(ended: _thread.LockType) -> None:
    for callback in reversed(_callbacks):
        with suppress(BaseException):
            callback()
    ended.release()


def _say(name: str) -> None:
    """Print the last line; anything that other threads print after it is about the interruption."""
    line = f"stopped by {name}: what was done is kept, and the next start continues\n"
    for place in _standard_error:
        with suppress(OSError):
            os.write(place, f"{_SHOW_CURSOR if os.isatty(place) else ''}{line}".encode())
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
