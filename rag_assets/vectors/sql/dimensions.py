"""Rows of another dimension than their space's, which no search or index can use.

A typed column refuses them; one that was altered, or a table restored from elsewhere, may hold
some.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from rag_assets.errors import AuditError
from rag_assets.postgres.database import Connection
from rag_assets.vectors.sql.tables import VectorTable
from rag_assets.visible import count

_MISMATCH = "22000"
"""SQLSTATE of pgvector for operands of different dimensions, and for any other wrong value."""
_UNTYPED = "22023"
"""SQLSTATE of an index build over a column without dimensions, and of any wrong parameter."""
_SHOWN = 3


@contextmanager
def named_dimensions(connection: Connection, table: VectorTable) -> Iterator[None]:
    """Turn pgvector's error about dimensions into a sentence with the rows and the fix.

    :raises AuditError: the table holds vectors of another dimension.
    """
    try:
        yield
    except psycopg.DataError as error:
        alone = connection.info.transaction_status == TransactionStatus.IDLE
        rows = _rows(connection, table) if alone and error.sqlstate in (_MISMATCH, _UNTYPED) else ()
        if rows or error.sqlstate == _MISMATCH:
            raise dimension_error(table, rows) from error
        raise


def dimension_error(table: VectorTable, rows: tuple[tuple[int, int], ...] = ()) -> AuditError:
    """The error, with the ids and dimensions of the first rows if they are known."""
    named = ", ".join(f"{dimensions} in row {row_id}" for row_id, dimensions in rows[:_SHOWN])
    found = f"{count(len(rows), 'vector')} ({named})" if rows else "vectors"
    return AuditError(
        f"{table}: {found} of another dimension than {table.space.spec.dimensions}: "
        "`rag-assets audit --repair` embeds their texts again, after showing the price"
    )


def _rows(connection: Connection, table: VectorTable) -> tuple[tuple[int, int], ...]:
    return tuple(
        connection.execute(
            sql.SQL(
                "SELECT {id}, vector_dims(embedding) FROM {table}"
                " WHERE vector_dims(embedding) <> %s ORDER BY 1 LIMIT 1000"
            ).format(id=table.id_column, table=table.identifier),
            (table.space.spec.dimensions,),
        ).fetchall()
    )
