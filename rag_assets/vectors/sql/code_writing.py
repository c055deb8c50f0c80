"""Write codes, together with new vectors or for all rows that lack one.

A code is written in the same transaction as its vector (:func:`encode_new`). If another client
changes a vector, a trigger deletes its code, and the next :func:`fill` writes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres.database import Connection, one
from rag_assets.progress import Progress
from rag_assets.vectors.binary_copy import ids_and_codes
from rag_assets.vectors.sql.code_sets import CodeSet, code_sets, count_uncoded
from rag_assets.vectors.sql.stream import stream_where
from rag_assets.vectors.sql.tables import Corpus, VectorTable

Encoded = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""Ids, and codes as :meth:`Recipe.encode` returns them."""

FILL_ROWS = 16_384
"""Rows that a fill encodes in one transaction, which makes writers wait for half a second."""

CODE_COLUMNS: Mapping[Corpus, tuple[str, ...]] = {
    "bible": ("book", "chapter"),
    "documents": ("document_id",),
}
"""Columns of a table of codes that are copied from the vectors."""


def encode_new(connection: Connection, table: VectorTable, ids: Sequence[int]) -> None:
    """Write the missing codes of these rows, in the transaction that wrote their vectors."""
    for each in code_sets(connection, table):
        _encode(connection, table, each, sql.SQL("e.{} = ANY({})").format(
            table.id_column, sql.Literal(list(ids))))  # fmt: skip


def encode_all(connection: Connection, table: VectorTable) -> None:
    """Write the missing codes of all rows, in the transaction that rewrote the table."""
    for each in code_sets(connection, table):
        _encode(connection, table, each, sql.SQL("TRUE"))


def fill(
    session: Connection,
    table: VectorTable,
    code_set: CodeSet,
    *,
    progress: Progress,
    others: Sequence[Connection] = (),
) -> int:
    """Encode every row that has no code, then mark the set ready; return how many were encoded.

    Searches continue, and writers wait for one part at a time. The next fill continues an
    interrupted one. Reads the vectors in the order of the primary key.

    :param session: autocommits.
    :param others: further autocommitting sessions, each of which encodes a part concurrently.
    """
    progress.start(f"encoding {code_set}", count_uncoded(session, table, code_set))
    done, start = 0, 0
    sessions = (session, *others)
    with ThreadPoolExecutor(len(sessions)) as threads:
        while True:
            parts = _parts(session, table, code_set, start, len(sessions))
            if not parts and start == 0 and _marked_ready(session, table, code_set):
                return done
            if not parts:
                start = 0
                continue
            under_way = [
                threads.submit(_encode_part, each, table, code_set, part)
                for each, part in zip(sessions, parts, strict=False)
            ]
            encoded = sum(part.result() for part in under_way)
            done, start = done + encoded, parts[-1][1] + 1
            progress.advance(encoded)


