"""What the roles beside the owner may do.

The owner has made the tables, and the pipeline works as the owner, for it makes tables of its own:
those of an embedding space, and indexes. Whoever only answers questions gets less.
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
)
"""All that the API writes: embedded queries, its keys' rates, and uploads' places in the queue."""


def grant_reading(connection: Connection, role: str) -> None:
    """Let a role read everything, also what is made later, and write nothing.

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
    """Let a role do what the retrieval API does: read, and write :data:`WRITTEN_BY_API`.

    :raises DatabaseUnusableError: as :func:`grant_reading`.
    """
    grant_reading(connection, role)
    _grant(
        connection,
        role,
        tuple(f"GRANT {rights} ON {table} TO {{role}}" for table, rights in WRITTEN_BY_API),
    )


def _grant(connection: Connection, role: str, statements: tuple[LiteralString, ...]) -> None:
    # Asked for, because PostgreSQL only warns when somebody else grants what he merely has.
    (makes,) = one(connection.execute("SELECT has_schema_privilege('public', 'CREATE')"))
    if not makes:
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
