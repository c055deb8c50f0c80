"""Nearest neighbours of a vector in one table: the one statement that every search sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import sql

from rag_assets.settings import Precision
from rag_assets.store.database import Connection, one
from rag_assets.store.vector_tables import VectorTable

Kind = Literal["exact", "ivfflat", "iterative"]


@dataclass(frozen=True)
class SearchPlan:
    """How a search reads the table.

    ``exact`` compares every row that the filter lets through. ``ivfflat`` reads ``probes`` lists of
    one index generation, over everything released; ``iterative`` does so under a filter. Both go on
    in batches of ``probes`` lists, up to ``max_probes``, until enough rows were let through.
    """

    kind: Kind
    generation: int | None = None
    precision: Precision = "halfvec"
    probes: int = 0
    max_probes: int = 0


EXACT = SearchPlan("exact")


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
    scopes: Sequence[str],
) -> list[tuple[int, float]]:
    """Ids and cosine distances (0 to 2) of the nearest rows, the nearest first.

    One round trip: the settings hold for its transaction only, as a transaction pooler needs it.

    :param vector: float32, shape (dimensions,).
    :param scopes: only rows of these versions.
    """
    with connection.pipeline(), connection.transaction():
        _set_local(connection, plan)
        found = connection.execute(
            _statement(table, plan), _values(table, plan, vector, top_k, scopes)
        )
    rows: list[tuple[int, float]] = found.fetchall()
    # relaxed_order: from one batch of lists to the next, distances may step back a little.
    return sorted(rows, key=lambda row: (row[1], row[0]))


def _set_local(connection: Connection, plan: SearchPlan) -> None:
    if plan.kind == "exact":
        return
    # With enable_sort off nothing but the index can give rows in order of distance: the planner
    # may otherwise prefer the filter's index, or a scan, by its estimate of the cost.
    connection.execute(
        """
        SELECT set_config('ivfflat.probes', %s, true), set_config('ivfflat.max_probes', %s, true),
               set_config('ivfflat.iterative_scan', 'relaxed_order', true),
               set_config('enable_sort', 'off', true)
        """,
        (str(plan.probes), str(max(plan.probes, plan.max_probes))),
    )


def _statement(table: VectorTable, plan: SearchPlan) -> sql.Composed:
    """Parameters: vector, scopes, limit.

    The generation is written into the text, not sent as a parameter: the planner takes a partial
    index only where it can prove its predicate, which a generic plan cannot do of a parameter.
    """
    precision = table.space.spec.precision if plan.generation is None else plan.precision
    predicate = (
        sql.SQL("TRUE")
        if plan.generation is None
        else sql.SQL("{id} <> {generation}").format(
            id=table.id_column, generation=sql.Literal(-plan.generation)
        )
    )
    return sql.SQL(
        "SELECT {id}, {expression} <=> %s::{type}({dimensions}) AS distance FROM {table}"
        " WHERE {predicate} AND {scope} = ANY(%s::text[]) ORDER BY distance LIMIT %s::bigint"
    ).format(
        id=table.id_column,
        expression=table.indexed(precision),
        type=sql.SQL(precision),
        dimensions=sql.Literal(table.space.spec.dimensions),
        table=table.identifier,
        predicate=predicate,
        scope=table.scope_column,
    )


def _values(
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    top_k: int,
    scopes: Sequence[str],
) -> tuple[object, ...]:
    precision = table.space.spec.precision if plan.generation is None else plan.precision
    value = HalfVector(vector) if precision == "halfvec" else Vector(vector)
    return value, list(scopes), top_k


def indexes_used(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    *,
    top_k: int,
    scopes: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Names of the indexes that the search's statement reads, by the server's EXPLAIN.

    Under ``custom`` as planned for these very values, under ``generic`` as PostgreSQL may plan it
    for all values once a connection has prepared it: a plan that changes there would be measured
    once and never be seen again.
    """
    used = {}
    text = _statement(table, plan).as_string(connection)
    for name, mode in (("custom", "force_custom_plan"), ("generic", "force_generic_plan")):
        with connection.transaction(force_rollback=True):
            _set_local(connection, plan)
            connection.execute("SELECT set_config('plan_cache_mode', %s, true)", (mode,))
            prepared = text
            for place in ("$1", "$2", "$3"):
                prepared = prepared.replace("%s", place, 1)
            connection.execute(sql.SQL("PREPARE rag_explained AS ") + sql.SQL(prepared))
            values = _values(table, plan, vector, top_k, scopes)
            (answer,) = one(
                connection.execute(
                    sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE rag_explained ({}, {}, {})").format(
                        *(sql.Literal(value) for value in values)
                    )
                )
            )
            connection.execute("DEALLOCATE rag_explained")
        used[name] = tuple(_index_names(answer[0]["Plan"]))
    return used


def _index_names(node: dict[str, object]) -> Iterator[str]:
    if "Index Name" in node:
        yield str(node["Index Name"])
    below = node.get("Plans", ())
    for child in below if isinstance(below, list) else ():
        yield from _index_names(child)
