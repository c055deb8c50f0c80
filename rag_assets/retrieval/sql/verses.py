"""The verses that a search finds, and the versions that policy allows to be served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from rag_assets.postgres.database import Connection, fetch_all
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


def verses_by_id(connection: Connection, ids: Iterable[int]) -> tuple[FoundVerse, ...]:
    """The verses with these ids that still exist, in no order. Uses verses' primary key."""
    return fetch_all(
        connection,
        FoundVerse,
        sql.SQL("SELECT {} FROM unnest(%s::bigint[]) AS near (id) {}").format(
            sql.SQL(VERSES.columns), sql.SQL(VERSES.tables)
        ),
        (list(ids),),
    )


def servable_versions(connection: Connection) -> frozenset[str]:
    """Codes of the versions that policy allows to be served."""
    rows = connection.execute(
        "SELECT version_code FROM bible_versions WHERE enabled_for_rag AND ai_allowed"
    ).fetchall()
    return frozenset(row[0] for row in rows)
