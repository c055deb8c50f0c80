"""What tests of the extraction share: limits, and a document read by the child."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from rag_assets.documents.model import ChunkedDocument, ExtractionLimits
from rag_assets.documents.sandbox import Extractor

LIMITS = ExtractionLimits(
    seconds=120,
    memory_bytes=512 << 20,
    chunk_tokens=1024,
    overlap_tokens=64,
    max_chunks=50_000,
    ocr=False,
)


def limits(**changes: object) -> ExtractionLimits:
    """Wide limits, but for these changes."""
    return replace(LIMITS, **changes)  # type: ignore[arg-type]


def extract(extractor: Extractor, path: Path, name: str | None = None) -> ChunkedDocument:
    """A file read by the child, as it is now."""
    content_hash = hashlib.sha256(path.read_bytes()).digest()
    with path.open("rb") as file:
        return extractor.extract(file, name or path.name, content_hash)
