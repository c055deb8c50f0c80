"""Grants for roles other than the owner.

The pipeline runs as the owner of the tables, because it creates tables for embedding spaces and
indexes. A role that only answers queries gets fewer privileges.
"""

from __future__ import annotations

from typing import LiteralString

import psycopg
from psycopg import sql

from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres.database import Connection, one

WRITTEN_BY_API: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("query_embeddings", "INSERT, UPDATE, DELETE"),
    ("api_limits", "INSERT, UPDATE, DELETE"),
    ("documents", "INSERT, UPDATE"),
    ("live_recall", "INSERT, UPDATE"),
    ("paused_lanes", "INSERT, UPDATE, DELETE"),
)
"""All tables that the API writes: embedded queries, its keys' rates, the queue, and the recall of
searches."""


def grant_reading(connection: Connection, role: str) -> None:
    """Allow a role to read all tables, including future ones, and to write none.

    :raises DatabaseUnusableError: there is no such role, or the connection's user is not the owner.
    """
    _grant(
        connection,
        role,
        (
            "GRANT USAGE ON SCHEMA public TO {role}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}",
        ),
    )


def grant_api(connection: Connection, role: str) -> None:
    """Allow a role what the retrieval API needs: reading, and writing :data:`WRITTEN_BY_API`.

    :raises DatabaseUnusableError: as for :func:`grant_reading`.
    """
    grant_reading(connection, role)
    _grant(
        connection,
        role,
        tuple(f"GRANT {rights} ON {table} TO {{role}}" for table, rights in WRITTEN_BY_API),
    )


def _grant(connection: Connection, role: str, statements: tuple[LiteralString, ...]) -> None:
    # Checked here, because PostgreSQL only warns if a role grants privileges it may not grant.
    (may_create,) = one(connection.execute("SELECT has_schema_privilege('public', 'CREATE')"))
    if not may_create:
        raise DatabaseUnusableError(
            "only the owner of the tables may grant them: use the RAG_DATABASE_URL with which "
            "`rag-assets db migrate` made them"
        )
    try:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
    except psycopg.errors.UndefinedObject:
        raise DatabaseUnusableError(
            f"there is no role {role}: an administrator makes it first (sql/roles.sql)"
        ) from None
