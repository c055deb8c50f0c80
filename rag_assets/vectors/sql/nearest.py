"""Nearest neighbours of a vector in one table. Every search uses this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.rows import dict_row

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited, set_local
from rag_assets.vectors.search_plan import EXACT, RowFilter, SearchPlan, candidates_for
from rag_assets.vectors.sql.dimensions import named_dimensions
from rag_assets.vectors.sql.statement import (
    Joined,
    distance,
    passing_codes,
    statement,
    typed,
    values,
    with_joined,
)
from rag_assets.vectors.sql.tables import VectorTable


def prepare_connection(connection: Connection) -> None:
    """Register pgvector's types on a connection, once, before its first search."""
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
    """Ids and cosine distances (0 to 2) of the nearest rows, nearest first.

    :param vector: float32, shape (dimensions,).
    :param scopes: only rows of these versions, which must be given because a table may hold
        unreleased ones; for documents, only these languages.
    :param books: only these books, as USFM codes.
    :param chapters: only these chapters: first and last.
    :param documents: only these documents, by id.
    :param timeout_ms: as for :func:`search_by`.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    rows = RowFilter(
        None if scopes is None else tuple(scopes),
        books=None if books is None else tuple(books),
        chapters=chapters,
        documents=None if documents is None else tuple(documents),
    )
    found, _ = search_by(
        connection, table, plan, vector, rows, top_k=top_k, timeout_ms=timeout_ms
    )  # fmt: skip
    return [(row.id, row.distance) for row in found]


@dataclass(frozen=True, slots=True)
class Near:
    """A row found by a search.

    :param distance: cosine distance, 0 to 2.
    :param columns: the joined columns.
    """

    id: int
    distance: float
    columns: Mapping[str, Any]


def search_by(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    *,
    top_k: int,
    timeout_ms: int = 0,
    joined: Joined | None = None,
) -> tuple[list[Near], SearchPlan]:
    """The nearest rows, nearest first, and the plan that found them.

    If too few rows from an index over codes pass the filter, that is the scan of the codes. Takes
    one round trip, or two with the scan: the settings apply to one transaction only, for the sake
    of transaction poolers.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: time limit of each statement; 0 for none.
    :param joined: columns to return with each row; rows without a match are left out.
    :raises SearchTimeoutError: a statement ran into its time limit.
    """
    found = _found(connection, table, plan, vector, rows, top_k, timeout_ms, joined)
    if plan.fetched and _passed(found) < candidates_for(plan.candidates, top_k):
        plan = plan.scan
        found = _found(connection, table, plan, vector, rows, top_k, timeout_ms, joined)
    # relaxed_order: rows of the next batch of lists may be slightly nearer than the last ones.
    return sorted(map(_near, found), key=lambda row: (row.distance, row.id)), plan


def _near(row: dict[str, Any]) -> Near:
    row.pop("passed", None)
    return Near(row.pop("id"), row.pop("distance"), row)


def _passed(found: Sequence[Mapping[str, Any]]) -> int:
    return found[0]["passed"] if found else 0


def _found(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    top_k: int,
    timeout_ms: int,
    joined: Joined | None,
) -> list[dict[str, Any]]:
    with (
        named_dimensions(connection, table),
        limited(connection, timeout_ms, settings_of(plan)),
    ):
        found = connection.cursor(row_factory=dict_row).execute(
            _text(table, _shape_of(plan), rows.shape, joined),
            values(table, plan, vector, rows, top_k),
        )
    return found.fetchall()


def distances(
    connection: Connection, table: VectorTable, vector: NDArray[np.float32], ids: Sequence[int]
) -> dict[int, float]:
    """Cosine distances from a vector to those of these rows that exist. Uses the primary key.

    :param vector: float32, shape (dimensions,).
    """
    return {row.id: row.distance for row in compare(connection, table, vector, ids)}


def compare(
    connection: Connection,
    table: VectorTable,
    vector: NDArray[np.float32],
    ids: Sequence[int],
    *,
    timeout_ms: int = 0,
    joined: Joined | None = None,
) -> list[Near]:
    """Those of these rows that exist, with their distances, in no order. Uses the primary key.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: time limit of the statement; 0 for none.
    :param joined: columns to return with each row; rows without a match are left out.
    :raises SearchTimeoutError: the statement ran into its time limit.
    """
    precision = table.space.spec.precision
    found_by_id = sql.SQL(
        "SELECT {id} AS id, {distance} AS distance FROM {table} WHERE {id} = ANY(%s)"
    ).format(
        id=table.id_column,
        distance=distance(table, precision, sql.Placeholder()),
        table=table.identifier,
    )
    text = with_joined(found_by_id, joined)
    given = typed(vector, precision), list(ids)
    with named_dimensions(connection, table), limited(connection, timeout_ms):
        found = connection.cursor(row_factory=dict_row).execute(text, given)
    return [_near(row) for row in found]


def exact_ranks(
    connection: Connection,
    table: VectorTable,
    vector: NDArray[np.float32],
    rows: RowFilter,
    ids: Sequence[int],
    *,
    timeout_ms: int = 0,
) -> dict[int, int]:
    """The ranks, from 1, that exact search gives those of these rows that pass the filter.

    Compares every row that passes.

    :param vector: float32, shape (dimensions,).
    :raises SearchTimeoutError: the statement ran into its time limit.
    """
    every = statement(table, EXACT, rows.shape, sql.Placeholder)
    text = sql.SQL(
        "SELECT id, rank FROM (SELECT id, row_number() OVER (ORDER BY distance, id) AS rank"
        " FROM ({every}) AS near) AS ranked WHERE id = ANY(%(ids)s)"
    ).format(every=every)
    given = values(table, EXACT, vector, rows, 1) | {"limit": None, "ids": list(ids)}
    with named_dimensions(connection, table), limited(connection, timeout_ms):
        found = connection.execute(text, given)
    return dict(found.fetchall())


def code_ranks(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    ids: Sequence[int],
    *,
    timeout_ms: int = 0,
) -> dict[int, int]:
    """The ranks, from 1, of those of these rows that have a code, by code alone.

    Compares every code that passes the filter. Rows whose codes are equally far have one rank.

    :raises SearchTimeoutError: the statement ran into its time limit.
    """
    if plan.codes is None:
        raise LookupError(f"{plan} has no codes")
    passing = sql.SQL(" AND ").join(passing_codes(table, plan, rows, sql.Placeholder))
    text = sql.SQL(
        "SELECT {id}, rank FROM (SELECT {id}, rank() OVER (ORDER BY code <~> %(code)s::bit({bits}))"
        " AS rank FROM {codes} WHERE {passing}) AS ranked WHERE {id} = ANY(%(ids)s)"
    ).format(
        id=table.id_column,
        bits=sql.Literal(plan.codes.recipe.bits),
        codes=plan.codes.identifier,
        passing=passing,
    )
    given = values(table, plan, vector, rows, 1) | {"ids": list(ids)}
    with named_dimensions(connection, table), limited(connection, timeout_ms):
        found = connection.execute(text, given)
    return dict(found.fetchall())


def by_rank(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    *,
    scopes: Sequence[str] | None,
) -> list[tuple[int, float]]:
    """The rank by code, from 1, and cosine distance of each candidate of a scan of the codes.

    For tuning: one search also shows what fewer candidates would have found.
    """
    if plan.codes is None:
        raise LookupError(f"{plan} has no codes")
    rows = RowFilter(None if scopes is None else tuple(scopes))
    passing = sql.SQL(" AND ").join(passing_codes(table, plan, rows, sql.Placeholder))
    text = sql.SQL(
        "SELECT near.rank, {distance}"
        "  FROM (SELECT {id}, row_number() OVER (ORDER BY hamming) AS rank"
        "          FROM (SELECT {id}, code <~> %(code)s::bit({bits}) AS hamming FROM {codes}"
        "                 WHERE {passing} ORDER BY hamming LIMIT %(candidates)s::bigint) AS best"
        "       ) AS near JOIN {table} e USING ({id})"
    ).format(
        id=table.id_column,
        distance=distance(table, table.space.spec.precision, sql.Placeholder("vector")),
        bits=sql.Literal(plan.codes.recipe.bits),
        codes=plan.codes.identifier,
        passing=passing,
        table=table.identifier,
    )
    with named_dimensions(connection, table), connection.transaction():
        set_local(connection, settings_of(plan))
        return connection.execute(text, values(table, plan, vector, rows, 10)).fetchall()


def settings_of(plan: SearchPlan) -> Mapping[str, str]:
    """The PostgreSQL settings with which the planner chooses this plan."""
    chosen: dict[str, str] = {}
    if plan.kind == "codes" and not plan.wide:
        # The planner cannot see how many parts an array has, assumes ten, and reads the codes of
        # all rows with parallel workers: that takes four times as long, and five under load.
        chosen |= {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}
    if plan.generation is not None:
        # With enable_sort off, only the index can return rows in order of distance. Otherwise the
        # planner may prefer the filter's index, or a scan, by its cost estimate.
        chosen |= {
            "ivfflat.probes": str(plan.probes),
            "ivfflat.max_probes": str(max(plan.probes, plan.max_probes)),
            "ivfflat.iterative_scan": "relaxed_order",
            "enable_sort": "off",
        }
    return chosen


def _shape_of(plan: SearchPlan) -> SearchPlan:
    """The part of a plan that the statement's text depends on."""
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
def _text(table: VectorTable, plan: SearchPlan, shape: RowFilter, joined: Joined | None) -> bytes:
    """The statement's text, cached: composing it takes 50 µs, a tenth of a search."""
    return statement(table, plan, shape, sql.Placeholder, joined).as_bytes(None)
