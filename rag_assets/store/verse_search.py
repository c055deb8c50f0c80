"""The verses that a search found, and the versions that policy lets be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rag_assets.store.database import Connection


@dataclass(frozen=True)
class VerseHit:
    """One verse found. ``score`` is the cosine similarity, from -1 to 1."""

    version_code: str
    language: str
    book: str
    chapter: int
    verse: int
    verse_end: int
    text: str
    score: float


def verses_by_id(connection: Connection, distances: Mapping[int, float]) -> tuple[VerseHit, ...]:
    """The verses of these ids with their scores, the nearest first. By verses' primary key.

    :param distances: cosine distance (0 to 2) by verse id.
    """
    rows = connection.execute(
        """
        SELECT v.verse_id, v.version_code, b.language, v.book, v.chapter, v.verse, v.verse_end,
               v.text
          FROM verses v JOIN bible_versions b USING (version_code)
         WHERE v.verse_id = ANY(%s)
        """,
        (list(distances),),
    ).fetchall()
    found = {
        verse_id: VerseHit(*verse, score=1 - distances[verse_id])  # type: ignore[misc]
        for verse_id, *verse in rows
    }
    return tuple(found[key] for key in sorted(found, key=lambda key: (distances[key], key)))


def servable_versions(connection: Connection) -> frozenset[str]:
    """Codes of the versions that policy lets be served."""
    rows = connection.execute(
        "SELECT version_code FROM bible_versions WHERE enabled_for_rag AND ai_allowed"
    ).fetchall()
    return frozenset(row[0] for row in rows)
