"""Nearest neighbours of a vector in one table: the one statement that every search sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pgvector import Bit, HalfVector, Vector
from pgvector.psycopg import register_vector
from psycopg import sql

from rag_assets.settings import Precision
from rag_assets.store.code_sets import CodeSet
from rag_assets.store.database import Connection
from rag_assets.store.time_limit import limited
from rag_assets.store.vector_tables import VectorTable

Kind = Literal["exact", "codes", "ivfflat", "iterative"]


@dataclass(frozen=True)
class SearchPlan:
    """How a search reads the table.

    ``exact`` compares every row that passes the filter. ``codes`` compares the codes of these rows
    and then the ``candidates`` nearest exactly. ``ivfflat`` reads ``probes`` lists of one index
    generation, without a filter; ``iterative`` does so under a filter. Both continue in batches of
    ``probes`` lists, up to ``max_probes``, until enough rows have passed.

    Over codes, ``iterative`` takes the ``fetched`` nearest of all rows: those that pass the filter
    are the nearest that pass it. Where they are fewer than ``candidates``, the query and the filter
    lie apart, as a query in another language than the filter's does, and ``codes`` answers instead.

    :param codes: what is compared first, also by an index over codes; ``None`` where an index holds
        the vectors.
    :param wide: most rows pass the filter, so that it is cheaper to leave out the others.
    """

    kind: Kind
    generation: int | None = None
    precision: Precision = "halfvec"
    probes: int = 0
    max_probes: int = 0
    codes: CodeSet | None = None
    candidates: int = 0
    wide: bool = False
    lists: int = 0
    fetched: int = 0

    @property
    def scan(self) -> SearchPlan:
        """The scan of the codes in the place of an index over them."""
        return SearchPlan("codes", codes=self.codes, candidates=self.candidates, wide=self.wide)

    def __str__(self) -> str:
        """For operators: ``ivfflat, 25 of 1,000 lists, 200 candidates``."""
        parts: list[str] = [self.kind]
        if self.probes:
            parts.append(
                f"{self.probes:,}" + (f" of {self.lists:,}" if self.lists else "") + " lists"
            )
        if self.codes is not None:
            parts.append(f"{self.candidates:,} candidates")
        return ", ".join(parts)


EXACT = SearchPlan("exact")


def prepare_connection(connection: Connection) -> None:
    """Teach a connection pgvector's types; once, before its first search."""
    register_vector(connection)


@dataclass(frozen=True)
class RowFilter:
    """Which rows a search may find; ``None`` for all.

    :param scopes: versions, always given, because a table may hold some that are not released; or
        languages of documents.
    :param documents: only these, by their ids.
    """

    scopes: tuple[str, ...] | None
    books: tuple[str, ...] | None = None
    chapters: tuple[int, int] | None = None
    documents: tuple[int, ...] | None = None

    @property
    def whole_scopes(self) -> bool:
        """Whether every row of its versions passes."""
        return self.books is None and self.chapters is None

    @property
    def shape(self) -> RowFilter:
        """What its statement depends on: which of them are asked for."""
        return RowFilter(
            None if self.scopes is None else (),
            None if self.books is None else (),
            None if self.chapters is None else (0, 0),
            None if self.documents is None else (),
        )


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
    """Ids and cosine distances (0 to 2) of the nearest rows, the nearest first: :func:`search_by`
    without its plan."""
    return search_by(
        connection, table, plan, vector, top_k=top_k, scopes=scopes, books=books,
        chapters=chapters, documents=documents, timeout_ms=timeout_ms,
    )[0]  # fmt: skip


def search_by(
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
) -> tuple[list[tuple[int, float]], SearchPlan]:
    """Ids and cosine distances (0 to 2) of the nearest rows, the nearest first, and the plan that
    found them: the scan of the codes where an index over them had too little that passes.

    One round trip: the settings hold for its transaction only, as a transaction pooler needs it.

    :param vector: float32, shape (dimensions,).
    :param scopes: only rows of these versions; always given, because a table may hold some that
        are not released. Of documents, only these languages.
    :param books: only these, as USFM codes.
    :param chapters: only these, from the first to the last.
    :param documents: only these, by their ids.
    :param timeout_ms: the server gives up after so long; 0 for never.
    :raises SearchTimeoutError: it gave up.
    """
    rows = RowFilter(
        None if scopes is None else tuple(scopes),
        books=None if books is None else tuple(books),
        chapters=chapters,
        documents=None if documents is None else tuple(documents),
    )
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
            (_typed(vector, table.space.spec.precision), list(ids)),
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
    passing = sql.SQL(" AND ").join(_of_codes(table, plan, rows, sql.Placeholder))
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
    return connection.execute(text, values(table, plan, vector, rows, 10)).fetchall()


