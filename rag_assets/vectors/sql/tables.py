"""One corpus in one space: the table of its vectors, its rows by scope, its revision.

A *scope* is what is loaded, judged and released as a whole: a Bible version, or all documents
together. A *part* is what searches are confined to and tuned for: a version, or a language of the
documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.spaces import Space

Corpus = Literal["bible", "documents"]
CORPORA: tuple[Corpus, ...] = ("bible", "documents")

DOCUMENTS = "documents"
"""The one scope of the documents' tables."""


@dataclass(frozen=True)
class _Names:
    """What a corpus' tables and columns are called."""

    table: str
    id: str
    scope: str
    part: str


_NAMES: dict[Corpus, _Names] = {
    "bible": _Names("verse_embeddings_s", "verse_id", "version_code", "version_code"),
    "documents": _Names("chunk_embeddings_s", "chunk_id", "collection", "language"),
}


@dataclass(frozen=True)
class VectorTable:
    """The vectors of one corpus in one space."""

    corpus: Corpus
    space: Space

    @property
    def name(self) -> str:
        return f"{_NAMES[self.corpus].table}{self.space.space_id}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    @property
    def id_column(self) -> sql.Identifier:
        return sql.Identifier(_NAMES[self.corpus].id)

    @property
    def scope_column(self) -> sql.Identifier:
        return sql.Identifier(_NAMES[self.corpus].scope)

    @property
    def part_column(self) -> sql.Identifier:
        return sql.Identifier(_NAMES[self.corpus].part)

    def indexed(self, precision: Precision) -> sql.Composable:
        """What an index of this precision holds; a query must order by the very same expression."""
        if precision == self.space.spec.precision:
            return sql.SQL("embedding")
        return sql.SQL("(embedding::{type}({dimensions}))").format(
            type=sql.SQL(precision), dimensions=sql.Literal(self.space.spec.dimensions)
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.space.spec})"


def bible_table(space: Space) -> VectorTable:
    """The verses' vectors in a space."""
    return VectorTable("bible", space)


def documents_table(space: Space) -> VectorTable:
    """The vectors of the documents' chunks in a space."""
    return VectorTable("documents", space)


def rows_by_scope(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Vectors by scope. An index-only scan of the scope's index where the table was vacuumed."""
    rows = connection.execute(
        sql.SQL("SELECT {scope}, count(*) FROM {table} GROUP BY 1 ORDER BY 1").format(
            scope=table.scope_column, table=table.identifier
        )
    ).fetchall()
    return dict(rows)


def rows_by_part(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Vectors by version, or by the documents' language. The latter reads the whole table."""
    rows = connection.execute(
        sql.SQL("SELECT {part}, count(*) FROM {table} GROUP BY 1 ORDER BY 1").format(
            part=table.part_column, table=table.identifier
        )
    ).fetchall()
    return dict(rows)


def has_rows(connection: Connection, table: VectorTable) -> bool:
    """Whether there is any vector."""
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {table})").format(table=table.identifier)
    return bool(one(connection.execute(statement))[0])


@dataclass(frozen=True)
class Revision:
    """Where a table stands.

    :param number: grows with every change of any scope.
    :param rows_changed: vectors written or deleted, ever.
    """

    number: int
    rows_changed: int


def revision(connection: Connection, table: VectorTable) -> Revision:
    """The table's revision. Reads the changes since the last fold."""
    number, rows_changed = one(
        connection.execute(
            """
            SELECT coalesce(sum(revision), 0)::bigint, coalesce(sum(rows_changed), 0)::bigint
              FROM scope_revisions WHERE corpus = %s AND space_id = %s
            """,
            (table.corpus, table.space.space_id),
        )
    )
    return Revision(number, rows_changed)


def scope_revisions(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Each scope's revision; a scope that was never written has none."""
    rows = connection.execute(
        "SELECT scope, revision FROM scope_revisions WHERE corpus = %s AND space_id = %s",
        (table.corpus, table.space.space_id),
    ).fetchall()
    return dict(rows)


def announce(
    connection: Connection, table: VectorTable, scope: str | None, *, rows: int = 0
) -> None:
    """Say that this transaction writes a scope's vectors as an embedding run does.

    It gives the scope a new revision. Vectors written without it are marked as unverified, by the
    table's trigger.

    :param scope: ``None`` for any: a restore, whose vectors bring their marks along.
    :param rows: vectors that will be written.
    """
    connection.execute(
        "SELECT announce_vectors(%s, %s, %s, %s)",
        (table.corpus, table.space.space_id, scope, rows),
    )


def record_change(connection: Connection, table: VectorTable, scope: str, rows: int) -> None:
    """Count vectors that an announced transaction wrote, where it could not say so before."""
    connection.execute(
        "SELECT record_vector_change(%s, %s, %s, %s)",
        (table.corpus, table.space.space_id, scope, rows),
    )


def fold_changes(connection: Connection) -> None:
    """Add up what changed since the last time, so that reading a revision stays cheap."""
    connection.execute("SELECT fold_vector_changes()")


def unverified_by_scope(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Vectors that no embedding run wrote or verified. By the partial index on the mark."""
    rows = connection.execute(
        sql.SQL(
            "SELECT {scope}, count(*) FROM {table} WHERE unverified GROUP BY 1 ORDER BY 1"
        ).format(scope=table.scope_column, table=table.identifier)
    ).fetchall()
    return dict(rows)
