"""Bible versions and verses in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rag_assets.bible.books import book_position
from rag_assets.bible.model import BibleText
from rag_assets.bible.sql.oddities import store_oddities
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import AuditError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.spaces import all_spaces


@dataclass(frozen=True)
class VersesLoaded:
    """What loading one version changed, in verses; a bridge counts as one."""

    total: int
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class StoredVersion:
    """One row of ``bible_versions``, with its number of verses."""

    code: str
    name: str
    language: str
    licence: str
    ai_allowed: bool
    enabled_for_rag: bool
    source_format: str
    source_hash: str
    reference_count: int
    verses: int
    loaded_at: datetime

    @property
    def declaration(self) -> VersionDeclaration:
        """The version's declaration when it was loaded."""
        return VersionDeclaration(
            self.name, self.language, self.licence, self.ai_allowed, self.enabled_for_rag
        )


def stored_versions(connection: Connection) -> tuple[StoredVersion, ...]:
    """All versions, ordered by code. Uses verses' unique index for the counts."""
    return fetch_all(
        connection,
        StoredVersion,
        """
        SELECT version_code AS code, name, language, licence, ai_allowed, enabled_for_rag,
               source_format, source_hash, reference_count,
               (SELECT count(*) FROM verses WHERE verses.version_code = v.version_code) AS verses,
               loaded_at
          FROM bible_versions v ORDER BY version_code
        """,
    )


def version_languages(connection: Connection) -> dict[str, str]:
    """The language of each version, as a BCP 47 tag."""
    rows = connection.execute("SELECT version_code, language FROM bible_versions").fetchall()
    return dict(rows)


def verse_ids(
    connection: Connection, versions: Sequence[str], book: str, chapter: int, verse: int
) -> set[int]:
    """Ids of one verse in these versions, including bridges that contain it."""
    rows = connection.execute(
        """
        SELECT verse_id FROM verses
         WHERE version_code = ANY(%s) AND book = %s AND chapter = %s
           AND %s BETWEEN verse AND verse_end
        """,
        (list(versions), book, chapter, verse),
    ).fetchall()
    return {row[0] for row in rows}


def rows_by_book(connection: Connection, versions: Sequence[str]) -> dict[tuple[str, str], int]:
    """Count verses by version and book, by an index-only scan of verses' unique index."""
    rows = connection.execute(
        """
        SELECT version_code, book, count(*) FROM verses WHERE version_code = ANY(%s)
         GROUP BY version_code, book
        """,
        (list(versions),),
    ).fetchall()
    return {(version, book): count for version, book, count in rows}


def remove_version(connection: Connection, code: str) -> int:
    """Delete a version with its verses and all its vectors; return the number of verses."""
    locks.lock_transaction(connection, locks.changing_verses(code))
    hashes = [
        row[0]
        for row in connection.execute(
            "SELECT text_hash FROM verses WHERE version_code = %s", (code,)
        )
    ]
    removed = connection.execute("DELETE FROM verses WHERE version_code = %s", (code,)).rowcount
    for space in all_spaces(connection):
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE set_aside AND text_hash = ANY(%b)").format(
                space.answers_table
            ),
            (hashes,),
        )
    connection.execute("DELETE FROM bible_versions WHERE version_code = %s", (code,))
    return removed


