"""Stream a table of vectors as NumPy arrays, for ground truth that needs every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.dimensions import dimension_error
from rag_assets.vectors.sql.tables import VectorTable

_HEADER_BYTES = 19
_TRAILER_BYTES = 2
_COMPONENT = {"vector": ">f4", "halfvec": ">f2"}
_ROWS = 8192  # 50 MB of 1,536 float32 components


@dataclass(frozen=True)
class VectorBatch:
    """A batch of rows.

    :param ids: int64, shape (n,).
    :param scopes: int32, shape (n,): indexes into the list of requested scopes.
    :param vectors: float32, shape (n, dimensions).
    """

    ids: NDArray[np.int64]
    scopes: NDArray[np.int32]
    vectors: NDArray[np.float32]


def stream_vectors(
    connection: Connection, table: VectorTable, scopes: list[str]
) -> Iterator[VectorBatch]:
    """Stream every vector of these versions, or languages of documents, in physical order."""
    condition = sql.SQL("e.{scope} = ANY({scopes}::text[])").format(
        scope=table.part_column, scopes=sql.Literal(scopes)
    )
    return stream_where(connection, table, condition, _place_in(scopes, table))


def stream_where(
    connection: Connection,
    table: VectorTable,
    condition: sql.Composable,
    place: sql.Composable | None = None,
    *,
    sample: sql.Composable | None = None,
) -> Iterator[VectorBatch]:
    """Stream the vectors of the rows that satisfy a condition on ``e``.

    Uses binary COPY with fields of fixed width: a batch is one structured array, and no Python code
    runs per row.

    :param place: an integer expression for each row, from 1; ``scopes`` holds its value less 1.
    :param sample: a TABLESAMPLE clause.
    """
    spec = table.space.spec
    component = np.dtype(_COMPONENT[spec.precision])
    row = np.dtype(
        [
            ("fields", ">i2"),
            ("id_length", ">i4"),
            ("id", ">i8"),
            ("scope_length", ">i4"),
            ("scope", ">i4"),
            ("embedding_length", ">i4"),
            ("dimensions", ">i2"),
            ("unused", ">i2"),
            ("components", component, (spec.dimensions,)),
        ]
    )
    statement = sql.SQL(
        "COPY (SELECT e.{id}, {place}, e.embedding FROM {table} e {sample} WHERE {condition})"
        " TO STDOUT (FORMAT BINARY)"
    ).format(
        id=table.id_column,
        place=place or sql.SQL("1"),
        table=table.identifier,
        sample=sample or sql.SQL(""),
        condition=condition,
    )
    buffer = bytearray()
    with connection.cursor().copy(statement) as copy:
        head = _HEADER_BYTES
        for data in copy:
            buffer += data[head:]
            head = 0
            if len(buffer) >= _ROWS * row.itemsize:
                yield _batch(buffer, row, table)
    while len(buffer) > _TRAILER_BYTES:
        yield _batch(buffer, row, table)


def _batch(buffer: bytearray, row: np.dtype[np.void], table: VectorTable) -> VectorBatch:
    """Remove the complete rows from the buffer and return them; a partial row stays.

    :raises AuditError: a row has another dimension, so that it and those after it are misread.
    """
    count = len(buffer) // row.itemsize
    size = count * row.itemsize
    rows = np.frombuffer(bytes(buffer[:size]), dtype=row)
    if not count or (rows["dimensions"] != table.space.spec.dimensions).any():
        raise dimension_error(table)
    del buffer[:size]
    return VectorBatch(
        ids=rows["id"].astype(np.int64),
        scopes=rows["scope"].astype(np.int32) - 1,
        vectors=rows["components"].astype(np.float32),
    )


def sample_rows(
    connection: Connection,
    table: VectorTable,
    count: int,
    *,
    seed: int,
    scopes: Sequence[str] | None = None,
) -> VectorBatch:
    """Draw at most ``count`` random rows, the same ones for the same seed and table.

    Reads a sample of the table's pages, or all of them if the table is small.

    :param scopes: list that the batch's ``scopes`` refer to; rows in other scopes have -1.
    """
    # Counted rather than estimated: the planner's estimate is as old as the last ANALYZE, and a
    # larger sample than needed would be cut off after the table's first rows.
    (rows,) = one(connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)))
    percent = min(100.0, 100.0 * 2 * count / rows) if rows else 100.0
    pages = sql.SQL("TABLESAMPLE SYSTEM ({}) REPEATABLE ({})").format(
        sql.Literal(percent), sql.Literal(seed)
    )
    place = sql.SQL("coalesce({}, 0)").format(_place_in(scopes or [], table))
    found = list(stream_where(connection, table, sql.SQL("TRUE"), place, sample=pages))
    if not found:
        nothing = np.zeros((0, table.space.spec.dimensions), dtype=np.float32)
        return VectorBatch(np.zeros(0, np.int64), np.zeros(0, np.int32), nothing)
    order = np.random.default_rng(seed).permutation(sum(len(batch.ids) for batch in found))[:count]
    return VectorBatch(
        np.hstack([batch.ids for batch in found])[order],
        np.hstack([batch.scopes for batch in found])[order],
        np.vstack([batch.vectors for batch in found])[order],
    )


def sample_vectors(
    connection: Connection, table: VectorTable, count: int, *, seed: int
) -> NDArray[np.float32]:
    """The vectors of :func:`sample_rows`: float32, shape (n, dimensions)."""
    return sample_rows(connection, table, count, seed=seed).vectors


def _place_in(scopes: Sequence[str], table: VectorTable) -> sql.Composed:
    return sql.SQL("array_position({scopes}::text[], e.{scope})").format(
        scope=table.part_column, scopes=sql.Literal(list(scopes))
    )
