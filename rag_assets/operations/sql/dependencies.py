"""Whether the database is there, asked so that the answer comes soon."""

from __future__ import annotations

import math

import psycopg
from psycopg.conninfo import make_conninfo

from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres.database import Database, one


def answers(database: Database, timeout_s: float) -> str:
    """The version of the server that answers, such as ``18.1``.

    :raises DatabaseUnavailableError, DatabaseUnusableError: it does not, or refuses us.
    """
    with _soon(database, timeout_s).connect(autocommit=True) as connection:
        return str(one(connection.execute("SHOW server_version"))[0]).split()[0]


def compares_vectors(database: Database, timeout_s: float) -> str:
    """The version of pgvector in this database, which has just compared two vectors.

    :raises DatabaseUnavailableError: the database cannot be reached.
    :raises DatabaseUnusableError: it refuses us, or has no pgvector.
    """
    with _soon(database, timeout_s).connect(autocommit=True) as connection:
        try:
            row = connection.execute(
                """
                SELECT extversion, '[1,0]'::vector <=> '[0,1]'::vector FROM pg_extension
                 WHERE extname = 'vector'
                """
            ).fetchone()
        except (psycopg.errors.UndefinedObject, psycopg.errors.UndefinedFunction):
            row = None
    if row is None:
        raise DatabaseUnusableError(f"{database.name} has no pgvector")
    return str(row[0])


def _soon(database: Database, timeout_s: float) -> Database:
    """The same database, asked with little patience. libpq's least is two seconds."""
    return Database(
        make_conninfo(database.conninfo, connect_timeout=str(max(2, math.ceil(timeout_s))))
    )
