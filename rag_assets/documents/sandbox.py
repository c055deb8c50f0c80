"""Reads documents in a child process, so that one that takes too much ends nothing but that child.

What is read, and how, belongs to :mod:`.extract`; what the child is asked to :mod:`.child_client`.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import BinaryIO, Self

from rag_assets.documents.child_client import ask, explained, start_child
from rag_assets.documents.model import ChunkedDocument, ExtractionLimits
from rag_assets.errors import DocumentError, ExtractionInterruptedError, InboxUnavailableError
from rag_assets.sandbox.child_process import ChildError, ChildProcess, CrashedError

_LEFT_OVER = 0.5  # of the memory: a child that keeps more after a document is replaced


class Extractor:
    """One child process that reads documents one after another; a context manager.

    The child is started by the first document, and anew after one that ended it. One document is
    read at a time; :meth:`cancel` and :meth:`close` may be called from any thread meanwhile.
    """

    def __init__(self, limits: ExtractionLimits) -> None:
        self._limits = limits
        self._child: ChildProcess | None = None
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

    def extract(self, file: BinaryIO, name: str, content_hash: bytes) -> ChunkedDocument:
        """Read the document ``file``, which is called ``name`` below the inbox.

        :param file: a local file, open at its beginning. It is handed to the child as it is.
        :param content_hash: SHA-256, 32 bytes, that the bytes which are read must have.
        :raises InboxUnavailableError: they have another: the file has changed.
        :raises DocumentTooLargeError: it reached a limit; names the limit and its setting.
        :raises DocumentError: it cannot be read; the subclass says why.
        :raises ExtractionInterruptedError: the child ended without having reached a limit, or for
            most of its time it did not get to work.
        """
        with self._reading:
            try:
                return self._read_twice(file, name, content_hash)
            except ChildError as error:
                raise explained(error, name) from None

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

    def _read_twice(self, file: BinaryIO, name: str, content_hash: bytes) -> ChunkedDocument:
        try:
            return self._read(file, name, content_hash)
        except CrashedError:  # by this document, or by what one before it left behind?
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        return self._read(file, name, content_hash)

    def _read(self, file: BinaryIO, name: str, content_hash: bytes) -> ChunkedDocument:
        child = self._ready(name)
        try:
            return ask(child, file, name, content_hash, self._limits)
        except (DocumentError, InboxUnavailableError):
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

    def _ready(self, name: str) -> ChildProcess:
        if self._child is not None and not self._child.asleep():
            self._replace()  # it ended between two documents, by no fault of this one
        child = self._child = self._child or start_child(self._limits)
        try:
            if self._closed:  # set before the child was looked for, and so seen on one side
                raise ExtractionInterruptedError(f"{name}: extraction has been closed")
            child.wait_until_ready()
        except BaseException:
            self._replace()
            raise
        return child
