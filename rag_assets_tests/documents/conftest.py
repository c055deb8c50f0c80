"""Fixtures of the document lane's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.dropped import Dropped
from rag_assets_tests.documents.lane import Lane


@pytest.fixture
def lane(
    database: Database, openai_settings: MakeSettings, emulator: Emulator, tmp_path: Path
) -> Lane:
    """An empty inbox whose files are taken at once, and no waiting before another attempt."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    settings = openai_settings(
        rag_documents_url=str(folder), rag_documents_settle_s=0, rag_document_retry_s=0
    )
    return Lane(Dropped(folder, database, settings), emulator)
