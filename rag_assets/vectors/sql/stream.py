"""A whole table of vectors in one pass, as NumPy arrays: for truths that need every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.tables import VectorTable

_HEADER_BYTES = 19
_COMPONENT = {"vector": ">f4", "halfvec": ">f2"}
_ROWS = 8192  # 50 MB of 1,536 float32 components


@dataclass(frozen=True)
class VectorBatch:
    """Some rows of a table.

    :param ids: int64, shape (n,).
    :param scopes: int32, shape (n,): places in the list of scopes that was asked for.
    :param vectors: float32, shape (n, dimensions).
    """

    ids: NDArray[np.int64]
    scopes: NDArray[np.int32]
    vectors: NDArray[np.float32]


def stream_vectors(
    connection: Connection, table: VectorTable, scopes: list[str]
) -> Iterator[VectorBatch]:
    """Every vector of these versions, or languages of documents, in the order of the table.

    Scopes are sent as their places in ``scopes``.
    """
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
    """The vectors of the rows, as ``e``, that a condition names.

    By binary COPY: fields have fixed widths, so that a batch is one structured array and no Python
    code runs per row.

    :param place: an integer of each row, from 1 on; it arrives less 1 as ``scopes``.
    :param sample: a clause TABLESAMPLE.
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
                yield _batch(buffer, row)
    if len(buffer) >= row.itemsize:
        yield _batch(buffer, row)


def _batch(buffer: bytearray, row: np.dtype[np.void]) -> VectorBatch:
    """Take the whole rows from the buffer; what is left of it is the start of the next."""
    count = len(buffer) // row.itemsize
    size = count * row.itemsize
    rows = np.frombuffer(bytes(buffer[:size]), dtype=row)
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
    """At most ``count`` rows drawn at random, the same for the same seed and table.

    Reads a sample of the table's pages, not the table; all of it where it is small.

    :param scopes: sent as places in it; -1 for others.
    """
    # Counted, not estimated: the planner's figure is of the last ANALYZE, and a sample by too large
    # a share would be cut off at the table's first rows.
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
