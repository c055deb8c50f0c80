"""The indexes that a search's statement reads, according to EXPLAIN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.postgres.time_limit import set_local
from rag_assets.vectors.search_plan import RowFilter, SearchPlan
from rag_assets.vectors.sql.nearest import settings_of
from rag_assets.vectors.sql.statement import Joined, statement, values
from rag_assets.vectors.sql.tables import VectorTable


def indexes_used(
    connection: Connection,
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    *,
    top_k: int,
    scopes: Sequence[str] | None,
    joined: Joined | None = None,
) -> dict[str, tuple[str, ...]]:
    """Names of the indexes that the search's statement reads, according to EXPLAIN.

    ``custom`` is the plan for these parameter values; ``generic`` is the plan for any values, which
    PostgreSQL may choose once a connection has prepared the statement. Both are checked, because a
    search could otherwise use an index in the check and another plan in service.
    """
    used = {}
    rows = RowFilter(None if scopes is None else tuple(scopes))
    numbers: dict[str, int] = {}

    def numbered(name: str) -> sql.Composable:
        return sql.SQL("${}").format(sql.Literal(numbers.setdefault(name, len(numbers) + 1)))

    text = statement(table, plan, rows, numbered, joined)
    given_values = values(table, plan, vector, rows, top_k)
    given = sql.SQL(", ").join(sql.Literal(given_values[name]) for name in numbers)
    for name, mode in (("custom", "force_custom_plan"), ("generic", "force_generic_plan")):
        with connection.transaction(force_rollback=True):
            set_local(connection, {**settings_of(plan), "plan_cache_mode": mode})
            connection.execute(sql.SQL("PREPARE rag_explained AS {}").format(text))
            (answer,) = one(
                connection.execute(
                    sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE rag_explained ({})").format(given)
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
