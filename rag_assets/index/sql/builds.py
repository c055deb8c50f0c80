"""The statements of an index build: the lock, the settings, CREATE INDEX and its progress."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from rag_assets.errors import IndexBuildError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.dimensions import named_dimensions
from rag_assets.vectors.sql.indexes import index_name
from rag_assets.vectors.sql.tables import VectorTable

_OPERATORS = {
    "vector": sql.SQL("vector_cosine_ops"),
    "halfvec": sql.SQL("halfvec_cosine_ops"),
}


@dataclass(frozen=True)
class BuildProgress:
    """A row of pg_stat_progress_create_index; the totals are 0 in phases without any."""

    phase: str
    tuples_done: int
    tuples_total: int


def lock_builds(connection: Connection, table: VectorTable, *, waiting: Callable[[], None]) -> None:
    """Take the lock for building on a table, until the session ends.

    The same session must run the build, so that the lock is held exactly until the build ends, even
    if the client was killed and the server has not noticed yet.
    """
    locks.lock_session(connection, locks.building_index(table.name), waiting=waiting)


def prepare_session(connection: Connection, *, memory_kb: int, workers: int) -> None:
    """Set the session's parameters for a build.

    client_connection_check_interval ends a build within seconds if its client was killed; without
    it the server would finish an index that no process records.
    """
    for name, value in (
        ("maintenance_work_mem", f"{memory_kb}kB"),
        ("max_parallel_maintenance_workers", str(workers)),
        ("client_connection_check_interval", "2s"),
        ("statement_timeout", "0"),
    ):
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def create_index(
    connection: Connection,
    table: VectorTable,
    generation: int,
    *,
    precision: Precision,
    lists: int,
    codes: CodeSet | None = None,
) -> str:
    """Run CREATE INDEX CONCURRENTLY and return the index's name. Blocks until it is built.

    :param codes: the codes to index; ``None`` to index the vectors, in ``precision``.
    :raises IndexBuildError: the server ran out of memory or disk.
    :raises AuditError: a vector has another dimension.
    """
    name = index_name(codes.name if codes else table.name, generation)
    statement = sql.SQL(
        "CREATE INDEX CONCURRENTLY {name} ON {table} USING ivfflat ({expression} {operators})"
        " WITH (lists = {lists}) WHERE {id} <> {generation}"
    ).format(
        name=sql.Identifier(name),
        table=codes.identifier if codes else table.identifier,
        expression=sql.Identifier("code") if codes else table.indexed(precision),
        operators=sql.SQL("bit_hamming_ops") if codes else _OPERATORS[precision],
        lists=sql.Literal(lists),
        id=table.id_column,
        generation=sql.Literal(-generation),
    )
    try:
        with named_dimensions(connection, table):
            connection.execute(statement)
    except (
        psycopg.errors.ProgramLimitExceeded,
        psycopg.errors.OutOfMemory,
        psycopg.errors.DiskFull,
    ) as error:
        raise IndexBuildError(
            f"the server cannot build {name}: {error.diag.message_primary}. Raise "
            "RAG_INDEX_MAINTENANCE_WORK_MEM, make room on its disk, or ask for fewer lists"
        ) from error
    return name


def cancel(connection: Connection) -> None:
    """Cancel the session's statement; a server that is gone has already ended it."""
    with suppress(psycopg.OperationalError):
        connection.cancel_safe()


def build_progress(connection: Connection, relation: VectorTable | CodeSet) -> BuildProgress | None:
    """Progress of the build on a table of vectors or codes; ``None`` if none is running."""
    found = fetch_all(
        connection,
        BuildProgress,
        """
        SELECT phase, tuples_done, tuples_total FROM pg_stat_progress_create_index
         WHERE relid = to_regclass(%s) AND datname = current_database()
        """,
        (relation.name,),
    )
    return found[0] if found else None


def analyze(connection: Connection, relation: VectorTable | CodeSet) -> None:
    """Collect planner statistics from 9,000 rows only: most wide rows take a page read each."""
    with connection.transaction():
        connection.execute("SET LOCAL default_statistics_target = 30")
        connection.execute(sql.SQL("ANALYZE {}").format(relation.identifier))


def relation_bytes(connection: Connection, name: str) -> int:
    """Size of a table or an index on disk."""
    (size,) = one(connection.execute("SELECT pg_relation_size(to_regclass(%s))", (name,)))
    return int(size)


def free_disk_bytes(connection: Connection) -> int | None:
    """Free space in the server's data directory; ``None`` if it is on another machine.

    A server reached through a socket is on this machine, but its directory may be inaccessible.
    """
    if not connection.info.host.startswith("/"):
        return None
    try:
        (folder,) = one(connection.execute("SELECT current_setting('data_directory')"))
    except psycopg.errors.InsufficientPrivilege:
        return None
    return shutil.disk_usage(folder).free if os.access(Path(folder).parent, os.X_OK) else None


def builds_in_progress(connection: Connection) -> int:
    """Number of running index builds on our tables in this database."""
    (count,) = one(
        connection.execute(
            """
            SELECT count(*) FROM pg_stat_progress_create_index
             WHERE datname = current_database()
               AND relid IN (SELECT to_regclass(corpus || space_id)
                               FROM embedding_spaces,
                                    unnest('{verse_embeddings_s,chunk_embeddings_s}'::text[])
                                        AS corpus
                             UNION ALL
                             SELECT to_regclass(code_table(corpus, code_set)) FROM code_sets)
            """
        )
    )
    return int(count)
