"""Fixtures of the extraction's tests: limits, and the shared real documents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rag_assets.documents.model import ChunkedDocument, ExtractionLimits
from rag_assets.documents.sandbox import Extractor
from rag_assets_tests.conftest import SHARED_DATA

DOCUMENTS = SHARED_DATA / "documents"
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


@pytest.fixture
def real_document() -> Callable[[str], Path]:
    """A file of the shared documents; skips where they are absent."""

    def find(name: str) -> Path:
        if not DOCUMENTS.exists():
            pytest.skip("the shared documents are not on this machine")
        return DOCUMENTS / name

    return find
