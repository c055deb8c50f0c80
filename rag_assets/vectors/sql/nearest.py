"""Nearest neighbours of a vector in one table: every search goes through here."""

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
from rag_assets.vectors.search_plan import RowFilter, SearchPlan, candidates_for
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
    found, _ = search_by(
        connection, table, plan, vector, rows, top_k=top_k, timeout_ms=timeout_ms
    )  # fmt: skip
    return [(row.id, row.distance) for row in found]


@dataclass(frozen=True, slots=True)
class Near:
    """A row that a search found.

    :param distance: cosine distance, 0 to 2.
    :param columns: what was joined to it.
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
    """The nearest rows, the nearest first, and the plan that found them: the scan of the codes
    where an index over them had too little that passes.

    One round trip, two where the scan answers: the settings hold for one transaction only, as a
    transaction pooler needs it.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: the server gives up each statement after so long; 0 for never.
    :param joined: what to bring with each row; rows that lack it are left out.
    :raises SearchTimeoutError: it gave up.
    """
    found = _found(connection, table, plan, vector, rows, top_k, timeout_ms, joined)
    if plan.fetched and _passed(found) < candidates_for(plan.candidates, top_k):
        plan = plan.scan
        found = _found(connection, table, plan, vector, rows, top_k, timeout_ms, joined)
    # relaxed_order: from one batch of lists to the next, distances may step back a little.
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
    with limited(connection, timeout_ms, settings_of(plan)):
        found = connection.cursor(row_factory=dict_row).execute(
            _text(table, _shape_of(plan), rows.shape, joined),
            values(table, plan, vector, rows, top_k),
        )
    return found.fetchall()


def distances(
    connection: Connection, table: VectorTable, vector: NDArray[np.float32], ids: Sequence[int]
) -> dict[int, float]:
    """Cosine distances of these rows to a vector, where they are in the table. By primary key.

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
    """These rows, where they are in the table, in no order. By primary key.

    :param vector: float32, shape (dimensions,).
    :param timeout_ms: the server gives up after so long; 0 for never.
    :param joined: what to bring with each row; rows that lack it are left out.
    :raises SearchTimeoutError: it gave up.
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
    with limited(connection, timeout_ms):
        found = connection.cursor(row_factory=dict_row).execute(text, given)
    return [_near(row) for row in found]


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
        "SELECT near.rank, {distance}"
        "  FROM (SELECT {id}, row_number() OVER (ORDER BY away) AS rank"
        "          FROM (SELECT {id}, code <~> %(code)s::bit({bits}) AS away FROM {codes}"
        "                 WHERE {passing} ORDER BY away LIMIT %(candidates)s::bigint) AS best"
        "       ) AS near JOIN {table} e USING ({id})"
    ).format(
        id=table.id_column,
        distance=distance(table, table.space.spec.precision, sql.Placeholder("vector")),
        bits=sql.Literal(plan.codes.recipe.bits),
        codes=plan.codes.identifier,
        passing=passing,
        table=table.identifier,
    )
    with connection.transaction():
        set_local(connection, settings_of(plan))
        return connection.execute(text, values(table, plan, vector, rows, 10)).fetchall()


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
def _text(table: VectorTable, plan: SearchPlan, shape: RowFilter, joined: Joined | None) -> bytes:
    """The statement as it is sent. Putting it together takes 50 µs, a tenth of a search here."""
    return statement(table, plan, shape, sql.Placeholder, joined).as_bytes(None)
