"""The verses that a search finds, and the versions that policy allows to be served."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.statement import Joined

VERSES = Joined(
    columns="v.version_code, b.language, v.book, v.chapter, v.verse, v.verse_end, v.text",
    tables="JOIN verses v ON v.verse_id = near.id JOIN bible_versions b USING (version_code)",
)
"""What a search returns of each verse: the fields of :class:`FoundVerse`."""


@dataclass(frozen=True)
class FoundVerse:
    """One stored verse."""

    version_code: str
    language: str
    book: str
    chapter: int
    verse: int
    verse_end: int
    text: str


def servable_versions(connection: Connection) -> frozenset[str]:
    """Codes of the versions that policy allows to be served."""
    rows = connection.execute(
        "SELECT version_code FROM bible_versions WHERE enabled_for_rag AND ai_allowed"
    ).fetchall()
    return frozenset(row[0] for row in rows)
