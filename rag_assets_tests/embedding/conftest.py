"""The tests' server need not survive a power cut: making and dropping databases is then quick."""

from __future__ import annotations

import pytest

from rag_assets.store.database import Database
from rag_assets_tests.store.vectors import without_fsync


@pytest.fixture(scope="session", autouse=True)
def _quick_server(template_database: Database) -> None:
    without_fsync(template_database)
