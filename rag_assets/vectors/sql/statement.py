"""The statement of every search: its text, by plan and filter, and its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector, Vector
from psycopg import sql

from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import RowFilter, SearchPlan, candidates_for
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.tables import VectorTable

_OF_CORPORA = sql.SQL(
    "document_id IN (SELECT d.document_id FROM documents d WHERE d.corpus = ANY({}::text[]))"
)


@dataclass(frozen=True)
class Joined:
    """What a search returns with each row, such as its text.

    :param columns: the columns, with unique names.
    :param tables: the joins, which refer to the found row as ``near`` with its ``id``.
    """

    columns: LiteralString
    tables: LiteralString


def statement(
    table: VectorTable,
    plan: SearchPlan,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
    joined: Joined | None = None,
) -> sql.Composed:
    """Compose the statement.

    The generation is a literal, not a parameter: the planner uses a partial index only if it can
    prove the predicate, and a generic plan cannot prove it from a parameter.

    The columns are ``id``, ``distance``, those of ``joined`` and, if the plan fetches before it
    filters, ``passed``, the number of rows that passed. Rows without a match to join are left out.

    :param place: makes the placeholder of a parameter, named as in :func:`values`.
    """
    precision = _compared(table, plan)
    if plan.codes is not None:
        passing = _nearest_codes(table, plan, plan.codes, rows, place)
    elif table.corpus == "bible":
        passing = _of_verses(table, rows, place, through_index=plan.generation is not None)
    else:
        passing = _of_chunks(table, rows, place, through_index=plan.generation is not None)
    if plan.codes is None:
        passing += _of_generation(table, plan)
    found = sql.SQL(
        "SELECT {id} AS id, {distance} AS distance{passed}"
        " FROM {table} WHERE {passing} ORDER BY distance LIMIT {limit}::bigint"
    ).format(
        id=table.id_column,
        distance=distance(table, precision, place("vector")),
        passed=sql.SQL(", count(*) OVER () AS passed" if plan.fetched else ""),
        table=table.identifier,
        passing=passing,
        limit=place("limit"),
    )
    return with_joined(found, joined)


def distance(table: VectorTable, precision: Precision, vector: sql.Composable) -> sql.Composed:
    """The cosine distance between a row's vector and another, both of this precision."""
    return sql.SQL("{} <=> {}::{}({})").format(
        table.indexed(precision),
        vector,
        sql.SQL(precision),
        sql.Literal(table.space.spec.dimensions),
    )


def with_joined(found: sql.Composed, joined: Joined | None) -> sql.Composed:
    """Join to a statement whose rows have an ``id``."""
    if joined is None:
        return found
    return sql.SQL("SELECT near.*, {columns} FROM ({found}) AS near {tables}").format(
        columns=sql.SQL(joined.columns), found=found, tables=sql.SQL(joined.tables)
    )


def _compared(table: VectorTable, plan: SearchPlan) -> Precision:
    """The precision in which distances are computed: the index's if it holds the vectors."""
    if plan.generation is None or plan.codes is not None:
        return table.space.spec.precision
    return plan.precision


def _of_generation(table: VectorTable, plan: SearchPlan) -> sql.Composable:
    if plan.generation is None:
        return sql.SQL("")
    return sql.SQL(" AND {} <> {}").format(table.id_column, sql.Literal(-plan.generation))


def _nearest_codes(
    table: VectorTable,
    plan: SearchPlan,
    codes: CodeSet,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
) -> sql.Composed:
    """The condition for the rows with the nearest codes, which are read by primary key.

    Without a generation the codes are scanned: all of them, or through the index on their parts.
    """
    passing = sql.SQL(" AND ").join(passing_codes(table, plan, rows, place))
    if plan.fetched:
        return sql.SQL(
            "{id} = ANY(ARRAY(SELECT {id} FROM (SELECT *, code <~> {code}::bit({bits}) AS hamming"
            " FROM {codes} WHERE TRUE{generation} ORDER BY hamming LIMIT {fetched}::bigint) AS near"
            " WHERE {passing} ORDER BY hamming LIMIT {candidates}::bigint))"
        ).format(
            id=table.id_column,
            codes=codes.identifier,
            passing=passing,
            generation=_of_generation(table, plan),
            code=place("code"),
            bits=sql.Literal(codes.recipe.bits),
            fetched=place("fetched"),
            candidates=place("candidates"),
        )
    return sql.SQL(
        "{id} = ANY(ARRAY(SELECT {id} FROM {codes} WHERE {passing}"
        " ORDER BY code <~> {code}::bit({bits}) LIMIT {candidates}::bigint))"
    ).format(
        id=table.id_column,
        codes=codes.identifier,
        passing=passing + _of_generation(table, plan),
        code=place("code"),
        bits=sql.Literal(codes.recipe.bits),
        candidates=place("candidates"),
    )


