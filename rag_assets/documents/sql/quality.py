"""Count the faults of the documents' vectors in the tables."""

from __future__ import annotations

from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.faults import FaultCounts, count_faults
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import DOCUMENTS, VectorTable, documents_table


def count_chunk_faults(
    connection: Connection, space: Space, corpus: str = DOCUMENTS
) -> FaultCounts:
    """Count the faults that the asset checks evaluate, over a corpus. Scans all chunks.

    A missing vector counts only if its document is ready: a waiting document gets its vectors when
    it is processed.
    """
    judged = sql.SQL(
        """
        SELECT c.chunk_id AS id, d.document_key || ' ' || c.position AS reference,
               e.chunk_id IS NULL AS missing, e.text_hash <> c.text_hash AS stale,
               vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
          FROM document_chunks c
          JOIN documents d USING (document_id)
          LEFT JOIN {table} e USING (chunk_id)
         WHERE d.corpus = {corpus} AND (d.state = 'ready' OR e.chunk_id IS NOT NULL)
        """
    ).format(
        table=documents_table(space).identifier,
        norm=space.norm_function,
        corpus=sql.Literal(corpus),
    )
    return count_faults(connection, space, judged, {})


def missing_by_document(connection: Connection, table: VectorTable, corpus: str) -> dict[str, int]:
    """Count chunks of ready documents without a vector, by key. Joins on the primary key."""
    rows = connection.execute(
        sql.SQL(
            """
            SELECT document_key, count(*)
              FROM document_chunks c JOIN documents d USING (document_id)
             WHERE d.state = 'ready' AND d.corpus = %s
               AND NOT EXISTS (SELECT FROM {table} e WHERE e.chunk_id = c.chunk_id)
             GROUP BY 1 ORDER BY 1
            """
        ).format(table=table.identifier),
        (corpus,),
    ).fetchall()
    return dict(rows)


def unverified_by_document(
    connection: Connection, table: VectorTable, corpus: str
) -> dict[str, int]:
    """Count vectors that no embedding run wrote, by document. Uses the partial index on them."""
    rows = connection.execute(
        sql.SQL(
            "SELECT document_key, count(*) FROM {table} JOIN documents USING (document_id)"
            " WHERE unverified AND corpus = %s GROUP BY 1 ORDER BY 1"
        ).format(table=table.identifier),
        (corpus,),
    ).fetchall()
    return dict(rows)
