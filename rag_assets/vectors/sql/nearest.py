"""Nearest neighbours of a vector in one table: every search goes through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg import sql

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.vectors.search_plan import RowFilter, SearchPlan, candidates_for
from rag_assets.vectors.sql.statement import passing_codes, statement, typed, values
from rag_assets.vectors.sql.tables import VectorTable


def prepare_connection(connection: Connection) -> None:
    """Teach a connection pgvector's types; once, before its first search."""
    register_vector(connection)


def nearest(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    *,
    top_k: int,
    scopes: Sequence[str] | None,
    books: Sequence[str] | None = None,
    chapters: tuple[int, int] | None = None,
    documents: Sequence[int] | None = None,
    timeout_ms: int = 0,
) -> list[tuple[int, float]]:
    """Ids and cosine distances (0 to 2) of the nearest rows, the nearest first.

    :param vector: float32, shape (dimensions,).
    :param scopes: only rows of these versions; always given, because a table may hold some that
        are not released. Of documents, only these languages.
    :param books: only these, as USFM codes.
    :param chapters: only these, from the first to the last.
    :param documents: only these, by their ids.
    :param timeout_ms: as :func:`search_by` has it.
    :raises SearchTimeoutError: the server gave up.
    """
    rows = RowFilter(
        None if scopes is None else tuple(scopes),
        books=None if books is None else tuple(books),
        chapters=chapters,
        documents=None if documents is None else tuple(documents),
    )
    return search_by(
        connection, table, plan, vector, rows, top_k=top_k, timeout_ms=timeout_ms
    )[0]  # fmt: skip


def search_by(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    *,
    top_k: int,
    timeout_ms: int = 0,
) -> tuple[list[tuple[int, float]], SearchPlan]:
    """Ids and cosine distances of the nearest rows, the nearest first, and the plan that found
    them: the scan of the codes where an index over them had too little that passes.

    One round trip, two where the scan answers: the settings hold for one transaction only, as a
    transaction pooler needs it.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: the server gives up each statement after so long; 0 for never.
    :raises SearchTimeoutError: it gave up.
    """
    found = _found(connection, table, plan, vector, rows, top_k, timeout_ms)
    if plan.fetched and (not found or found[0][2] < candidates_for(plan.candidates, top_k)):
        plan = plan.scan
        found = _found(connection, table, plan, vector, rows, top_k, timeout_ms)
    # relaxed_order: from one batch of lists to the next, distances may step back a little.
    return sorted(((row[0], row[1]) for row in found), key=lambda row: (row[1], row[0])), plan


def _found(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    top_k: int,
    timeout_ms: int,
) -> list[tuple[Any, ...]]:
    with limited(connection, timeout_ms):
        set_local(connection, plan)
        return connection.execute(
            _text(table, _shape_of(plan), rows.shape),
            values(table, plan, vector, rows, top_k),
        ).fetchall()


def distances(
    connection: Connection,
    table: VectorTable,
    vector: NDArray[np.float32],
    ids: Sequence[int],
    *,
    timeout_ms: int = 0,
) -> dict[int, float]:
    """Cosine distances of these rows to a vector, where they are in the table. By primary key.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: the server gives up after so long; 0 for never.
    :raises SearchTimeoutError: it gave up.
    """
    with limited(connection, timeout_ms):
        found = connection.execute(
            sql.SQL(
                "SELECT {id}, embedding <=> %s::{type}({dimensions}) FROM {table}"
                " WHERE {id} = ANY(%s)"
            ).format(
                id=table.id_column,
                type=sql.SQL(table.space.spec.precision),
                dimensions=sql.Literal(table.space.spec.dimensions),
                table=table.identifier,
            ),
            (typed(vector, table.space.spec.precision), list(ids)),
        )
    return dict(found.fetchall())


def by_rank(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    *,
    scopes: Sequence[str] | None,
) -> list[tuple[int, float]]:
    """The candidates of a scan of the codes: rank by code, from 1, and cosine distance, of each.

    One search that tells what fewer candidates would have found as well: for tuning.
    """
    if plan.codes is None:
        raise LookupError(f"{plan} has no codes")
    rows = RowFilter(None if scopes is None else tuple(scopes))
    passing = sql.SQL(" AND ").join(passing_codes(table, plan, rows, sql.Placeholder))
    text = sql.SQL(
        "SELECT near.rank, e.embedding <=> %(vector)s::{type}({dimensions})"
        "  FROM (SELECT {id}, row_number() OVER (ORDER BY away) AS rank"
        "          FROM (SELECT {id}, code <~> %(code)s::bit({bits}) AS away FROM {codes}"
        "                 WHERE {passing} ORDER BY away LIMIT %(candidates)s::bigint) AS best"
        "       ) AS near JOIN {table} e USING ({id})"
    ).format(
        id=table.id_column,
        type=sql.SQL(table.space.spec.precision),
        dimensions=sql.Literal(table.space.spec.dimensions),
        bits=sql.Literal(plan.codes.recipe.bits),
        codes=plan.codes.identifier,
        passing=passing,
        table=table.identifier,
    )
    with connection.transaction():
        set_local(connection, plan)
        return connection.execute(text, values(table, plan, vector, rows, 10)).fetchall()


def set_local(connection: Connection, plan: SearchPlan) -> None:
    """Let the planner take this plan, for the rest of the transaction."""
    if chosen := settings_of(plan):
        connection.execute(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[])"
            " AS chosen (name, value)",
            (list(chosen), list(chosen.values())),
        )


def settings_of(plan: SearchPlan) -> Mapping[str, str]:
    """PostgreSQL's settings under which its planner takes this plan."""
    chosen: dict[str, str] = {}
    if plan.kind == "codes" and not plan.wide:
        # The planner does not see what an array of parts holds, guesses ten of them, and reads the
        # codes of all rows with parallel workers: four times as long, five times under load.
        chosen |= {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}
    if plan.generation is not None:
        # With enable_sort off nothing but the index can give rows in order of distance: the planner
        # may otherwise prefer the filter's index, or a scan, by its estimate of the cost.
        chosen |= {
            "ivfflat.probes": str(plan.probes),
            "ivfflat.max_probes": str(max(plan.probes, plan.max_probes)),
            "ivfflat.iterative_scan": "relaxed_order",
            "enable_sort": "off",
        }
    return chosen


def _shape_of(plan: SearchPlan) -> SearchPlan:
    """What the text of a plan's statement depends on."""
    return replace(
        plan,
        kind="exact",
        probes=0,
        max_probes=0,
        candidates=0,
        lists=0,
        fetched=min(1, plan.fetched),
        scan_candidates=0,
    )


@lru_cache(maxsize=512)
def _text(table: VectorTable, plan: SearchPlan, shape: RowFilter) -> bytes:
    """The statement as it is sent. Putting it together takes 50 µs, a tenth of a search here."""
    return statement(table, plan, shape, sql.Placeholder).as_bytes(None)