def passing_codes(
    table: VectorTable,
    plan: SearchPlan,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
) -> list[sql.Composed]:
    """The conditions of a filter on a table of codes."""
    conditions = [sql.SQL("TRUE").format()]
    if rows.scopes is not None:
        # Excluding no or few numbers is faster than comparing many. The excluded parts are read
        # in the same statement, so a part that is new to the table is excluded too.
        others = "part <> ALL(ARRAY({parts} AND name <> ALL({scopes}::text[])))"
        these = "part = ANY(ARRAY({parts} AND name = ANY({scopes}::text[])))"
        conditions.append(
            sql.SQL(others if plan.wide else these).format(
                parts=sql.SQL("SELECT part FROM code_parts WHERE corpus = {}").format(
                    sql.Literal(table.corpus)
                ),
                scopes=place("scopes"),
            )
        )
    if rows.books is not None:
        conditions.append(sql.SQL("book = ANY({}::text[])").format(place("books")))
    if rows.chapters is not None:
        conditions.append(
            sql.SQL("chapter BETWEEN {}::int AND {}::int").format(place("first"), place("last"))
        )
    if rows.documents is not None:
        conditions.append(sql.SQL("document_id = ANY({}::bigint[])").format(place("documents")))
    if rows.corpora is not None:
        conditions.append(_OF_CORPORA.format(place("corpora")))
    return conditions


def _of_verses(
    table: VectorTable,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
    *,
    through_index: bool,
) -> sql.Composed:
    conditions = [sql.SQL("{} = ANY({}::text[])").format(table.part_column, place("scopes"))]
    if rows.books is not None:
        conditions.append(sql.SQL("book = ANY({}::text[])").format(place("books")))
    if rows.chapters is not None:
        conditions.append(
            sql.SQL("chapter BETWEEN {}::int AND {}::int").format(place("first"), place("last"))
        )
    passing = sql.SQL(" AND ").join(conditions)
    if through_index or rows.whole_scopes:
        return passing
    # The verses' unique index finds a book's rows; this table has no such index.
    return sql.SQL("{} = ANY(ARRAY(SELECT verse_id FROM verses WHERE {}))").format(
        table.id_column, passing
    )


def _of_chunks(
    table: VectorTable,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
    *,
    through_index: bool,
) -> sql.Composed:
    # Every chunk with a vector may be found: withdrawn documents have none.
    conditions = [sql.SQL("TRUE").format()]
    if rows.documents is not None:
        conditions.append(sql.SQL("document_id = ANY({}::bigint[])").format(place("documents")))
    if rows.corpora is not None:
        conditions.append(_OF_CORPORA.format(place("corpora")))
    if rows.scopes is not None and not through_index and rows.documents is None:
        # No index on this table finds a language's rows, but the one on document_id does.
        conditions.append(
            sql.SQL(
                "document_id = ANY(ARRAY("
                "SELECT document_id FROM documents WHERE language = ANY({}::text[])))"
            ).format(place("scopes"))
        )
    elif rows.scopes is not None:
        conditions.append(
            sql.SQL("{} = ANY({}::text[])").format(table.part_column, place("scopes"))
        )
    return sql.SQL(" AND ").join(conditions)


def values(
    table: VectorTable,
    plan: SearchPlan,
    vector: NDArray[np.float32],
    rows: RowFilter,
    top_k: int,
) -> dict[str, object]:
    """The parameters of :func:`statement`, by name."""
    first, last = rows.chapters or (None, None)
    code = None if plan.codes is None else plan.codes.recipe.encode(vector[None])
    return {
        "vector": typed(vector, _compared(table, plan)),
        "code": None if code is None else Bit(code.tobytes()),
        "candidates": candidates_for(plan.candidates, top_k),
        "fetched": plan.fetched and candidates_for(plan.fetched, top_k),
        "scopes": None if rows.scopes is None else list(rows.scopes),
        "limit": top_k,
        "books": None if rows.books is None else list(rows.books),
        "first": first,
        "last": last,
        "documents": None if rows.documents is None else list(rows.documents),
        "corpora": None if rows.corpora is None else list(rows.corpora),
    }


def typed(vector: NDArray[np.float32], precision: Precision) -> HalfVector | Vector:
    """A vector as a parameter of this precision."""
    return HalfVector(vector) if precision == "halfvec" else Vector(vector)
