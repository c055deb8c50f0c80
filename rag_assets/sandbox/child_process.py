"""A child process that reads files which may be hostile, seen from its parent.

Its pipes, its limits of memory and time, its end. A file goes to it as an open descriptor, never as
a path. What it runs is :mod:`.child_service`; what is asked and answered belongs to its callers.
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

_ROOT = Path(__file__).parents[2]  # whence the package can be imported
_POLL_S = 0.02  # between two checks of the child's memory: it can grow by some 40 MB meanwhile
_START_S = 60.0
_PAGE_BYTES = resource.getpagesize()
_FAULTS = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL),
        *(signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP),
    }
)
"""How a process ends that does something which it must not: nobody sends these."""


class ChildError(Exception):
    """The child gave no answer, and has ended. The message is a clause without a subject."""


class OutOfMemoryError(ChildError):
    """It took more memory than it may."""


class OutOfTimeError(ChildError):
    """It worked for longer than it may."""


class InterruptedChildError(ChildError):
    """It was ended from outside, or did not get to work: the same request may pass later."""


class CrashedError(ChildError):
    """It ended by a fault of its own."""


class ChildProcess:
    """The process and its pipes.

    :param module: what it runs, a caller of :func:`.child_service.serve`.
    :param argument: its only argument.
    :param memory_bytes: memory of its own that it may take, its interpreter included.
    :param environment: what it gets beside two settings of Python: it must hold no secret.
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
                process_group=0,  # Ctrl-C is for the parent, which ends the child in its own way
            )
        # Linux counts the memory of the process that started it as its own, until it takes more.
        self._inherited = _most_memory(resource.getrusage(resource.RUSAGE_SELF))
        assert self._process.stdout is not None  # noqa: S101
        self._answers = self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._buffer = bytearray()
        self._is_ready = False
        self._shared = 0  # bytes, as of the last look
        self._ending = threading.Lock()  # once it is waited for, its id may be another's
        self.ended = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def asleep(self) -> bool:
        """Whether it waits for a request: it has said nothing, and has not ended."""
        return not self.ended and not self._poll.poll(0)

    def wait_until_ready(self) -> None:
        """Until it has loaded its libraries, 0.3 s.

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
        """Send a request and yield the lines of the answer, of which the caller knows the number.

        :param file: handed to the child, which reads it from where it stands.
        :param seconds: for the whole answer.
        :raises ChildError: there is no answer; which of its subclasses says why.
        """
        descriptors = [] if file is None else [file.fileno()]
        try:
            socket.send_fds(self._requests, [json.dumps(request).encode() + b"\n"], descriptors)
        except OSError:
            raise self._end() from None
        yield from self._lines(seconds)

    def memory_bytes(self) -> int:
        """What it holds in memory of its own; 0 where the system does not tell.

        Without the pages of program files: all children share them, and the system can drop them.
        The extraction library's are 90 MB.
        """
        try:
            resident, shared = Path(f"/proc/{self.pid}/statm").read_bytes().split()[1:3]
        except (OSError, ValueError):
            return 0
        self._shared = int(shared) * _PAGE_BYTES or self._shared  # one that has ended has none
        return (int(resident) - int(shared)) * _PAGE_BYTES

    def _cpu_seconds(self) -> float:
        """CPU time that it has used; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return 0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal_end(self) -> None:
        """End it from any thread; whoever reads its answer sees that it ends."""
        with self._ending:
            if not self.ended:
                os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> int:
        """End it immediately: there is nothing that it would have to put in order.

        :return: the most memory that it ever had, in bytes; 0 if it had been ended before, and
            where that cannot be told from its parent's.
        """
        self.signal_end()
        return self._reap()

    def _lines(self, seconds: float) -> Iterator[bytes]:
        """Its answer's lines, while it keeps to its limits.

        An answer that is larger than its memory cannot be of its own making: the parent would have
        to hold it.
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
        """The error of a request that takes more memory than there is."""
        return OutOfMemoryError(f"took more than {self._memory_bytes >> 20:,} MB of memory")

    def _end(self, seconds: float = 0) -> ChildError:
        """Why it ended, though nobody here ended it."""
        if self.kill() > self._memory_bytes + self._shared:
            return self.out_of_memory()
        ended_by = -self._process.returncode
        if ended_by == signal.SIGXCPU:
            return _too_slow(seconds)
        if ended_by in _FAULTS:
            return CrashedError(f"crashed: {signal.Signals(ended_by).name}")
        return InterruptedChildError(f"was ended from outside ({self._process.returncode})")

    def _reap(self) -> int:
        """Wait for its end; the most memory that it ever had, as for :meth:`kill`."""
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
        most = _most_memory(used)
        return most if most > self._inherited else 0


def _too_slow(seconds: float) -> OutOfTimeError:
    return OutOfTimeError(f"took more than {seconds:g} s")


def _most_memory(used: resource.struct_rusage) -> int:
    """In bytes."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
