"""What is stored and not released: versions and documents, and how far each has come.

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.postgres.time_limit import limited
from rag_assets.vectors.sql.tables import VectorTable

Stage = Literal["withheld", "loaded", "embedded"]
"""How far a version has come: ``withheld`` by its declaration, or ``loaded`` and not embedded."""


@dataclass(frozen=True)
class DocumentCounts:
    """Documents that are not withdrawn: ``embedded`` have passages that could be searched."""

    stored: int
    embedded: int


def stages_of_versions(
    connection: Connection, table: VectorTable | None, *, timeout_ms: int = 0
) -> dict[str, Stage]:
    """The loaded versions, and how far each has come. Uses the index of a table's scopes.

    :param table: ``None`` if the space does not exist.
    """
    has_vectors: sql.Composable = sql.SQL("false")
    if table is not None:
        has_vectors = sql.SQL(
            "EXISTS (SELECT FROM {table} t WHERE t.version_code = b.version_code)"
        ).format(table=table.identifier)
    statement = sql.SQL(
        """
        SELECT version_code, CASE WHEN NOT (enabled_for_rag AND ai_allowed) THEN 'withheld'
                                  WHEN {has_vectors} THEN 'embedded' ELSE 'loaded' END
          FROM bible_versions b ORDER BY 1
        """
    ).format(has_vectors=has_vectors)
    with limited(connection, timeout_ms):
        return dict(connection.execute(statement).fetchall())


def document_counts(connection: Connection, *, timeout_ms: int = 0) -> DocumentCounts:
    """Count the documents. Reads all of ``documents``."""
    with limited(connection, timeout_ms):
        row = one(
            connection.execute(
                """
                SELECT count(*), count(*) FILTER (WHERE chunks > 0) FROM documents
                 WHERE state <> 'withdrawn'
                """
            )
        )
    return DocumentCounts(*row)


def document_state(connection: Connection, key: str, *, timeout_ms: int = 0) -> str | None:
    """A document's state in the queue; ``None`` if there is none. Uses the key's index."""
    with limited(connection, timeout_ms):
        row = connection.execute(
            "SELECT state FROM documents WHERE document_key = %s", (key.replace("\0", " "),)
        ).fetchone()
    return row[0] if row else None
