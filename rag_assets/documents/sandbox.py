"""Read documents in a child process, so that a document that exhausts resources ends only that.

This module manages the child and interprets its answers and its end. The child's own code is in
:mod:`.child`; documents are parsed in :mod:`.formats.extract`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, BinaryIO, Self, TypedDict

from rag_assets import errors
from rag_assets.documents.formats.ocr import language_folder
from rag_assets.documents.model import (
    Chunk,
    ChunkedDocument,
    ExtractionLimits,
    Remark,
    RemarkKind,
)
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentError,
    DocumentTooLargeError,
    ExtractionInterruptedError,
    InboxUnavailableError,
)
from rag_assets.sandbox.child_process import (
    ChildError,
    ChildProcess,
    CrashedError,
    OutOfMemoryError,
    OutOfTimeError,
)
from rag_assets.settings.model import Settings

_MODULE = "rag_assets.documents.child"
_LEFT_OVER = 0.5  # share of the memory limit above which a child is replaced after a document


class Cut(TypedDict):
    """How a document is cut up, in tokens."""

    chunk_tokens: int
    overlap_tokens: int


def cut_of(settings: Settings) -> Cut:
    """As the settings say, which may be those of one corpus."""
    return {
        "chunk_tokens": settings.rag_max_chunk_size,
        "overlap_tokens": settings.rag_chunk_overlap,
    }


def extraction_limits(settings: Settings) -> ExtractionLimits:
    """Return the limits from the settings."""
    memory_mb = settings.rag_document_memory_mb
    if settings.rag_documents_ocr:
        memory_mb = max(memory_mb, settings.rag_document_ocr_memory_mb)
    return ExtractionLimits(
        seconds=settings.rag_document_timeout_s,
        memory_bytes=memory_mb * 1024 * 1024,
        **cut_of(settings),
        max_chunks=settings.rag_document_max_chunks,
        ocr=settings.rag_documents_ocr,
    )


class Extractor:
    """A child process that reads one document at a time; a context manager.

    The child is started for the first document, and restarted after one that ended it.
    :meth:`cancel` and :meth:`close` may be called from any thread.
    """

    def __init__(self, limits: ExtractionLimits) -> None:
        self._limits = limits
        self._child: ChildProcess | None = None
        self._reading = threading.RLock()  # held while using or closing the child's pipes
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id, if there is a child."""
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

    def extract(
        self, file: BinaryIO, name: str, content_hash: bytes, cut: Cut | None = None
    ) -> ChunkedDocument:
        """Read a document.

        :param file: a local file, open at its beginning, whose descriptor is passed to the child.
        :param name: its path below the inbox.
        :param content_hash: the expected SHA-256, 32 bytes.
        :param cut: how to cut it up, if not as the limits say.
        :raises InboxUnavailableError: the hash differs: the file has changed.
        :raises DocumentTooLargeError: it reached a limit; names the limit and its setting.
        :raises DocumentError: it cannot be read; the subclass tells why.
        :raises ExtractionInterruptedError: the child ended without reaching a limit, or got too
            little CPU time.
        """
        with self._reading:
            try:
                return self._read_twice(
                    file, {"name": name, "sha256": content_hash.hex(), **(cut or {})}
                )
            except ChildError as error:
                raise _explained(error, name) from None

    def cancel(self) -> None:
        """Interrupt the current extraction, which raises ExtractionInterruptedError."""
        child = self._child
        if child is not None:
            child.signal_end()

    def close(self) -> None:
        """End the child and the current extraction; later ones are refused."""
        self._closed = True
        self.cancel()
        with self._reading:
            self._replace()

    def _read_twice(self, file: BinaryIO, request: Mapping[str, Any]) -> ChunkedDocument:
        try:
            return self._read(file, request)
        except CrashedError:  # perhaps caused by an earlier document: retry in a new child
            os.lseek(file.fileno(), 0, os.SEEK_SET)
        return self._read(file, request)

    def _read(self, file: BinaryIO, request: Mapping[str, Any]) -> ChunkedDocument:
        child = self._ready(request["name"])
        try:
            return _ask(child, file, request, self._limits)
        except (DocumentError, InboxUnavailableError):
            raise
        except BaseException:
            child.kill()  # the next document must not receive a pending answer
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
            self._replace()  # it ended between two documents
        child = self._child = self._child or _start_child(self._limits)
        try:
            if self._closed:  # close() sets this before it reads _child, so one side notices
                raise ExtractionInterruptedError(f"{name}: extraction has been closed")
            child.wait_until_ready()
        except BaseException:
            self._replace()
            raise
        return child


