"""A document's chunks as they were read, beside those that are stored, and from one to the other.

A chunk whose text is still there keeps its row, and with it its vectors and its place in the index:
a changed document changes there only where it changed. All within the publishing transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from rag_assets.documents.model import Chunk
from rag_assets.embedding.text_hash import text_hash
from rag_assets.postgres.database import Connection, one

_ANALYZE_FROM = 500  # chunks, from which the planner's guess is worth correcting


def copy_incoming(connection: Connection, chunks: Sequence[Chunk]) -> None:
    """Copy a document's chunks into ``incoming_chunks``, which the commit empties again."""
    # One table a session: making it anew for each document would leave 30 rows in the catalogue.
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(
        """
        CREATE TEMPORARY TABLE IF NOT EXISTS incoming_chunks (
            position integer, page integer, heading text[], text text, text_hash bytea,
            tokens integer, chunk_id bigint
        ) ON COMMIT DELETE ROWS
        """
    )
    command = (
        "COPY incoming_chunks (position, page, heading, text, text_hash, tokens)"
        " FROM STDIN (FORMAT BINARY)"
    )
    with connection.cursor().copy(command) as copy:
        copy.set_types(["int4", "int4", "text[]", "text", "bytea", "int4"])
        for position, chunk in enumerate(chunks, start=1):
            copy.write_row(
                (
                    position,
                    chunk.page,
                    list(chunk.heading),
                    chunk.text,
                    text_hash(chunk.text),
                    chunk.tokens,
                )
            )
    if len(chunks) >= _ANALYZE_FROM:
        connection.execute("ANALYZE incoming_chunks")


def take_over_stored(connection: Connection, document_id: int, language: str) -> bool:
    """Give incoming chunks the rows that their texts have already; whether there are any rows.

    A text that occurs several times takes them in order.
    """
    values = {"id": document_id, "language": language}
    (had_chunks,) = one(
        connection.execute(
            "SELECT EXISTS (SELECT FROM document_chunks WHERE document_id = %(id)s)", values
        )
    )
    if not had_chunks:
        return False
    connection.execute(
        """
        UPDATE incoming_chunks i SET chunk_id = old.chunk_id
          FROM (SELECT position, text_hash,
                       row_number() OVER (PARTITION BY text_hash ORDER BY position) AS nth
                  FROM incoming_chunks) AS new
          JOIN (SELECT chunk_id, text_hash,
                       row_number() OVER (PARTITION BY text_hash ORDER BY position) AS nth
                  FROM document_chunks
                 WHERE document_id = %(id)s AND language = %(language)s) AS old
            USING (text_hash, nth)
         WHERE i.position = new.position
        """,
        values,
    )
    connection.execute(
        """
        UPDATE document_chunks c
           SET (position, page, heading, tokens) = (i.position, i.page, i.heading, i.tokens)
          FROM incoming_chunks i
         WHERE c.chunk_id = i.chunk_id
           AND (c.position, c.page, c.heading, c.tokens)
               IS DISTINCT FROM (i.position, i.page, i.heading, i.tokens)
        """
    )
    return True


def insert_chunks(connection: Connection, document_id: int, language: str) -> int:
    """New rows for the chunks that have none, with numbers that stay theirs."""
    return connection.execute(
        """
        WITH numbered AS (
            UPDATE incoming_chunks
               SET chunk_id = nextval(pg_get_serial_sequence('document_chunks', 'chunk_id'))
             WHERE chunk_id IS NULL
            RETURNING *
        )
        INSERT INTO document_chunks (chunk_id, document_id, position, page, heading, text,
                                     text_hash, tokens, language)
        OVERRIDING SYSTEM VALUE
        SELECT chunk_id, %(id)s, position, page, heading, text, text_hash, tokens, %(language)s
          FROM numbered
        """,
        {"id": document_id, "language": language},
    ).rowcount


def delete_gone(connection: Connection, document_id: int) -> int:
    """The chunks that the document no longer has; their vectors go with them (trigger)."""
    return connection.execute(
        """
        DELETE FROM document_chunks c
         WHERE document_id = %s
           AND NOT EXISTS (SELECT FROM incoming_chunks i WHERE i.chunk_id = c.chunk_id)
        """,
        (document_id,),
    ).rowcount