def candidates_for(candidates: int, top_k: int) -> int:
    """How many codes to compare exactly for ``top_k`` hits, where ``candidates`` do for ten.

    Measured over codes of one to four bits per dimension: the further down the neighbours, the more
    others are as near, but less so than in proportion; and five per hit where codes are long.
    """
    deeper: float = max(1.0, top_k / 10) ** 0.75
    return max(round(candidates * deeper), 5 * top_k)


def set_local(connection: Connection, plan: SearchPlan) -> None:
    if plan.generation is None:
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
    )


@lru_cache(maxsize=512)
def _text(table: VectorTable, plan: SearchPlan, shape: RowFilter) -> bytes:
    """The statement as it is sent. Putting it together takes 50 µs, a tenth of a search here."""
    return statement(table, plan, shape, sql.Placeholder).as_bytes(None)


def statement(
    table: VectorTable, plan: SearchPlan, rows: RowFilter, place: Callable[[str], sql.Composable]
) -> sql.Composed:
    """The statement, with its parameters (named as in :func:`values`) where ``place`` puts them.

    The generation is written into the text, not sent as a parameter: the planner takes a partial
    index only where it can prove its predicate, which a generic plan cannot do of a parameter.

    A plan that fetches before it filters gives a third column: how many rows have passed.
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
    return sql.SQL(
        "SELECT {id}, {expression} <=> {vector}::{type}({dimensions}) AS distance{passed}"
        " FROM {table} WHERE {passing} ORDER BY distance LIMIT {limit}::bigint"
    ).format(
        id=table.id_column,
        expression=table.indexed(precision),
        vector=place("vector"),
        passed=sql.SQL(", count(*) OVER ()" if plan.fetched else ""),
        type=sql.SQL(precision),
        dimensions=sql.Literal(table.space.spec.dimensions),
        table=table.identifier,
        passing=passing,
        limit=place("limit"),
    )


def _compared(table: VectorTable, plan: SearchPlan) -> Precision:
    """The type in which distances are computed: the index's where it holds the vectors."""
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
    """The rows with the nearest codes, found by primary key.

    Without a generation the codes are scanned: all of them, or by the index on their parts.
    """
    passing = sql.SQL(" AND ").join(_of_codes(table, plan, rows, place))
    if plan.fetched:
        return sql.SQL(
            "{id} = ANY(ARRAY(SELECT {id} FROM (SELECT *, code <~> {code}::bit({bits}) AS away"
            " FROM {codes} WHERE TRUE{generation} ORDER BY away LIMIT {fetched}::bigint) AS near"
            " WHERE {passing} ORDER BY away LIMIT {candidates}::bigint))"
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


def _of_codes(
    table: VectorTable,
    plan: SearchPlan,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
) -> list[sql.Composed]:
    conditions = [sql.SQL("TRUE").format()]
    if rows.scopes is not None:
        # What is left out is none or few numbers, which are compared faster than many; it is read
        # with the rows, so that a part that is new to the table is left out as well.
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
    let_through = sql.SQL(" AND ").join(conditions)
    if through_index or rows.whole_scopes:
        return let_through
    # The verses' unique index finds a book's rows; this table has none that does.
    return sql.SQL("{} = ANY(ARRAY(SELECT verse_id FROM verses WHERE {}))").format(
        table.id_column, let_through
    )


def _of_chunks(
    table: VectorTable,
    rows: RowFilter,
    place: Callable[[str], sql.Composable],
    *,
    through_index: bool,
) -> sql.Composed:
    # Whatever has a vector may be found: what is withdrawn has none.
    conditions = [sql.SQL("TRUE").format()]
    if rows.documents is not None:
        conditions.append(sql.SQL("document_id = ANY({}::bigint[])").format(place("documents")))
    if rows.scopes is not None and not through_index and rows.documents is None:
        # The index on document_id finds a language's rows; this table has none that does.
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
    first, last = rows.chapters or (None, None)
    code = None if plan.codes is None else plan.codes.recipe.encode(vector[None])
    return {
        "vector": _typed(vector, _compared(table, plan)),
        "code": None if code is None else Bit(code.tobytes()),
        "candidates": candidates_for(plan.candidates, top_k),
        "fetched": plan.fetched and candidates_for(plan.fetched, top_k),
        "scopes": None if rows.scopes is None else list(rows.scopes),
        "limit": top_k,
        "books": None if rows.books is None else list(rows.books),
        "first": first,
        "last": last,
        "documents": None if rows.documents is None else list(rows.documents),
    }


def _typed(vector: NDArray[np.float32], precision: Precision) -> HalfVector | Vector:
    return HalfVector(vector) if precision == "halfvec" else Vector(vector)
