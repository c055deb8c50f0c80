"""The faults of the documents' vectors, counted from the tables themselves."""

from __future__ import annotations

from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.faults import FaultCounts, count_faults
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import VectorTable, documents_table


def count_chunk_faults(connection: Connection, space: Space) -> FaultCounts:
    """Count what the asset checks judge, over all documents. One pass over all chunks.

    A chunk without a vector counts as missing where its document is ready: one that waits to be
    processed gets its vectors with its new state.
    """
    judged = sql.SQL(
        """
        SELECT c.chunk_id AS id, d.document_key || ' ' || c.position AS reference,
               e.chunk_id IS NULL AS missing, e.text_hash <> c.text_hash AS stale,
               vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
          FROM document_chunks c
          JOIN documents d USING (document_id)
          LEFT JOIN {table} e USING (chunk_id)
         WHERE d.state = 'ready' OR e.chunk_id IS NOT NULL
        """
    ).format(table=documents_table(space).identifier, norm=space.norm_function)
    return count_faults(connection, space, judged, {})


def missing_by_document(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Chunks of ready documents without a vector, by key. Joins the chunks to the primary key."""
    rows = connection.execute(
        sql.SQL(
            """
            SELECT document_key, count(*)
              FROM document_chunks c JOIN documents d USING (document_id)
             WHERE d.state = 'ready'
               AND NOT EXISTS (SELECT FROM {table} e WHERE e.chunk_id = c.chunk_id)
             GROUP BY 1 ORDER BY 1
            """
        ).format(table=table.identifier)
    ).fetchall()
    return dict(rows)


def unverified_by_document(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Vectors that no embedding run wrote, by document. By the partial index on the mark."""
    rows = connection.execute(
        sql.SQL(
            "SELECT document_key, count(*) FROM {table} JOIN documents USING (document_id)"
            " WHERE unverified GROUP BY 1 ORDER BY 1"
        ).format(table=table.identifier)
    ).fetchall()
    return dict(rows)
