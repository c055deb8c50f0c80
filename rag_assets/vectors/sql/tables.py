"""One corpus in one space: its table of vectors, the rows by scope, and the revision.

A *scope* is the unit that is loaded, judged and released: a Bible version, or all documents
together. A *part* is the unit that searches are confined to and tuned for: a version, or a language
of the documents.
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
    """The names of a corpus' table and columns."""

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
        """The expression that an index of this precision holds; queries must order by the same."""
        if precision == self.space.spec.precision:
            return sql.SQL("embedding")
        return sql.SQL("(embedding::{type}({dimensions}))").format(
            type=sql.SQL(precision), dimensions=sql.Literal(self.space.spec.dimensions)
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.space.spec})"


def bible_table(space: Space) -> VectorTable:
    """The table of verse vectors in a space."""
    return VectorTable("bible", space)


def documents_table(space: Space) -> VectorTable:
    """The table of chunk vectors in a space."""
    return VectorTable("documents", space)


def rows_by_scope(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Count vectors by scope, by an index-only scan of the scope's index after a vacuum."""
    rows = connection.execute(
        sql.SQL("SELECT {scope}, count(*) FROM {table} GROUP BY 1 ORDER BY 1").format(
            scope=table.scope_column, table=table.identifier
        )
    ).fetchall()
    return dict(rows)


def rows_by_part(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Count vectors by version, or by the documents' language, which reads the whole table."""
    rows = connection.execute(
        sql.SQL("SELECT {part}, count(*) FROM {table} GROUP BY 1 ORDER BY 1").format(
            part=table.part_column, table=table.identifier
        )
    ).fetchall()
    return dict(rows)


def has_rows(connection: Connection, table: VectorTable) -> bool:
    """Whether the table has any vector."""
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {table})").format(table=table.identifier)
    return bool(one(connection.execute(statement))[0])


@dataclass(frozen=True)
class Revision:
    """The revision of a table.

    :param number: grows with every change in any scope.
    :param rows_changed: total number of vectors ever written or deleted.
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
    """The revision of each scope that was ever written."""
    rows = connection.execute(
        "SELECT scope, revision FROM scope_revisions WHERE corpus = %s AND space_id = %s",
        (table.corpus, table.space.space_id),
    ).fetchall()
    return dict(rows)


def announce(
    connection: Connection, table: VectorTable, scope: str | None, *, rows: int = 0
) -> None:
    """Announce that this transaction writes a scope's vectors as an embedding run does.

    This gives the scope a new revision. The table's trigger marks vectors written without an
    announcement as unverified.

    :param scope: ``None`` for any scope: a restore, whose vectors come with their marks.
    :param rows: number of vectors that will be written.
    """
    connection.execute(
        "SELECT announce_vectors(%s, %s, %s, %s)",
        (table.corpus, table.space.space_id, scope, rows),
    )


def record_change(connection: Connection, table: VectorTable, scope: str, rows: int) -> None:
    """Count vectors that an announced transaction wrote, if it did not know the number before."""
    connection.execute(
        "SELECT record_vector_change(%s, %s, %s, %s)",
        (table.corpus, table.space.space_id, scope, rows),
    )


def fold_changes(connection: Connection) -> None:
    """Fold the changes since the last fold into totals, so that reading a revision stays cheap."""
    connection.execute("SELECT fold_vector_changes()")


def unverified_by_scope(connection: Connection, table: VectorTable) -> dict[str, int]:
    """Count vectors that no embedding run wrote or verified. Uses the partial index on the mark."""
    rows = connection.execute(
        sql.SQL(
            "SELECT {scope}, count(*) FROM {table} WHERE unverified GROUP BY 1 ORDER BY 1"
        ).format(scope=table.scope_column, table=table.identifier)
    ).fetchall()
    return dict(rows)
