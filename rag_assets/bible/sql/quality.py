"""Count the faults of published verse vectors in the tables themselves."""

from __future__ import annotations

from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.faults import FaultCounts, count_faults
from rag_assets.vectors.sql.spaces import Space


def count_verse_faults(connection: Connection, space: Space, version_code: str) -> FaultCounts:
    """Count what the asset checks judge, in one pass over the version's rows by version_code."""
    judged = sql.SQL(
        """
        SELECT v.verse_id AS id, v.book || ' ' || v.chapter || ':' || v.verse AS reference,
               e.verse_id IS NULL AS missing, e.text_hash <> v.text_hash AS stale,
               vector_dims(e.embedding) AS dimensions, {norm}(e.embedding) AS norm
          FROM verses v LEFT JOIN {table} e USING (verse_id)
         WHERE v.version_code = %(version_code)s
        """
    ).format(table=space.verses_table, norm=space.norm_function)
    return count_faults(connection, space, judged, {"version_code": version_code})
