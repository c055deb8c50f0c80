"""Restore one corpus from a dump without touching the other.

Texts and vectors are restored in one transaction; until it commits, searches see the old data.
Decisions about them are not restored: every vector counts as changed, so that the index and its
checks are due again. Rows that are not in the dump are deleted, but their paid vectors are kept
in the answers table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from rag_assets.errors import ConfigurationError, DatabaseUnavailableError
from rag_assets.operations.sql.corpus_dump import dumped
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database, one
from rag_assets.vectors.sql.code_writing import encode_all
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import (
    Corpus,
    VectorTable,
    announce,
    record_change,
    rows_by_scope,
)

_TABLES: dict[Corpus, tuple[str, ...]] = {
    "bible": ("bible_versions", "verses"),
    "documents": ("document_corpora", "documents", "document_chunks"),
}
"""A corpus' tables other than vectors, each after those that it references."""
_IDENTITIES = {
    "verses": "verse_id",
    "documents": "document_id",
    "document_chunks": "chunk_id",
}


@dataclass(frozen=True)
class Restored:
    """The restored corpus, and its number of rows by table."""

    corpus: Corpus
    rows: dict[str, int]


def restore_corpus(
    database: Database, corpus: Corpus, file: Path, *, wait_s: float = 10
) -> Restored:
    """Replace a corpus with that of a dump, atomically.

    :param file: made by ``pg_dump --format=custom``, of everything or of the corpus' tables.
    :param wait_s: seconds to wait for runs that use the corpus.
    :raises ConfigurationError: the file is no such dump, or its migrations differ.
    :raises DatabaseUnavailableError: runs are using the corpus.
    """
    with database.connect() as connection:
        _refuse_other_migrations(connection, file)
        tables = _vector_tables(connection, corpus, file)
        _lock(connection, corpus, tables.values(), wait_s)
        for table in tables.values():
            locks.lock_transaction(connection, locks.using_answers(table.space.space_id))
            _set_aside(connection, table)
        for name in reversed(_TABLES[corpus]):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
        rows = {}
        for name in _TABLES[corpus]:
            with dumped(file, name) as found:
                rows[name] = found.into(connection, name)
        for source, table in tables.items():
            announce(connection, table, None)  # keep the dump's ``unverified`` marks
            with dumped(file, source) as found:
                rows[table.name] = found.into(connection, table.name)
            encode_all(connection, table)
            _forget_set_aside(connection, table)
            for scope, count in rows_by_scope(connection, table).items():
                record_change(connection, table, scope, count)
        if corpus == "documents":  # the dump may come from an installation with another Dagster
            connection.execute("UPDATE documents SET reported_run = NULL")
        for name in _TABLES[corpus]:
            _advance_identity(connection, name)
    return Restored(corpus, rows)


def _refuse_other_migrations(connection: Connection, file: Path) -> None:
    with dumped(file, "schema_migrations") as found:
        theirs = {row["name"] for row in found.rows()}
    ours = {row[0] for row in connection.execute("SELECT name FROM schema_migrations")}
    if theirs != ours:
        other = ", ".join(sorted(theirs ^ ours))
        raise ConfigurationError(
            f"{file} and this database differ by the migrations {other}: restore the whole dump "
            "into an empty database, migrate that, and dump the corpus from there"
        )


def _vector_tables(connection: Connection, corpus: Corpus, file: Path) -> dict[str, VectorTable]:
    """Map the dump's vector tables to tables here, creating missing spaces."""
    with dumped(file, "embedding_spaces") as found:
        spaces = found.rows()
    tables = {}
    for space in spaces:
        (number,) = one(
            connection.execute(
                "SELECT create_embedding_space(%s, %s, %s, %s, %s)",
                (
                    *(space["provider"], space["model"], int(space["dimensions"])),
                    *(space["precision"], space.get("instructions", "")),  # not in old dumps
                ),
            )
        )
        table = VectorTable(corpus, space_by_id(connection, number, "small"))
        prefix = table.name.removesuffix(str(number))
        tables[f"{prefix}{space['space_id']}"] = table
    return tables


def _lock(
    connection: Connection, corpus: Corpus, tables: Iterable[VectorTable], wait_s: float
) -> None:
    """Block writers, but not readers."""
    connection.execute(
        "SELECT set_config('lock_timeout', %s, true)", (f"{max(1, round(wait_s * 1000))}ms",)
    )
    written = (*_TABLES[corpus], *(table.name for table in tables))
    names = sql.SQL(", ").join(map(sql.Identifier, written))
    try:
        if corpus == "documents":
            locks.lock_transaction(connection, locks.WRITING_CHUNK_VECTORS)
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
    except psycopg.errors.LockNotAvailable:
        raise DatabaseUnavailableError(
            f"runs are using the corpus {corpus}: wait until they end, or stop them, and try again"
        ) from None
    connection.execute("SELECT set_config('lock_timeout', '0', true)")


def _set_aside(connection: Connection, table: VectorTable) -> None:
    """Delete the vectors, and keep those that were paid for by text, as for a deleted verse."""
    connection.execute(
        sql.SQL(
            """
            WITH removed AS (DELETE FROM {table} RETURNING text_hash, embedding, unverified)
            INSERT INTO {answers} (text_hash, embedding, set_aside)
            SELECT DISTINCT ON (text_hash) text_hash, embedding, true FROM removed
             WHERE NOT unverified
            ON CONFLICT DO NOTHING
            """
        ).format(table=table.identifier, answers=table.space.answers_table)
    )


def _forget_set_aside(connection: Connection, table: VectorTable) -> None:
    """Delete the kept copies of vectors that were restored."""
    connection.execute(
        sql.SQL(
            "DELETE FROM {answers} a USING {table} e"
            " WHERE a.set_aside AND a.text_hash = e.text_hash"
        ).format(answers=table.space.answers_table, table=table.identifier)
    )


def _advance_identity(connection: Connection, table: str) -> None:
    """Move the sequence past every number that the dump or this database has used."""
    if (column := _IDENTITIES.get(table)) is None:
        return
    connection.execute(
        sql.SQL(
            "SELECT setval(pg_get_serial_sequence(%(table)s, %(column)s), greatest("
            " (SELECT coalesce(max({column}), 1) FROM {table}),"
            " nextval(pg_get_serial_sequence(%(table)s, %(column)s))))"
        ).format(column=sql.Identifier(column), table=sql.Identifier(table)),
        {"table": table, "column": column},
    )
