"""The child process that reads documents, seen from its parent: its pipes, its limits, its end.

What it does is in :mod:`.child`; when there is one, in :mod:`.sandbox`.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag_assets import errors
from rag_assets.corpus.documents.model import Chunk, ChunkedDocument, ExtractionLimits
from rag_assets.corpus.documents.ocr import language_folder
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentError,
    DocumentTooLargeError,
    ExtractionInterruptedError,
)

_ROOT = Path(__file__).parents[3]  # whence the package can be imported
_LOOK_S = 0.02  # between two looks at the child's memory: it can grow by some 40 MB meanwhile
_START_S = 60.0
_PAGE_BYTES = resource.getpagesize()
_FAULTS = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL),
        *(signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP),
    }
)
"""How a process ends that does something which it must not: nobody sends these."""


class CrashedError(Exception):
    """The child ended by a fault of its own; the signal's name."""


class ChildProcess:
    """The process and its pipes."""

    def __init__(self, limits: ExtractionLimits) -> None:
        self._limits = limits
        self._process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "rag_assets.corpus.documents.child", json.dumps(asdict(limits))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env=_environment(limits),
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
        return self._process.pid

    def asleep(self) -> bool:
        """Whether it waits for a document: it has said nothing, and has not ended."""
        return not self.ended and not self._poll.poll(0)

    def wait_until_ready(self, name: str) -> None:
        """Until it has loaded its libraries, 0.3 s."""
        if self._is_ready:
            return
        try:
            next(self._lines(name, _START_S))
        except (CrashedError, DocumentTooLargeError, ExtractionInterruptedError):
            raise ExtractionInterruptedError(
                f"{name}: the process that reads documents did not start within {_START_S:g} s and "
                f"{self._limits.memory_bytes >> 20:,} MB: is the machine overloaded?"
            ) from None
        self._is_ready = True

    def read(self, path: Path, name: str) -> ChunkedDocument:
        """Ask for a document and take the answer."""
        assert self._process.stdin is not None  # noqa: S101
        request = json.dumps({"path": str(path.absolute()), "name": name})
        try:
            self._process.stdin.write(request.encode() + b"\n")
        except OSError:
            raise self._interrupted(name) from None
        lines = self._lines(name, self._limits.seconds)
        try:
            told: dict[str, Any] = json.loads(next(lines))
            if "chunks" in told:
                chunks = tuple(_chunk(next(lines)) for _ in range(told.pop("chunks")))
                return ChunkedDocument(chunks=chunks, **told)
            refusal = _refusal(told, name, self._limits)
        except (ValueError, TypeError, KeyError) as error:  # it is no longer the child that we know
            raise CrashedError("with an answer that makes no sense") from error
        raise refusal

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
        """End it at once: there is nothing that it would have to put in order.

        :return: the most memory that it ever had, in bytes; 0 if it had been ended before, and
            where that cannot be told from its parent's.
        """
        self.signal_end()
        return self._reap()

    def _lines(self, name: str, seconds: float) -> Iterator[bytes]:
        """Its answer's lines, as long as it keeps to its limits."""
        deadline = time.monotonic() + seconds
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
                    raise _waited(name, seconds)
                raise _too_slow(name, seconds)
            if self._poll.poll(1000 * min(left, _LOOK_S)):
                received = os.read(self._answers, 1 << 18)
                if not received:
                    raise self._interrupted(name)
                self._buffer += received
            elif self.memory_bytes() > self._limits.memory_bytes:
                self.kill()
                raise _too_big(name, self._limits)

    def _interrupted(self, name: str) -> Exception:
        """Why it ended, though nobody here ended it."""
        if self.kill() > self._limits.memory_bytes + self._shared:
            return _too_big(name, self._limits)
        ended_by = -self._process.returncode
        if ended_by == signal.SIGXCPU:
            return _too_slow(name, self._limits.seconds)
        if ended_by in _FAULTS:
            return CrashedError(signal.Signals(ended_by).name)
        return ExtractionInterruptedError(
            f"{name}: the process that read it was ended from outside "
            f"({self._process.returncode}): it is tried again"
        )

    def _reap(self) -> int:
        """Wait for its end; the most memory that it ever had, as for :meth:`kill`."""
        if self.ended:
            return 0
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._ending:
            _, status, used = os.wait4(self.pid, 0)
            self.ended = True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        most = _most_memory(used)
        return most if most > self._inherited else 0


def _most_memory(used: resource.struct_rusage) -> int:
    """In bytes."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _environment(limits: ExtractionLimits) -> dict[str, str]:
    """Next to nothing: a document that takes the child over finds no key of ours there."""
    folder = language_folder() if limits.ocr else None
    tesseract = {} if folder is None else {"TESSDATA_PREFIX": str(folder)}
    return {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **tesseract}


def _chunk(line: bytes) -> Chunk:
    text, heading, page, tokens = json.loads(line)
    return Chunk(text, tuple(heading), page, tokens)


def _refusal(told: dict[str, Any], name: str, limits: ExtractionLimits) -> Exception:
    if "error" in told:
        kind: type[DocumentError] = getattr(errors, told["error"])
        return kind(name, told["reason"])
    if "unreadable" in told:
        return ExtractionInterruptedError(f"{name}: cannot be read now: {told['unreadable']}")
    if "memory" in told:
        return _too_big(name, limits)
    return CorruptDocumentError(
        name, f"it cannot be read ({told['failed']}): fetch the file again, or convert it"
    )


def _too_big(name: str, limits: ExtractionLimits) -> DocumentTooLargeError:
    return DocumentTooLargeError(
        name,
        f"reading it took more than {limits.memory_bytes >> 20:,} MB of memory: split the "
        "document, or raise RAG_DOCUMENT_MEMORY_MB",
    )


def _too_slow(name: str, seconds: float) -> DocumentTooLargeError:
    return DocumentTooLargeError(
        name,
        f"reading it took more than {seconds:g} s: split the document, or raise "
        "RAG_DOCUMENT_TIMEOUT_S",
    )


def _waited(name: str, seconds: float) -> ExtractionInterruptedError:
    """It was not at work for half of the time: that is not the document's fault."""
    return ExtractionInterruptedError(
        f"{name}: reading it was given up after {seconds:g} s, for most of which it waited for the "
        "machine or for the file: it is tried again. If that is so each time, lower "
        "RAG_MAX_CONCURRENT_JOBS or raise RAG_DOCUMENT_TIMEOUT_S"
    )
