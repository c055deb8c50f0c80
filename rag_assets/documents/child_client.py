"""What the process that reads documents is asked, and what its answers and its end mean.

What it does is in :mod:`.child`; when there is one, in :mod:`.sandbox`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from rag_assets import errors
from rag_assets.documents.formats.ocr import language_folder
from rag_assets.documents.model import Chunk, ChunkedDocument, ExtractionLimits
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

_MODULE = "rag_assets.documents.child"


def start_child(limits: ExtractionLimits) -> ChildProcess:
    """Start one. A document that takes it over finds no key of ours in its environment."""
    folder = language_folder() if limits.ocr else None
    environment = {} if folder is None else {"TESSDATA_PREFIX": str(folder)}
    return ChildProcess(
        _MODULE, asdict(limits), memory_bytes=limits.memory_bytes, environment=environment
    )


def ask(
    child: ChildProcess, file: BinaryIO, name: str, content_hash: bytes, limits: ExtractionLimits
) -> ChunkedDocument:
    """Ask for a document and take the answer.

    :raises InboxUnavailableError: its content is not the one of ``content_hash``.
    :raises DocumentError: what is wrong with it.
    :raises ChildError: there was no answer, or none that makes sense.
    """
    request = {"name": name, "sha256": content_hash.hex()}
    lines = child.ask(request, file, seconds=limits.seconds)
    try:
        answer: dict[str, Any] = json.loads(next(lines))
        if "chunks" in answer:
            return _document(answer, lines)
        refusal = _refusal(answer, name, child)
    except (ValueError, TypeError, KeyError) as error:  # it is no longer the child that we know
        raise CrashedError("with an answer that makes no sense") from error
    raise refusal


def explained(error: ChildError, name: str) -> Exception:
    """What the end of the child means for the document that it read."""
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
    return ChunkedDocument(chunks=chunks, **answer)


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
