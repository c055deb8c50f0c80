"""What a command works on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings, load_settings


def open_corpus() -> tuple[Settings, Database]:
    """The settings, and their database with its migrations up to date."""
    settings = load_settings()
    database = open_database(settings)
    migrate(database)
    return settings, database


def open_private(path: Path) -> BinaryIO:
    """Write a file anew that only its owner may read, whatever the umask says and it was before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")
