"""Index generations: the record of each build, and the decision which generation serves next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeUse, use_columns
from rag_assets.vectors.sql.indexes import LiveIndex, Probes, live_indexes, recorded_search
from rag_assets.vectors.sql.tables import Revision, VectorTable

ListsFrom = Literal["profile", "asked", "measured"]
EXACT_SUBJECT = "exact"


@dataclass(frozen=True)
class Generation:
    """One successful build.

    :param lists_from: from the profile, requested by an operator, or the best by measurement.
    :param probes: as tuned; ``None`` until then.
    :param codes: the code set that the index holds, and how it is used; ``None`` if the index
        holds the vectors. The candidates are 0 until they are tuned.
    :param changed_at_build: the table's ``rows_changed`` when the build began.
    """

    number: int
    precision: Precision
    lists: int
    lists_from: ListsFrom
    rows_at_build: int
    changed_at_build: int
    probes: Probes | None
    build_seconds: float
    index_bytes: int
    started_at: datetime
    run_id: str
    codes: CodeUse | None = None


def ready_generations(connection: Connection, table: VectorTable) -> tuple[Generation, ...]:
    """Builds whose index exists and is valid, oldest first; ``lists`` is read from the index."""
    lists = {i.generation: i.lists for i in live_indexes(connection, table) if i.valid}
    rows = fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT generation AS number, precision, lists, lists_from, rows_at_build, changed_at_build,
               probes, filtered_probes, max_probes, exact_rows, code_set, candidates,
               filtered_candidates, one_scope_candidates, scan_rows, build_seconds, index_bytes,
               started_at, run_id
          FROM index_generations
         WHERE corpus = %s AND space_id = %s AND state = 'ready' ORDER BY generation
        """,
        (table.corpus, table.space.space_id),
    )
    return tuple(
        Generation(**recorded_search(row | {"lists": lists[row["number"]]}))
        for row in rows
        if row["number"] in lists
    )


def start_generation(
    connection: Connection,
    table: VectorTable,
    *,
    precision: Precision,
    lists: int,
    lists_from: ListsFrom,
    rows: int,
    revision: Revision,
    run_id: str,
    code_set: int | None = None,
) -> int:
    """Record the start of a build and return its number.

    :param code_set: the code set to index; ``None`` for the vectors.
    """
    (number,) = one(
        connection.execute(
            """
            INSERT INTO index_generations
                   (corpus, space_id, state, precision, lists, lists_from, rows_at_build,
                    changed_at_build, run_id, code_set)
            VALUES (%s, %s, 'building', %s, %s, %s, %s, %s, %s, %s) RETURNING generation
            """,
            (
                table.corpus,
                table.space.space_id,
                precision,
                lists,
                lists_from,
                rows,
                revision.rows_changed,
                run_id,
                code_set,
            ),
        )
    )
    return int(number)


def finish_generation(connection: Connection, number: int, *, seconds: float, size: int) -> None:
    """Record that a build succeeded."""
    connection.execute(
        """
        UPDATE index_generations
           SET (state, build_seconds, index_bytes, ended_at) = ('ready', %s, %s, now())
         WHERE generation = %s
        """,
        (seconds, size, number),
    )


def tuned(
    connection: Connection,
    number: int,
    probes: Probes,
    tuning: Mapping[str, object],
    codes: CodeUse | None = None,
) -> None:
    """Record the chosen probes and use of codes, and the curves that they were chosen from."""
    connection.execute(
        """
        UPDATE index_generations
           SET (probes, filtered_probes, max_probes, exact_rows, tuning, candidates,
                filtered_candidates, one_scope_candidates, scan_rows)
             = (%s, %s, %s, %s, %s, %s, %s, %s, %s)
         WHERE generation = %s
        """,
        (
            probes.plain,
            probes.filtered,
            probes.limit,
            probes.exact_rows,
            Jsonb(dict(tuning)),
            *tuple(use_columns(codes).values())[1:],
            number,
        ),
    )


def recorded_tuning(connection: Connection, number: int) -> Mapping[str, Any]:
    """The curves that a generation's probes were chosen from; empty if it was not tuned."""
    row = connection.execute(
        "SELECT tuning FROM index_generations WHERE generation = %s AND tuning IS NOT NULL",
        (number,),
    ).fetchone()
    return dict(row[0]) if row else {}


