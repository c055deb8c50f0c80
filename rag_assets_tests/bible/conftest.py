"""Fixtures of the reader's tests: tiny folders, and the real Bibles read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from rag_assets.bible.model import BibleText
from rag_assets.bible.reader import read_bible

BIBLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "bibles"

FolderOf = Callable[[Mapping[str, str | bytes]], Path]


@pytest.fixture
def folder_of(tmp_path: Path) -> FolderOf:
    """Writes files (names to contents) into a version's folder."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        folder = tmp_path / "version"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write


@cache
def _read_real(name: str) -> BibleText:
    return read_bible(BIBLES / name)


@pytest.fixture
def real_bible() -> Callable[[str], BibleText]:
    """Reads a folder of the shared test data, once a session; skips where it is absent."""

    def read(name: str) -> BibleText:
        if not (BIBLES / name).exists():
            pytest.skip("the shared Bibles are not on this machine")
        return _read_real(name)

    return read