def load_verses(
    connection: Connection,
    code: str,
    declaration: VersionDeclaration,
    bible: BibleText,
    *,
    source_hash: str,
    run_id: str,
) -> VersesLoaded:
    """Make the stored version equal to ``bible``, in the connection's transaction.

    A verse that still exists keeps its ``verse_id``, and also its vector if its text is unchanged.
    A trigger deletes the vectors of removed verses. Uses verses' unique index.

    :raises AuditError: the stored verses differ from those read; roll back.
    """
    locks.lock_transaction(connection, locks.changing_verses(code))
    _write_version(connection, code, declaration, bible, source_hash=source_hash, run_id=run_id)
    store_oddities(connection, code, bible.oddities, run_id=run_id)
    _copy_incoming(connection, bible)
    deleted = connection.execute(
        """
        DELETE FROM verses v
         WHERE version_code = %s
           AND NOT EXISTS (SELECT FROM incoming_verses i
                            WHERE (i.book, i.chapter, i.verse) = (v.book, v.chapter, v.verse))
        """,
        (code,),
    ).rowcount
    inserted, updated = _write_verses(connection, code)
    (stored,) = one(
        connection.execute("SELECT count(*) FROM verses WHERE version_code = %s", (code,))
    )
    if stored != len(bible.verses):
        raise AuditError(
            f"{code}: {len(bible.verses)} verses were read but {stored} would be stored; "
            "nothing was changed"
        )
    return VersesLoaded(len(bible.verses), inserted, updated, deleted)


def _write_version(
    connection: Connection,
    code: str,
    declaration: VersionDeclaration,
    bible: BibleText,
    *,
    source_hash: str,
    run_id: str,
) -> None:
    connection.execute(
        """
        INSERT INTO bible_versions AS v (version_code, name, language, licence, ai_allowed,
               enabled_for_rag, source_format, source_hash, reference_count, run_id)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (version_code) DO UPDATE
           SET (name, language, licence, ai_allowed, enabled_for_rag, source_format, source_hash,
                reference_count, run_id, loaded_at)
             = (EXCLUDED.name, EXCLUDED.language, EXCLUDED.licence, EXCLUDED.ai_allowed,
                EXCLUDED.enabled_for_rag, EXCLUDED.source_format, EXCLUDED.source_hash,
                EXCLUDED.reference_count, EXCLUDED.run_id, now())
        """,
        (
            code,
            declaration.name,
            declaration.language,
            declaration.licence,
            declaration.ai_allowed,
            declaration.enabled_for_rag,
            bible.format,
            source_hash,
            bible.reference_count,
            run_id,
        ),
    )


def _write_verses(connection: Connection, code: str) -> tuple[int, int]:
    """Write ``incoming_verses``; return how many were inserted and how many updated."""
    inserted, updated = one(
        connection.execute(
            """
        WITH written AS (
            INSERT INTO verses AS v (version_code, book, book_order, chapter, verse, verse_end,
                                     text, text_hash)
            SELECT %s, book, book_order, chapter, verse, verse_end, text, text_hash
              FROM incoming_verses
             ORDER BY book_order, chapter, verse
            ON CONFLICT (version_code, book, chapter, verse) DO UPDATE
               SET (verse_end, text, text_hash)
                 = (EXCLUDED.verse_end, EXCLUDED.text, EXCLUDED.text_hash)
             WHERE (v.verse_end, v.text_hash) <> (EXCLUDED.verse_end, EXCLUDED.text_hash)
            RETURNING (xmax = 0) AS inserted  -- a new row has no earlier version
        )
        SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written
        """,
            (code,),
        )
    )
    return inserted, updated


def _copy_incoming(connection: Connection, bible: BibleText) -> None:
    connection.execute(
        """
        CREATE TEMPORARY TABLE incoming_verses (
            book text, book_order smallint, chapter smallint, verse smallint, verse_end smallint,
            text text, text_hash bytea
        ) ON COMMIT DROP
        """
    )
    with connection.cursor().copy("COPY incoming_verses FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "int2", "int2", "int2", "int2", "text", "bytea"])
        for verse in bible.verses:
            copy.write_row(
                (
                    verse.book,
                    book_position(verse.book),
                    verse.chapter,
                    verse.verse,
                    verse.verse_end,
                    verse.text,
                    text_hash(verse.text),
                )
            )
    connection.execute("ANALYZE incoming_verses")


def ai_allowed(connection: Connection, version_code: str) -> bool | None:
    """Whether a version's text may be sent to a provider; ``None`` if it is not loaded."""
    row = connection.execute(
        "SELECT ai_allowed FROM bible_versions WHERE version_code = %s", (version_code,)
    ).fetchone()
    return row[0] if row else None