def fail_generation(connection: Connection, number: int, error: str) -> None:
    """Record that a build failed; its index was dropped or never existed."""
    connection.execute(
        "UPDATE index_generations SET (state, error, ended_at) = ('failed', %s, now())"
        " WHERE generation = %s",
        (error, number),
    )


def fail_dead_builds(connection: Connection, table: VectorTable) -> None:
    """Mark builds whose run has died as failed. The caller holds the table's build lock."""
    connection.execute(
        """
        UPDATE index_generations
           SET (state, error, ended_at) = ('failed', 'its run ended without a report', now())
         WHERE corpus = %s AND space_id = %s AND state = 'building'
        """,
        (table.corpus, table.space.space_id),
    )


def drop_indexes(connection: Connection, indexes: Sequence[LiveIndex]) -> None:
    """Drop the indexes concurrently, without blocking queries. The connection autocommits."""
    for index in indexes:
        connection.execute(
            sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index.name))
        )
        if index.generation is not None:
            connection.execute(
                "UPDATE index_generations SET (state, ended_at) = ('dropped', now())"
                " WHERE generation = %s AND state = 'ready'",
                (index.generation,),
            )


@dataclass(frozen=True)
class RecordedDecision:
    """The last decision on a table: the generation to serve next, or ``None`` for no index.

    :param codes: how the codes are scanned if there is no index; ``None`` for exact search.
    :param tuning: the measurements of that scan.
    :param rows_changed: the table's ``rows_changed`` when it was measured.
    """

    action: str
    generation: int | None
    reasons: tuple[str, ...]
    rows: int
    revision: int
    decided_at: datetime
    codes: CodeUse | None = None
    tuning: Mapping[str, Any] | None = None
    rows_changed: int = 0


def index_subject(generation: int | None, codes: CodeUse | None = None) -> str:
    """The subject that an index check's result is recorded under.

    :param codes: the codes that are scanned if there is no index.
    """
    if generation is not None:
        return f"generation {generation}"
    return EXACT_SUBJECT if codes is None else f"code set {codes.code_set}"


def record_decision(
    connection: Connection,
    table: VectorTable,
    *,
    action: str,
    generation: int | None,
    reasons: Sequence[str],
    rows: int,
    revision: int,
    run_id: str,
    codes: CodeUse | None = None,
    tuning: Mapping[str, object] | None = None,
    rows_changed: int = 0,
) -> None:
    """Record the decision, replacing the previous one."""
    connection.execute(
        """
        INSERT INTO index_decisions AS d
               (corpus, space_id, action, generation, reasons, rows, revision, run_id,
                code_set, candidates, filtered_candidates, one_scope_candidates, scan_rows, tuning,
                rows_changed)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (corpus, space_id) DO UPDATE
           SET (action, generation, reasons, rows, revision, run_id, code_set, candidates,
                filtered_candidates, one_scope_candidates, scan_rows, tuning, rows_changed,
                decided_at)
             = (EXCLUDED.action, EXCLUDED.generation, EXCLUDED.reasons, EXCLUDED.rows,
                EXCLUDED.revision, EXCLUDED.run_id, EXCLUDED.code_set, EXCLUDED.candidates,
                EXCLUDED.filtered_candidates, EXCLUDED.one_scope_candidates, EXCLUDED.scan_rows,
                EXCLUDED.tuning, EXCLUDED.rows_changed, now())
        """,
        (
            table.corpus,
            table.space.space_id,
            action,
            generation,
            list(reasons),
            rows,
            revision,
            run_id,
            *use_columns(codes).values(),
            Jsonb(dict(tuning)) if tuning is not None else None,
            rows_changed,
        ),
    )


def last_decision(connection: Connection, table: VectorTable) -> RecordedDecision | None:
    """The last decision, if there is one."""
    found = fetch_all(
        connection,
        _decision,
        """
        SELECT action, generation, reasons, rows, revision, decided_at, code_set, candidates,
               filtered_candidates, one_scope_candidates, scan_rows, tuning,
               coalesce(rows_changed, 0) AS rows_changed
          FROM index_decisions WHERE corpus = %s AND space_id = %s
        """,
        (table.corpus, table.space.space_id),
    )
    return found[0] if found else None


def _decision(*, reasons: list[str], **row: Any) -> RecordedDecision:
    return RecordedDecision(reasons=tuple(reasons), **recorded_search(row))
