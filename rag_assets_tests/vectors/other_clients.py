"""What an operator does with psql, without the project's code."""

from __future__ import annotations

from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable, bible_table, unverified_by_scope
from rag_assets_tests.vectors.vectors import space_of


def run(database: Database, statement: str, **names: object) -> int:
    """Run a statement with interpolated names in a new session; return the affected rows."""
    with database.connect() as connection:
        return connection.execute(statement.format(**names).encode()).rowcount


def small(database: Database, settings: Settings) -> VectorTable:
    """The verse table of the small space."""
    return bible_table(space_of(database, settings))


def unverified(database: Database, table: VectorTable) -> dict[str, int]:
    """Marked vectors by scope."""
    with database.connect() as connection:
        return unverified_by_scope(connection, table)
