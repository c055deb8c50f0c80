"""What a command works on."""

from __future__ import annotations

from rag_assets.settings import Settings, load_settings
from rag_assets.store.database import Database, open_database
from rag_assets.store.migrations import migrate


def open_corpus() -> tuple[Settings, Database]:
    """The settings, and their database with its migrations up to date."""
    settings = load_settings()
    database = open_database(settings)
    migrate(database)
    return settings, database
