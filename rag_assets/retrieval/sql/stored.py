"""What is stored of an expected passage: text, vector, refusals, and what it waits for.

Not the claims of runs: their table is unlogged, which a standby cannot read.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import kwargs_row

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class DeclaredVersion:
    """A loaded version: its policy, and the hash of the files that it was loaded from."""

    code: str
    language: str
    ai_allowed: bool
    enabled_for_rag: bool
    source_hash: str


@dataclass(frozen=True)
class StoredPassage:
    """A verse or a chunk, and its vector in the space that is searched.

    :param place: a version's code, or the position in the document.
    :param embedded: whether it has a vector; ``current``: that of its text, written by a run.
    :param refusal: why the provider refused its present text; ``None`` if it did not.
    :param batch: the open batch that its text is in.
    """

    id: int
    place: str
    embedded: bool
    current: bool
    refusal: str | None
    batch: int | None
    text_hash: bytes


def declared_versions(connection: Connection, *, timeout_ms: int = 0) -> dict[str, DeclaredVersion]:
    """The loaded versions by code."""
    with limited(connection, timeout_ms):
        found = connection.cursor(row_factory=kwargs_row(DeclaredVersion)).execute(
            "SELECT version_code AS code, language, ai_allowed, enabled_for_rag, source_hash"
            " FROM bible_versions ORDER BY version_code"
        )
    return {one.code: one for one in found.fetchall()}


_BATCH = sql.SQL(
    """
    (SELECT batch_id FROM embedding_batch_texts t JOIN embedding_batches b USING (batch_id)
      WHERE t.space_id = %(space)s AND t.text_hash = p.text_hash
        AND b.state IN ('prepared', 'submitted', 'ended')) AS batch
    """
)


def stored_verses(
    connection: Connection,
    table: VectorTable,
    place: tuple[str, int, int],
    *,
    timeout_ms: int = 0,
) -> list[StoredPassage]:
    """One verse in every version, and bridges that contain it. Uses verses' unique index.

    :param place: book, chapter and verse.
    """
    statement = sql.SQL(
        """
        SELECT p.verse_id AS id, p.version_code AS place, e.verse_id IS NOT NULL AS embedded,
               coalesce(e.text_hash = p.text_hash AND e.language = v.language
                        AND NOT e.unverified, false) AS current,
               (SELECT message FROM embedding_failures f
                 WHERE f.space_id = %(space)s AND f.verse_id = p.verse_id
                   AND f.text_hash = p.text_hash) AS refusal,
               {batch}, p.text_hash
          FROM bible_versions v JOIN verses p USING (version_code)
          LEFT JOIN {table} e ON e.verse_id = p.verse_id
         WHERE p.book = %(book)s AND p.chapter = %(chapter)s
           AND %(verse)s BETWEEN p.verse AND p.verse_end
         ORDER BY p.version_code
        """
    ).format(table=table.identifier, batch=_BATCH)
    book, chapter, verse = place
    values = {"book": book, "chapter": chapter, "verse": verse, "space": table.space.space_id}
    with limited(connection, timeout_ms):
        found = connection.cursor(row_factory=kwargs_row(StoredPassage)).execute(statement, values)
    return found.fetchall()


def stored_chunks(
    connection: Connection, table: VectorTable, document_id: int, *, timeout_ms: int = 0
) -> list[StoredPassage]:
    """The passages of a document in order. Uses the chunks' unique index."""
    statement = sql.SQL(
        """
        SELECT p.chunk_id AS id, p.position::text AS place, e.chunk_id IS NOT NULL AS embedded,
               coalesce(e.text_hash = p.text_hash AND NOT e.unverified, false) AS current,
               NULL AS refusal, {batch}, p.text_hash
          FROM document_chunks p LEFT JOIN {table} e ON e.chunk_id = p.chunk_id
         WHERE p.document_id = %(document)s ORDER BY p.position
        """
    ).format(table=table.identifier, batch=_BATCH)
    values = {"document": document_id, "space": table.space.space_id}
    with limited(connection, timeout_ms):
        found = connection.cursor(row_factory=kwargs_row(StoredPassage)).execute(statement, values)
    return found.fetchall()