def _parts(
    connection: Connection, table: VectorTable, code_set: CodeSet, start: int, count: int
) -> list[tuple[int, int]]:
    """First and last ids of the next parts with uncoded rows; fewer than ``count`` at the end."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        stop = _end_of_part(connection, table, code_set, start)
        if stop is None:
            break
        found.append((start, stop))
        start = stop + 1
    return found


def _encode_part(
    session: Connection, table: VectorTable, code_set: CodeSet, part: tuple[int, int]
) -> int:
    between = sql.SQL("e.{id} BETWEEN {start} AND {stop}").format(
        id=table.id_column, start=sql.Literal(part[0]), stop=sql.Literal(part[1])
    )
    with session.transaction():
        _lock(session, table)
        return _encode(session, table, code_set, between)


def _marked_ready(session: Connection, table: VectorTable, code_set: CodeSet) -> bool:
    """Mark the set ready, unless a writer has added uncoded rows meanwhile."""
    with session.transaction():
        _lock(session, table)
        if _end_of_part(session, table, code_set, 0) is not None:
            return False
        session.execute(
            "UPDATE code_sets SET state = 'ready', ready_at = coalesce(ready_at, now())"
            " WHERE code_set = %s",
            (code_set.number,),
        )
        return True


def _lock(session: Connection, table: VectorTable) -> None:
    """Block writers, so that no vector changes between reading it and writing its code."""
    session.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(table.identifier))


def _end_of_part(
    connection: Connection, table: VectorTable, code_set: CodeSet, start: int
) -> int | None:
    """The last id of the next part of uncoded rows; ``None`` if there are none."""
    row = one(
        connection.execute(
            sql.SQL(
                """
                SELECT max({id}) FROM (
                    SELECT {id} FROM {table} e
                     WHERE {id} >= %s AND NOT EXISTS (SELECT FROM {codes} c WHERE c.{id} = e.{id})
                     ORDER BY {id} LIMIT %s) AS part
                """
            ).format(id=table.id_column, table=table.identifier, codes=code_set.identifier),
            (start, FILL_ROWS),
        )
    )
    return None if row[0] is None else int(row[0])


def _encode(
    connection: Connection, table: VectorTable, code_set: CodeSet, condition: sql.Composable
) -> int:
    """Write the missing codes of the rows that satisfy a condition on ``e``."""
    lacking = sql.SQL(
        "{condition} AND NOT EXISTS (SELECT FROM {codes} c WHERE c.{id} = e.{id})"
    ).format(condition=condition, codes=code_set.identifier, id=table.id_column)
    ids: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.uint8]] = []
    for batch in stream_where(connection, table, lacking):
        ids.append(batch.ids)
        codes.append(code_set.recipe.encode(batch.vectors))
    if not ids:
        return 0
    _write(connection, table, code_set, list(zip(ids, codes, strict=True)))
    return sum(map(len, ids))


def copy_codes(connection: Connection, code_set: CodeSet, batches: Sequence[Encoded]) -> None:
    """Copy ids and codes into the temporary table ``incoming_codes``, in a transaction."""
    # One table per session: recreating it each time would bloat the system catalogue.
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS incoming_codes (id bigint, code varbit)"
        " ON COMMIT DELETE ROWS"
    )
    connection.execute("TRUNCATE incoming_codes")
    if not batches:
        return
    ids, codes = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    with connection.cursor().copy("COPY incoming_codes FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(ids_and_codes(ids, codes, code_set.recipe.bits))


def _write(
    connection: Connection, table: VectorTable, code_set: CodeSet, batches: Sequence[Encoded]
) -> None:
    connection.execute("SELECT set_config('rag_assets.coding', %s, true)", (code_set.name,))
    copy_codes(connection, code_set, batches)
    names = {
        "id": table.id_column,
        "part": table.part_column,
        "table": table.identifier,
        "codes": code_set.identifier,
        "bits": sql.Literal(code_set.recipe.bits),
        "columns": sql.SQL(", ").join(map(sql.Identifier, CODE_COLUMNS[table.corpus])),
        "corpus": sql.Literal(table.corpus),
    }
    connection.execute(
        sql.SQL(
            """
            INSERT INTO code_parts (corpus, name)
            SELECT DISTINCT {corpus}, e.{part} FROM incoming_codes i JOIN {table} e ON e.{id} = i.id
             WHERE NOT EXISTS (SELECT FROM code_parts p
                                WHERE p.corpus = {corpus} AND p.name = e.{part})
             ORDER BY 2 -- two sessions that add the same wait for each other in one order
            ON CONFLICT DO NOTHING
            """
        ).format(**names)
    )
    connection.execute(
        sql.SQL(
            """
            INSERT INTO {codes} ({id}, part, {columns}, code)
            SELECT i.id, p.part, {columns}, i.code::bit({bits})
              FROM incoming_codes i
              JOIN {table} e ON e.{id} = i.id
              JOIN code_parts p ON p.corpus = {corpus} AND p.name = e.{part}
             ORDER BY i.id
            ON CONFLICT ({id}) DO UPDATE SET code = EXCLUDED.code
            """
        ).format(**names)
    )
