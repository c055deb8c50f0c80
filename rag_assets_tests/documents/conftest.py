"""Fixtures of the document lane's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import SHARED_DATA, MakeSettings
from rag_assets_tests.documents.dropped import Dropped
from rag_assets_tests.documents.lane import Lane

DOCUMENTS = SHARED_DATA / "documents"


@pytest.fixture
def lane(
    database: Database, openai_settings: MakeSettings, emulator: Emulator, tmp_path: Path
) -> Lane:
    """An empty inbox without settling time, and retries without waiting."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    settings = openai_settings(
        rag_documents_url=str(folder), rag_documents_settle_s=0, rag_document_retry_s=0
    )
    return Lane(Dropped(folder, database, settings), emulator)


@pytest.fixture
def real_document() -> Callable[[str], Path]:
    """A file of the shared documents; skips where they are absent."""

    def find(name: str) -> Path:
        if not DOCUMENTS.exists():
            pytest.skip("the shared documents are not on this machine")
        return DOCUMENTS / name

    return find
