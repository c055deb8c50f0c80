"""Batches at the provider: the texts reserved for each, and its state.

A text is in at most one open batch of a space (primary key of ``embedding_batch_texts``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg import sql

from rag_assets.embedding.batching import Batch, Text
from rag_assets.postgres.database import AsyncConnection, Connection, fetch_all, one
from rag_assets.vectors.sql.spaces import Space

_COLUMNS = sql.SQL(
    "batch_id, token, space_id, version_code, run_id, attempt, state, provider,"
    " provider_id, key_name, output_file_id, texts, tokens, completed, message, prepared_at,"
    " submitting_at, submitted_at, due_at, ended_at, closed_at"
)


@dataclass(frozen=True)
class StoredBatch:
    """One batch, as it was last seen. See ``sql/migrations/0034_batches.sql``."""

    batch_id: int
    token: UUID
    space_id: int
    version_code: str
    run_id: str
    attempt: int
    state: str
    provider: str
    provider_id: str | None
    key_name: str | None
    output_file_id: str | None
    texts: int
    tokens: int
    completed: int
    message: str
    prepared_at: datetime
    submitting_at: datetime | None
    submitted_at: datetime | None
    due_at: datetime | None
    ended_at: datetime | None
    closed_at: datetime | None


def open_batches(
    connection: Connection, version_code: str | None = None, space_id: int | None = None
) -> tuple[StoredBatch, ...]:
    """The batches that are not closed, the oldest first. Uses their partial index."""
    return fetch_all(
        connection,
        StoredBatch,
        sql.SQL(
            "SELECT {columns} FROM embedding_batches"
            " WHERE state IN ('prepared', 'submitted', 'ended')"
            " AND (version_code = %(version)s OR %(version)s::text IS NULL)"
            " AND (space_id = %(space)s OR %(space)s::integer IS NULL) ORDER BY batch_id"
        ).format(columns=_COLUMNS),
        {"version": version_code, "space": space_id},
    )


def failed_batches(connection: Connection) -> tuple[StoredBatch, ...]:
    """The batches of the last day that the provider refused as a whole. Scans all batches."""
    return fetch_all(
        connection,
        StoredBatch,
        sql.SQL(
            "SELECT {columns} FROM embedding_batches"
            " WHERE state = 'failed' AND closed_at > now() - interval '1 day' ORDER BY batch_id"
        ).format(columns=_COLUMNS),
    )


def recent_batches(connection: Connection, most: int) -> tuple[StoredBatch, ...]:
    """The latest batches, the newest first. Uses the primary key."""
    return fetch_all(
        connection,
        StoredBatch,
        sql.SQL("SELECT {columns} FROM embedding_batches ORDER BY batch_id DESC LIMIT %s").format(
            columns=_COLUMNS
        ),
        (most,),
    )


def find_batch(connection: Connection, batch_id: int) -> StoredBatch | None:
    """A batch by its number."""
    found = fetch_all(
        connection,
        StoredBatch,
        sql.SQL("SELECT {columns} FROM embedding_batches WHERE batch_id = %s").format(
            columns=_COLUMNS
        ),
        (batch_id,),
    )
    return found[0] if found else None


def next_attempt(connection: Connection, space: Space, version_code: str) -> int:
    """Which batch in a row this would be: 1, unless the last one of these days left texts open."""
    row = connection.execute(
        """
        SELECT CASE WHEN completed < texts THEN attempt + 1 ELSE 1 END FROM embedding_batches
         WHERE (space_id, version_code) = (%s, %s) AND closed_at > now() - interval '7 days'
         ORDER BY batch_id DESC LIMIT 1
        """,
        (space.space_id, version_code),
    ).fetchone()
    return int(row[0]) if row else 1


def reserve(
    connection: Connection,
    space: Space,
    version_code: str,
    lines: Sequence[Batch],
    *,
    run_id: str,
    attempt: int,
) -> int | None:
    """Reserve the texts of one file, in one transaction; the batch's number.

    What another batch has reserved, or another run is requesting, is left out.

    :returns: ``None`` where nothing is left.
    """
    with connection.transaction():
        (batch_id,) = one(
            connection.execute(
                """
                INSERT INTO embedding_batches
                       (space_id, version_code, run_id, attempt, texts, tokens)
                VALUES (%s, %s, %s, %s, 0, 0) RETURNING batch_id
                """,
                (space.space_id, version_code, run_id, attempt),
            )
        )
        count, total = _reserve_texts(connection, space, int(batch_id), lines)
        connection.execute(
            "UPDATE embedding_batches SET texts = %s, tokens = %s WHERE batch_id = %s",
            (count, total, batch_id),
        )
        if not count:
            connection.execute("DELETE FROM embedding_batches WHERE batch_id = %s", (batch_id,))
            return None
    return int(batch_id)


def _reserve_texts(
    connection: Connection, space: Space, batch_id: int, lines: Sequence[Batch]
) -> tuple[int, int]:
    """Reserve what is free; (texts reserved, their estimated tokens)."""
    texts = [
        (text.hash, line, place, text.estimated_tokens, len(text.text.encode()))
        for line, batch in enumerate(lines)
        for place, text in enumerate(batch)
    ]
    hashes, numbers, places, tokens, sizes = zip(*texts, strict=True)
    count, tokens_in_all = one(
        connection.execute(
            """
            WITH wanted AS (
                SELECT * FROM unnest(%b::bytea[], %s::int[], %s::int[], %s::int[], %s::int[])
                           AS one (text_hash, line, place, tokens, bytes)
                 WHERE NOT EXISTS (SELECT FROM embedding_claims c
                                    WHERE (c.space_id, c.text_hash) = (%s, one.text_hash))
            ), reserved AS (
                INSERT INTO embedding_batch_texts
                       (space_id, text_hash, batch_id, line, place, bytes)
                SELECT %s, text_hash, %s, line, place, bytes FROM wanted ORDER BY text_hash
                ON CONFLICT DO NOTHING RETURNING text_hash
            )
            SELECT count(*), coalesce(sum(tokens), 0)
              FROM reserved JOIN wanted USING (text_hash)
            """,
            (
                list(hashes),
                list(numbers),
                list(places),
                list(tokens),
                list(sizes),
                space.space_id,
                space.space_id,
                batch_id,
            ),
        )
    )
    return int(count), int(tokens_in_all)


@dataclass(slots=True)
class Line:
    """A request of a batch: the hashes of its texts in order, and their bytes in all."""

    hashes: list[bytes] = field(default_factory=list)
    size: int = 0


def unanswered_lines(connection: Connection, batch_id: int) -> dict[int, Line]:
    """The requests of a batch that have no answer yet, by line."""
    rows = connection.execute(
        "SELECT line, text_hash, bytes FROM embedding_batch_texts WHERE batch_id = %s"
        " ORDER BY line, place",
        (batch_id,),
    )
    found: dict[int, Line] = {}
    for number, text_hash, size in rows:
        line = found.setdefault(number, Line())
        line.hashes.append(bytes(text_hash))
        line.size += size
    return found


def lines_to_send(connection: Connection, batch: StoredBatch) -> dict[int, Batch]:
    """The requests of a batch that is to begin, by line; frees texts that its version lacks now.

    Matched here: right after a version is loaded, PostgreSQL has no statistics of it, and a join
    was a nested loop.
    """
    rows = connection.execute(
        "SELECT text_hash, text FROM verses WHERE version_code = %s", (batch.version_code,)
    )
    texts = {bytes(text_hash): text for text_hash, text in rows}
    reserved = unanswered_lines(connection, batch.batch_id)
    gone = [key for line in reserved.values() for key in line.hashes if key not in texts]
    with connection.transaction():
        connection.execute(
            "DELETE FROM embedding_batch_texts"
            " WHERE space_id = %s AND text_hash = ANY(%b::bytea[]) AND batch_id = %s",
            (batch.space_id, gone, batch.batch_id),
        )
        connection.execute(
            "UPDATE embedding_batches SET texts = texts - %s WHERE batch_id = %s",
            (len(gone), batch.batch_id),
        )
    found = {
        number: tuple(Text(key, texts[key]) for key in line.hashes if key in texts)
        for number, line in reserved.items()
    }
    return {number: line for number, line in found.items() if line}


def waiting_texts(
    connection: Connection, space: Space, hashes: Sequence[bytes]
) -> tuple[int, datetime | None]:
    """How many of these texts are in open batches, and when the last of them is due."""
    count, due = one(
        connection.execute(
            """
            SELECT count(*), max(coalesce(due_at,
                          coalesce(submitting_at, prepared_at) + interval '24 hours'))
              FROM embedding_batch_texts t JOIN embedding_batches b USING (batch_id)
             WHERE t.space_id = %s AND t.text_hash = ANY(%b::bytea[])
            """,
            (space.space_id, list(hashes)),
        )
    )
    return int(count), due


def tokens_enqueued(connection: Connection, key_name: str) -> int:
    """Tokens in batches that the provider works on for a key."""
    (tokens,) = one(
        connection.execute(
            "SELECT coalesce(sum(tokens), 0) FROM embedding_batches"
            " WHERE state = 'submitted' AND key_name = %s",
            (key_name,),
        )
    )
    return int(tokens)


def mark(connection: Connection, batch_id: int, **values: object) -> None:
    """Set columns of an open batch; a value of ``"now"`` for a time is the database's.

    One that is closed stays so: another process may have asked the provider before it was.
    """
    assigned = [
        sql.SQL("{} = {}").format(
            sql.Identifier(name),
            sql.SQL("now()") if value == "now" and name.endswith("_at") else sql.Placeholder(name),
        )
        for name, value in values.items()
    ]
    connection.execute(
        sql.SQL(
            "UPDATE embedding_batches SET {} WHERE batch_id = %(batch_id)s AND closed_at IS NULL"
        ).format(sql.SQL(", ").join(assigned)),
        {**values, "batch_id": batch_id},
    )


def postpone(connection: Connection, batch_id: int, why: str) -> None:
    """Leave a batch to be begun later, under another token."""
    connection.execute(
        """
        UPDATE embedding_batches
           SET (state, token, key_name, provider_id, submitting_at, ended_at, due_at, message)
             = ('prepared', gen_random_uuid(), NULL, NULL, now(), NULL, NULL, %s)
         WHERE batch_id = %s
        """,
        (why, batch_id),
    )


def close(connection: Connection, batch_id: int, state: str, message: str = "") -> int:
    """Close a batch, and free its texts that have no answer; how many these are."""
    with connection.transaction():
        freed = connection.execute(
            "DELETE FROM embedding_batch_texts WHERE batch_id = %s", (batch_id,)
        ).rowcount
        connection.execute(
            """
            UPDATE embedding_batches
               SET state = %s, completed = texts - %s, closed_at = now(),
                   message = CASE WHEN %s = '' THEN message ELSE %s END
             WHERE batch_id = %s
            """,
            (state, freed, message, message, batch_id),
        )
    return freed


async def forget_answered(
    connection: AsyncConnection, batch: StoredBatch, hashes: Sequence[bytes]
) -> None:
    """Free texts whose answers are kept in the same transaction. Uses the primary key."""
    await connection.execute(
        """
        DELETE FROM embedding_batch_texts
         WHERE space_id = %s AND text_hash = ANY(%b::bytea[]) AND batch_id = %s
        """,
        (batch.space_id, list(hashes), batch.batch_id),
    )
