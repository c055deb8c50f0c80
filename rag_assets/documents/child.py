"""The child process of :class:`.sandbox.Extractor`, which reads one document after another.

It answers with the document's metadata or its fault, followed by one line per chunk.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from io import FileIO
from typing import Any

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ExtractionLimits
from rag_assets.documents.tokens import count_tokens
from rag_assets.errors import DocumentError
from rag_assets.sandbox.child_service import serve

UNREADABLE = "unreadable"
CHANGED = "changed"


def main() -> None:
    """Serve requests until the input ends. The only argument is the limits, as JSON."""
    limits = ExtractionLimits(**json.loads(sys.argv[1]))

    def answer(request: dict[str, Any], file: FileIO | None) -> Iterator[Any]:
        assert file is not None  # noqa: S101
        cut = {
            name: request[name] for name in ("chunk_tokens", "overlap_tokens") if name in request
        }
        return _answer(file, request["name"], request["sha256"], replace(limits, **cut))

    count_tokens("ready")
    serve(answer, memory_bytes=limits.memory_bytes, seconds=limits.seconds)


def _answer(file: FileIO, name: str, sha256: str, limits: ExtractionLimits) -> Iterator[Any]:
    try:
        content = file.readall()
    except OSError as error:
        yield {UNREADABLE: str(error)}
        return
    # Hash the bytes that are actually read: the file may be written to while it is open.
    if hashlib.sha256(content).hexdigest() != sha256:
        yield {CHANGED: True}
        return
    try:
        document = read_document(content, name, limits)
    except DocumentError as error:
        yield {"error": type(error).__name__, "reason": error.reason}
        return
    del content
    yield {
        "title": document.title,
        "media_type": document.media_type,
        "language": document.language,
        "pages": document.pages,
        "characters": document.characters,
        "seconds": dict(document.seconds),
        "remarks": [asdict(remark) for remark in document.remarks],
        "chunks": len(document.chunks),
    }
    for chunk in document.chunks:
        yield [chunk.text, chunk.heading, chunk.page, chunk.tokens]


if __name__ == "__main__":
    main()
