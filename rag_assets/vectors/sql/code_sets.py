"""Code sets, each a table of codes beside a table of vectors, and how searches use them.

Codes are written by :mod:`rag_assets.vectors.sql.code_writing`. A trigger rejects those of other
clients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql.tables import Corpus, VectorTable

State = Literal["filling", "ready"]
USE_COLUMNS = (
    "code_set",
    "candidates",
    "filtered_candidates",
    "one_scope_candidates",
    "scan_rows",
)


@dataclass(frozen=True)
class CodeSet:
    """One encoding of a table's vectors, and the table that holds the codes."""

    number: int
    corpus: Corpus
    recipe: Recipe
    state: State

    @property
    def name(self) -> str:
        return f"{'verse' if self.corpus == 'bible' else 'chunk'}_codes_c{self.number}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    def __str__(self) -> str:
        mean = "" if self.recipe.mean is None else ", mean removed"
        return f"code set {self.number} ({self.recipe.bits} bits{mean})"


@dataclass(frozen=True)
class CodeUse:
    """How searches use a code set, as a generation, a decision or a release records it.

    :param code_set: its number.
    :param candidates: number of nearest codes whose vectors are compared, for ten hits.
    :param filtered: the same under a filter, which may exclude every near neighbour.
    :param one_scope: the same if the filter passes at most as many rows as the largest version, or
        the largest language of documents, has.
    :param scan_rows: up to this many rows, a scan of the codes is faster than the index.
    """

    code_set: int
    candidates: int
    filtered: int
    one_scope: int
    scan_rows: int


def code_use(
    code_set: int | None,
    candidates: int | None,
    filtered: int | None,
    one_scope: int | None,
    scan_rows: int | None,
) -> CodeUse | None:
    """The use recorded in five columns; two of them are null in records of earlier versions."""
    if code_set is None:
        return None
    plain = candidates or 0
    filtered = plain if filtered is None else filtered
    one_scope = filtered if one_scope is None else one_scope
    return CodeUse(code_set, plain, filtered, one_scope, scan_rows or 0)


def use_columns(use: CodeUse | None) -> dict[str, int | None]:
    """The columns that record a use, in the order of :class:`CodeUse`; checks record them too."""
    values = (None,) * len(USE_COLUMNS) if use is None else astuple(use)
    return dict(zip(USE_COLUMNS, values, strict=True))


def recorded_use(found: Mapping[str, Any]) -> CodeUse | None:
    """The use recorded in the columns of :func:`use_columns`."""
    return code_use(*(found.get(name) for name in USE_COLUMNS))


def code_sets(connection: Connection, table: VectorTable) -> tuple[CodeSet, ...]:
    """The existing sets of a table, oldest first."""
    return fetch_all(
        connection,
        partial(_code_set, table),
        """
        SELECT code_set AS number, bits, mean, state FROM code_sets
         WHERE corpus = %s AND space_id = %s AND state <> 'dropped' AND encoder = %s
         ORDER BY code_set
        """,
        (table.corpus, table.space.space_id, Recipe.VERSION),
    )


def _code_set(
    table: VectorTable, *, number: int, bits: int, mean: list[float] | None, state: State
) -> CodeSet:
    centre = None if mean is None else np.array(mean, dtype=np.float32)
    recipe = Recipe(table.space.spec.dimensions, bits, centre)
    return CodeSet(number, table.corpus, recipe, state)


def create(
    connection: Connection,
    table: VectorTable,
    recipe: Recipe,
    *,
    measured: Mapping[str, object],
    run_id: str,
) -> CodeSet:
    """Create an empty set, to be filled. From now on, publishing vectors also writes its codes.

    :param measured: the measurements that the recipe was chosen by.
    """
    (number,) = one(
        connection.execute(
            "SELECT create_code_set(%s, %s, %s, %s, %s::real[], %s, %s)",
            (
                table.corpus,
                table.space.space_id,
                Recipe.VERSION,
                recipe.bits,
                None if recipe.mean is None else recipe.mean.tolist(),
                Jsonb(dict(measured)),
                run_id,
            ),
        )
    )
    return CodeSet(number, table.corpus, recipe, "filling")


def analyze(connection: Connection, code_set: CodeSet) -> None:
    """Collect planner statistics, which show whether a filter passes few rows or most."""
    connection.execute(sql.SQL("ANALYZE {}").format(code_set.identifier))


def measured(connection: Connection, code_set: CodeSet) -> Mapping[str, Any]:
    """The measurements that the recipe was chosen by."""
    (found,) = one(
        connection.execute("SELECT measured FROM code_sets WHERE code_set = %s", (code_set.number,))
    )
    return cast(Mapping[str, Any], found)


def floor_missed(connection: Connection, table: VectorTable) -> int | None:
    """Number of rows at which the newest set, even if dropped since, missed the recall floor."""
    row = connection.execute(
        """
        SELECT (measured ->> 'missed_at_rows')::bigint FROM code_sets
         WHERE corpus = %s AND space_id = %s AND encoder = %s ORDER BY code_set DESC LIMIT 1
        """,
        (table.corpus, table.space.space_id, Recipe.VERSION),
    ).fetchone()
    return row[0] if row else None


def update_measured(
    connection: Connection, code_set: CodeSet, measured: Mapping[str, object]
) -> None:
    """Replace the measurements after the same recipe was chosen again."""
    connection.execute(
        "UPDATE code_sets SET measured = %s WHERE code_set = %s",
        (Jsonb(dict(measured)), code_set.number),
    )


def count_uncoded(connection: Connection, table: VectorTable, code_set: CodeSet) -> int:
    """Count the vectors without a code: 0 in a ready set, unless another client wrote vectors.

    The difference of two row counts, because no code can exist without a vector.
    """
    (count,) = one(
        connection.execute(
            sql.SQL("SELECT (SELECT count(*) FROM {}) - (SELECT count(*) FROM {})").format(
                table.identifier, code_set.identifier
            )
        )
    )
    return int(count)


def drop_unneeded(
    session: Connection, table: VectorTable, needed: Collection[int]
) -> tuple[int, ...]:
    """Drop sets, including those of other encoders, that are not ``needed``; return their numbers.

    :param session: autocommits.
    """
    gone = session.execute(
        """
        SELECT code_set, code_table(corpus, code_set) FROM code_sets
         WHERE corpus = %s AND space_id = %s AND state <> 'dropped' AND code_set <> ALL(%s)
        """,
        (table.corpus, table.space.space_id, list(needed)),
    ).fetchall()
    for number, name in gone:
        with session.transaction():
            session.execute("UPDATE code_sets SET state = 'dropped' WHERE code_set = %s", (number,))
            session.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    return tuple(row[0] for row in gone)


def code_set_by_number(
    connection: Connection, table: VectorTable, number: int | None
) -> CodeSet | None:
    """The set with this number, if it exists and was written by this encoder version."""
    return next((each for each in code_sets(connection, table) if each.number == number), None)
