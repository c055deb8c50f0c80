"""Figures of vectors for the metrics: counts, sizes, indexes, check results.

Large tables are not counted: a scrape must not scan whole tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import sql

from rag_assets.index.sql.generations import last_decision, ready_generations
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.spaces import ROLES, find_space, space_by_id
from rag_assets.vectors.sql.tables import CORPORA, VectorTable, revision

COUNTED_ROWS = 2_000
"""Tables of up to this many rows are counted, in 5 ms; larger ones are estimated."""


@dataclass(frozen=True)
class IndexNow:
    """One IVFFlat index; ``generation`` is its name if this project did not build it."""

    generation: str
    bytes: int


@dataclass(frozen=True)
class VectorsNow:
    """The vectors of one corpus in one space.

    :param rows: exact up to :data:`COUNTED_ROWS`, an estimate above.
    :param bytes: size of the table and its indexes on disk.
    :param stale: rows changed since the selected index was built, as a share of the rows then;
        ``None`` if search is exact.
    """

    corpus: str
    space: str
    rows: int
    bytes: int
    indexes: tuple[IndexNow, ...]
    stale: float | None


@dataclass(frozen=True)
class CheckNow:
    """The last result of one check of the active or the next release."""

    corpus: str
    space: str
    subject: str
    check: str
    passed: bool
    age_s: float


def vectors_now(connection: Connection) -> tuple[VectorsNow, ...]:
    """Read every vector table, including empty ones."""
    spaces = connection.execute("SELECT space_id FROM embedding_spaces ORDER BY 1").fetchall()
    return tuple(
        _vectors(connection, VectorTable(corpus, space_by_id(connection, space_id, "small")))
        for (space_id,) in spaces
        for corpus in CORPORA
    )


def checks_now(connection: Connection, settings: Settings) -> tuple[CheckNow, ...]:
    """Return check results for the spaces of the settings and of the active release.

    Results about dropped generations and removed versions stay in the table, and are ignored. Uses
    the primary key of check_results.
    """
    chosen = (find_space(connection, settings, role) for role in ROLES)
    found = fetch_all(
        connection,
        CheckNow,
        """
        WITH served AS (
            SELECT corpus, space_id, generation, code_set
              FROM release_spaces JOIN releases USING (release_id)
             WHERE state = 'active'
        ), indexes AS (
            SELECT corpus, space_id, coalesce('generation ' || generation,
                                              'code set ' || code_set, 'exact') AS subject
              FROM (TABLE served UNION
                    SELECT corpus, space_id, generation, code_set FROM index_decisions) AS either
        )
        SELECT corpus, space_id::text AS space, subject, check_name AS check, passed,
               extract(epoch FROM now() - evaluated_at)::float8 AS age_s
          FROM check_results c
         WHERE (space_id = ANY(%s) OR space_id IN (SELECT space_id FROM served))
           AND (subject = 'documents' OR subject IN (SELECT version_code FROM bible_versions)
                OR (corpus, space_id, subject) IN (TABLE indexes))
         ORDER BY corpus, space_id, subject, check_name
        """,
        ([space.space_id for space in chosen if space is not None],),
    )
    spaces = {check.space for check in found}
    names = {n: str(space_by_id(connection, int(n), "small").spec) for n in spaces}
    return tuple(replace(check, space=names[check.space]) for check in found)


def approximate_rows(connection: Connection, table: VectorTable) -> int:
    """Return the number of vectors in a table: counted if few, otherwise PostgreSQL's estimate.

    The estimate is the planner's: rows per page at the last ANALYZE, times the current pages.
    Before the first ANALYZE, about a minute after the first writes, the rows written are used.
    """
    density, pages = one(
        connection.execute(
            """
            SELECT CASE WHEN reltuples >= 0 AND relpages > 0 THEN reltuples / relpages END,
                   pg_relation_size(oid) / current_setting('block_size')::int
              FROM pg_class WHERE oid = to_regclass(%s)
            """,
            (table.name,),
        )
    )
    estimate: int | None = None if density is None else round(density * pages)
    if estimate is not None and estimate > 2 * COUNTED_ROWS:
        return estimate
    statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {table} LIMIT %s) AS first").format(
        table=table.identifier
    )
    (counted,) = one(connection.execute(statement, (COUNTED_ROWS + 1,)))
    if counted <= COUNTED_ROWS:
        return int(counted)
    written = revision(connection, table).rows_changed
    return max(COUNTED_ROWS, written if estimate is None else estimate)


def _vectors(connection: Connection, table: VectorTable) -> VectorsNow:
    (size,) = one(
        connection.execute("SELECT pg_total_relation_size(to_regclass(%s))", (table.name,))
    )
    return VectorsNow(
        corpus=table.corpus,
        space=str(table.space.spec),
        rows=approximate_rows(connection, table),
        bytes=size or 0,
        indexes=tuple(
            IndexNow(str(index.generation or index.name), index.bytes or 0)
            for index in live_indexes(connection, table)
        ),
        stale=_stale(connection, table),
    )


def _stale(connection: Connection, table: VectorTable) -> float | None:
    decision = last_decision(connection, table)
    if decision is None or decision.generation is None:
        return None
    for made in ready_generations(connection, table):
        if made.number == decision.generation:
            changed = revision(connection, table).rows_changed - made.changed_at_build
            return changed / max(1, made.rows_at_build)
    return None