def _start_child(limits: ExtractionLimits) -> ChildProcess:
    """Start a child without secrets in its environment, in case a document takes it over."""
    folder = language_folder() if limits.ocr else None
    environment = {} if folder is None else {"TESSDATA_PREFIX": str(folder)}
    return ChildProcess(
        _MODULE, asdict(limits), memory_bytes=limits.memory_bytes, environment=environment
    )


def _ask(
    child: ChildProcess, file: BinaryIO, request: Mapping[str, Any], limits: ExtractionLimits
) -> ChunkedDocument:
    """Send a document to the child, and parse the answer.

    :raises InboxUnavailableError, DocumentError: its hash differs, or it cannot be read.
    :raises ChildError: there was no answer, or an invalid one.
    """
    lines = child.ask(request, file, seconds=limits.seconds)
    try:
        answer: dict[str, Any] = json.loads(next(lines))
        if "chunks" in answer:
            return _document(answer, lines)
        refusal = _refusal(answer, request["name"], child)
    except (ValueError, TypeError, KeyError) as error:  # the document may have taken over the child
        raise CrashedError("with an invalid answer") from error
    raise refusal


def _explained(error: ChildError, name: str) -> Exception:
    """Translate the end of the child into an error of the document."""
    if isinstance(error, OutOfMemoryError):
        advice = "split the document, or raise RAG_DOCUMENT_MEMORY_MB"
        return DocumentTooLargeError(name, f"reading it {error}: {advice}")
    if isinstance(error, OutOfTimeError):
        advice = "split the document, or raise RAG_DOCUMENT_TIMEOUT_S"
        return DocumentTooLargeError(name, f"reading it {error}: {advice}")
    if isinstance(error, CrashedError):
        return CorruptDocumentError(
            name,
            f"it ended the process that read it twice ({error}): it is damaged or nested too "
            "deeply: convert it",
        )
    return ExtractionInterruptedError(
        f"{name}: the process that read it {error}: it is retried. If that is so each time, lower "
        "RAG_MAX_CONCURRENT_JOBS or raise RAG_DOCUMENT_TIMEOUT_S"
    )


def _document(answer: dict[str, Any], lines: Iterator[bytes]) -> ChunkedDocument:
    chunks = tuple(_chunk(next(lines)) for _ in range(answer.pop("chunks")))
    remarks = tuple(_remark(**one) for one in answer.pop("remarks"))
    return ChunkedDocument(chunks=chunks, remarks=remarks, **answer)


def _remark(kind: RemarkKind, what: str, count: int, examples: list[str]) -> Remark:
    return Remark(kind, what, count, tuple(examples))


def _chunk(line: bytes) -> Chunk:
    text, heading, page, tokens = json.loads(line)
    return Chunk(text, tuple(heading), page, tokens)


def _refusal(answer: dict[str, Any], name: str, child: ChildProcess) -> Exception:
    if "error" in answer:
        kind: type[DocumentError] = getattr(errors, answer["error"])
        return kind(name, answer["reason"])
    if "changed" in answer:
        return InboxUnavailableError(
            f"{name} has changed since the inbox was last scanned: it is processed after the next "
            "scan"
        )
    if "unreadable" in answer:
        return ExtractionInterruptedError(f"{name}: cannot be read now: {answer['unreadable']}")
    if "memory" in answer:
        return child.out_of_memory()
    return CorruptDocumentError(
        name, f"it cannot be read ({answer['failed']}): fetch the file again, or convert it"
    )
