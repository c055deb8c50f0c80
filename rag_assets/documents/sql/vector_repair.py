"""Write the vectors of single chunks from paid answers, without processing their documents."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.code_writing import encode_new
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import VectorTable, announce, documents_table


def write_chunk_vectors(
    connection: Connection, space: Space, ids: Sequence[int], *, run_id: str
) -> int:
    """Replace or add the vectors of these chunks, in the transaction; return their number.

    Each gets the answer to its text or, without one, the vector of the same text elsewhere. The
    answers are kept: other chunks may have the same text, and unused ones are purged.
    """
    table = documents_table(space)
    locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
    written = sum(
        _write(connection, table, part, corpus=corpus, run_id=run_id)
        for corpus, part in _by_corpus(connection, ids)
    )
    encode_new(connection, table, ids)
    return written


def _by_corpus(connection: Connection, ids: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Uses the primary keys."""
    return connection.execute(
        """
        SELECT corpus, array_agg(chunk_id)
          FROM document_chunks JOIN documents USING (document_id)
         WHERE chunk_id = ANY(%s) GROUP BY corpus ORDER BY corpus
        """,
        (list(ids),),
    ).fetchall()


def _write(
    connection: Connection, table: VectorTable, ids: Sequence[int], *, corpus: str, run_id: str
) -> int:
    announce(connection, table, corpus, rows=len(ids))
    return connection.execute(
        sql.SQL(
            """
            INSERT INTO {table} AS e (chunk_id, collection, document_id, language, embedding,
                                      text_hash, run_id)
            SELECT c.chunk_id, %(collection)s, c.document_id, c.language, found.embedding,
                   c.text_hash, %(run_id)s
              FROM document_chunks c
              JOIN LATERAL (
                   SELECT embedding FROM (
                       SELECT embedding, 0 AS place, bought_at AS at FROM {answers} a
                        WHERE a.text_hash = c.text_hash
                       UNION ALL
                       SELECT embedding, 1, created_at FROM {table} w
                        WHERE w.text_hash = c.text_hash AND w.chunk_id <> c.chunk_id
                          AND NOT w.unverified) AS known
                    ORDER BY place, at DESC LIMIT 1) AS found ON true
             WHERE c.chunk_id = ANY(%(ids)s)
            ON CONFLICT (chunk_id) DO UPDATE
               SET (document_id, language, embedding, text_hash, run_id, created_at, unverified)
                 = (EXCLUDED.document_id, EXCLUDED.language, EXCLUDED.embedding,
                    EXCLUDED.text_hash, EXCLUDED.run_id, now(), false)
            """
        ).format(table=table.identifier, answers=table.space.answers_table),
        {"ids": list(ids), "collection": corpus, "run_id": run_id},
    ).rowcount
