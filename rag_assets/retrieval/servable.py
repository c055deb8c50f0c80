"""The versions that may be served, and their numbers of rows."""

from __future__ import annotations

from rag_assets.postgres.database import Connection
from rag_assets.retrieval.sql.verses import servable_versions
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable, rows_by_part


def may_be_served(connection: Connection, settings: Settings) -> frozenset[str]:
    """Versions that are enabled, allowed by their licence and allowed by RAG_ALLOWED_VERSIONS."""
    servable = servable_versions(connection)
    allowed = settings.allowed_versions()
    return servable & allowed if allowed else servable


def servable_scopes(
    connection: Connection, settings: Settings, table: VectorTable
) -> dict[str, int]:
    """Rows of each version that may be served and has vectors in this table.

    For documents, rows of each language: any document that has vectors may be served.
    """
    rows = rows_by_part(connection, table)
    if table.corpus == "documents":
        return rows
    servable = may_be_served(connection, settings)
    return {scope: count for scope, count in rows.items() if scope in servable}
