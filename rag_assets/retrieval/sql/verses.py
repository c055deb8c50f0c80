"""The verses that a search found, and the versions that policy lets be served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.rows import dict_row

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited


@dataclass(frozen=True)
class FoundVerse:
    """One verse as it is stored."""

    version_code: str
    language: str
    book: str
    chapter: int
    verse: int
    verse_end: int
    text: str


def verses_by_id(
    connection: Connection, ids: Iterable[int], *, timeout_ms: int = 0
) -> dict[int, FoundVerse]:
    """The verses of these ids that are still there. By verses' primary key.

    :param timeout_ms: the server gives up after so long; 0 for never.
    :raises SearchTimeoutError: it gave up.
    """
    with limited(connection, timeout_ms):
        found = connection.cursor(row_factory=dict_row).execute(
            """
            SELECT v.verse_id, v.version_code, b.language, v.book, v.chapter, v.verse, v.verse_end,
                   v.text
              FROM verses v JOIN bible_versions b USING (version_code)
             WHERE v.verse_id = ANY(%s)
            """,
            (list(ids),),
        )
    return {verse.pop("verse_id"): FoundVerse(**verse) for verse in found}


def servable_versions(connection: Connection) -> frozenset[str]:
    """Codes of the versions that policy lets be served."""
    rows = connection.execute(
        "SELECT version_code FROM bible_versions WHERE enabled_for_rag AND ai_allowed"
    ).fetchall()
    return frozenset(row[0] for row in rows)
