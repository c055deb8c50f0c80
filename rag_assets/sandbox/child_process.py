"""The parent's side of a child process that reads possibly hostile files.

It handles the pipes, the limits on memory and time, and the end of the child. A file is passed as
an open descriptor, never as a path. The child runs :mod:`.child_service`; the content of requests
and answers belongs to the callers.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

_ROOT = Path(__file__).parents[2]  # from which the package can be imported
_POLL_S = 0.02  # between two checks of the child's memory, which can grow by some 40 MB meanwhile
_START_S = 60.0
_PAGE_BYTES = resource.getpagesize()
_FAULTS = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL),
        *(signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP),
    }
)
"""Signals that end a faulty process; no other process sends them."""


class ChildError(Exception):
    """The child has ended without an answer. The message is a clause without a subject."""


class OutOfMemoryError(ChildError):
    """The child exceeded its memory limit."""


class OutOfTimeError(ChildError):
    """The child exceeded its time limit."""


class InterruptedChildError(ChildError):
    """The child was killed from outside, or could not work: the same request may succeed later."""


class CrashedError(ChildError):
    """The child crashed."""


class ChildProcess:
    """The process and its pipes.

    :param module: the module to run, which calls :func:`.child_service.serve`.
    :param argument: its only argument.
    :param memory_bytes: limit on its private memory, including the interpreter's.
    :param environment: variables besides two settings of Python; they must contain no secret.
    """

    def __init__(
        self,
        module: str,
        argument: Mapping[str, Any],
        *,
        memory_bytes: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._requests, its_end = socket.socketpair()
        with its_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(argument)],
                stdin=its_end.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=_ROOT,
                env={"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
                bufsize=0,
                process_group=0,  # Ctrl-C goes to the parent only, which ends the child itself
            )
        # On Linux, a child's peak is at least its parent's memory at the time of the fork.
        self._inherited = _peak_memory(resource.getrusage(resource.RUSAGE_SELF))
        assert self._process.stdout is not None  # noqa: S101
        self._answers = self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._buffer = bytearray()
        self._is_ready = False
        self._shared = 0  # bytes, at the last check
        self._ending = threading.Lock()  # once it is reaped, its id may be another process's
        self.ended = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def asleep(self) -> bool:
        """Whether it is waiting for a request: it has neither ended nor written anything."""
        return not self.ended and not self._poll.poll(0)

    def wait_until_ready(self) -> None:
        """Wait until it has loaded its libraries, which takes 0.3 s.

        :raises InterruptedChildError: it did not start.
        """
        if self._is_ready:
            return
        try:
            next(self._lines(_START_S))
        except ChildError:
            raise InterruptedChildError(
                f"did not start within {_START_S:g} s and {self._memory_bytes >> 20:,} MB (is the "
                "machine overloaded?)"
            ) from None
        self._is_ready = True

    def ask(
        self, request: Mapping[str, Any], file: BinaryIO | None, *, seconds: float
    ) -> Iterator[bytes]:
        """Send a request and yield the lines of the answer; the caller knows their number.

        :param file: passed to the child, which reads it from its current position.
        :param seconds: time limit for the whole answer.
        :raises ChildError: there is no answer; the subclass says why.
        """
        descriptors = [] if file is None else [file.fileno()]
        try:
            line = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(self._requests, [line], descriptors)
            self._requests.sendall(line[sent:])
        except OSError:
            raise self._end() from None
        yield from self._lines(seconds)

    def memory_bytes(self) -> int:
        """Its private memory; 0 if the system does not report it.

        Pages of program files do not count: all children share them, and the system can drop them.
        Those of the extraction library take 90 MB.
        """
        try:
            resident, shared = Path(f"/proc/{self.pid}/statm").read_bytes().split()[1:3]
        except (OSError, ValueError):
            return 0
        self._shared = int(shared) * _PAGE_BYTES or self._shared  # 0 after the end of the process
        return (int(resident) - int(shared)) * _PAGE_BYTES

    def _cpu_seconds(self) -> float:
        """CPU time that it has used; 0 if the system does not report it."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return 0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal_end(self) -> None:
        """Kill it, from any thread; the thread that reads its answer notices the end."""
        with self._ending:
            if not self.ended:
                os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> int:
        """Kill it immediately, because it has nothing to clean up.

        :return: its peak memory in bytes; 0 if it had ended before, or if its peak cannot be
            distinguished from its parent's.
        """
        self.signal_end()
        return self._reap()

    def _lines(self, seconds: float) -> Iterator[bytes]:
        """Yield the lines of its answer while it keeps within its limits.

        An answer may not be larger than its memory limit, because the parent has to hold it.
        """
        deadline = time.monotonic() + seconds
        left_bytes = self._memory_bytes
        cpu_before = self._cpu_seconds()
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                yield line
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                worked = self._cpu_seconds() - cpu_before if cpu_before else math.inf
                self.kill()
                if worked <= seconds / 2:
                    raise InterruptedChildError(
                        f"was given up after {seconds:g} s, for most of which it waited for the "
                        "machine or for the file"
                    )
                raise _too_slow(seconds)
            if self._poll.poll(1000 * min(left, _POLL_S)):
                received = os.read(self._answers, 1 << 18)
                if not received:
                    raise self._end(seconds)
                self._buffer += received
                left_bytes -= len(received)
                too_big = left_bytes < 0
            else:
                too_big = self.memory_bytes() > self._memory_bytes
            if too_big:
                self.kill()
                raise self.out_of_memory()

    def out_of_memory(self) -> OutOfMemoryError:
        """The error for a request that exceeds the memory limit."""
        return OutOfMemoryError(f"took more than {self._memory_bytes >> 20:,} MB of memory")

    def _end(self, seconds: float = 0) -> ChildError:
        """Find out why it ended although this process did not end it."""
        if self.kill() > self._memory_bytes + self._shared:
            return self.out_of_memory()
        ended_by = -self._process.returncode
        if ended_by == signal.SIGXCPU:
            return _too_slow(seconds)
        if ended_by in _FAULTS:
            return CrashedError(f"crashed: {signal.Signals(ended_by).name}")
        return InterruptedChildError(f"was ended from outside ({self._process.returncode})")

    def _reap(self) -> int:
        """Wait for its end and return its peak memory, as :meth:`kill` does."""
        if self.ended:
            return 0
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._ending:
            _, status, used = os.wait4(self.pid, 0)
            self.ended = True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._requests.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        peak = _peak_memory(used)
        return peak if peak > self._inherited else 0


def _too_slow(seconds: float) -> OutOfTimeError:
    return OutOfTimeError(f"took more than {seconds:g} s")


def _peak_memory(used: resource.struct_rusage) -> int:
    """Peak memory in bytes."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
