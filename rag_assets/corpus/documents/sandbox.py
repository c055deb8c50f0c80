"""Reads documents in a child process, so that one that takes too much ends nothing but that child.

What is read, and how, belongs to :mod:`.extract`; what the child does, to :mod:`.child`.
"""

from __future__ import annotations

import json
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
from types import TracebackType
from typing import Any, Self

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
_LEFT_OVER = 0.5  # of the memory: a child that keeps more after a document is replaced

_FAULTS = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL),
        *(signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP),
    }
)
"""How a process ends that does something which it must not: nobody sends these."""


class _CrashedError(Exception):
    """The child ended by a fault of its own; the signal's name."""


class Extractor:
    """One child process that reads documents one after another; a context manager.

    The child is started by the first document, and anew after one that ended it. One document is
    read at a time; :meth:`cancel` and :meth:`close` may be called from any thread meanwhile.
    """

    def __init__(self, limits: ExtractionLimits) -> None:
        self._limits = limits
        self._child: _Child | None = None
        self._reading = threading.RLock()  # held by who uses the child's pipes, or closes them
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; ``None`` while there is none."""
        return self._child.pid if self._child is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def extract(self, path: Path, name: str) -> ChunkedDocument:
        """Read the local file ``path``, which is called ``name`` below the inbox.

        :raises DocumentTooLargeError: it reached a limit; names the limit and its setting.
        :raises DocumentError: it cannot be read; the subclass says why.
        :raises ExtractionInterruptedError: the child ended without having reached a limit.
        """
        with self._reading:
            return self._read_twice(path, name)

    def cancel(self) -> None:
        """End an extraction that is under way: it raises ExtractionInterruptedError."""
        child = self._child
        if child is not None:
            child.signal_end()

    def close(self) -> None:
        """End the child, and an extraction that is under way; nothing is read any more."""
        self._closed = True
        self.cancel()
        with self._reading:
            self._replace()

    def _read_twice(self, path: Path, name: str) -> ChunkedDocument:
        try:
            return self._read(path, name)
        except _CrashedError:  # by this document, or by what one before it left behind?
            pass
        try:
            return self._read(path, name)
        except _CrashedError as error:
            raise CorruptDocumentError(
                name,
                f"it ended the process that read it twice ({error}): it is damaged or nested too "
                "deeply: convert it",
            ) from None

    def _read(self, path: Path, name: str) -> ChunkedDocument:
        child = self._ready(name)
        try:
            return child.read(path, name)
        except DocumentError:
            raise
        except BaseException:
            child.kill()  # an answer may be on its way, which the next document must not get
            raise
        finally:
            if child.ended or child.memory_bytes() > _LEFT_OVER * self._limits.memory_bytes:
                self._replace()

    def _replace(self) -> None:
        """End the child; the next document starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _ready(self, name: str) -> _Child:
        if self._child is not None and not self._child.asleep():
            self._replace()  # it ended between two documents, by no fault of this one
        child = self._child = self._child or _Child(self._limits)
        try:
            if self._closed:  # set before the child was looked for, and so seen on one side
                raise ExtractionInterruptedError(f"{name}: extraction has been closed")
            child.wait_until_ready(name)
        except BaseException:
            self._replace()
            raise
        return child


class _Child:
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
        assert self._process.stdout is not None  # noqa: S101
        self._answers = self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._buffer = bytearray()
        self._is_ready = False
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
        except DocumentTooLargeError:
            raise ExtractionInterruptedError(
                f"{name}: the process that reads documents was not ready within {_START_S:g} s or "
                f"took more than {self._limits.memory_bytes >> 20:,} MB: is the machine overloaded?"
            ) from None
        self._is_ready = True

    def read(self, path: Path, name: str) -> ChunkedDocument:
        """Ask for a document and take the answer."""
        assert self._process.stdin is not None  # noqa: S101
        request = json.dumps({"path": str(path.absolute()), "name": name})
        try:
            self._process.stdin.write(request.encode() + b"\n")
        except OSError:
            raise self._interrupted(name, self._reap()) from None
        lines = self._lines(name, self._limits.seconds)
        told: dict[str, Any] = json.loads(next(lines))
        if "chunks" not in told:
            raise _refusal(told, name, self._limits)
        chunks = tuple(_chunk(next(lines)) for _ in range(told.pop("chunks")))
        return ChunkedDocument(chunks=chunks, **told)

    def memory_bytes(self) -> int:
        """What it holds in memory; 0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def signal_end(self) -> None:
        """End it from any thread; whoever reads its answer sees that it ends."""
        with self._ending:
            if not self.ended:
                os.kill(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it at once: there is nothing that it would have to put in order."""
        self.signal_end()
        self._reap()

    def _lines(self, name: str, seconds: float) -> Iterator[bytes]:
        """Its answer's lines, as long as it keeps to its limits."""
        deadline = time.monotonic() + seconds
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                yield line
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                raise _too_slow(name, seconds)
            if self._poll.poll(1000 * min(left, _LOOK_S)):
                received = os.read(self._answers, 1 << 18)
                if not received:
                    raise self._interrupted(name, self._reap())
                self._buffer += received
            elif self.memory_bytes() > self._limits.memory_bytes:
                self.kill()
                raise _too_big(name, self._limits)

    def _interrupted(self, name: str, most_bytes: int) -> Exception:
        if most_bytes > self._limits.memory_bytes:
            return _too_big(name, self._limits)
        ended_by = -self._process.returncode
        if ended_by == signal.SIGXCPU:
            return _too_slow(name, self._limits.seconds)
        if ended_by in _FAULTS:
            return _CrashedError(signal.Signals(ended_by).name)
        return ExtractionInterruptedError(
            f"{name}: the process that read it was ended from outside "
            f"({self._process.returncode}): it is tried again"
        )

    def _reap(self) -> int:
        """Wait for its end; the most memory that it ever had, in bytes."""
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
