"""Claims on texts, answers that are kept, and the ledger of what was paid.

A claim keeps two runs from requesting the same text. Its owner holds an advisory lock while its
session lives, so a dead owner is recognised immediately, without a time-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.postgres import locks
from rag_assets.postgres.database import AsyncConnection, Connection, one
from rag_assets.vectors.binary_copy import hashed_vectors
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import Corpus, VectorTable


@dataclass(frozen=True)
class LedgerKey:
    """The run and partition that a request is made for."""

    run_id: str
    corpus: Corpus
    partition_key: str


@dataclass(frozen=True)
class LedgerEntry:
    """What one answer (or one refusal) adds to the ledger; a cost that is unknown stays so."""

    key_fingerprint: str
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    inputs: int = 0
    input_bytes: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0


def new_owner(connection: Connection) -> int:
    """A claim owner that lives as long as this session."""
    owner = int(one(connection.execute("SELECT nextval('embedding_claim_owners')"))[0])
    locks.lock_session(connection, locks.living_owner(owner))
    return owner


def without_answer(
    connection: Connection,
    space: Space,
    hashes: Sequence[bytes],
    *,
    published_counts: bool,
    corpus: Corpus = "bible",
) -> list[bytes]:
    """Those of the texts for which no vector is kept, and that are in no batch.

    Uses the text_hash indexes of the tables.

    :param published_counts: a published vector of the same text in the same corpus will do, unless
        it is unverified (not when overwriting).
    """
    if not hashes:
        return []
    published: sql.Composable = sql.SQL("")
    if published_counts:
        published = sql.SQL(
            "AND NOT EXISTS (SELECT FROM {table} e"
            " WHERE e.text_hash = wanted.text_hash AND NOT e.unverified)"
        ).format(table=VectorTable(corpus, space).identifier)
    rows = connection.execute(
        sql.SQL(
            """
            SELECT text_hash FROM unnest(%b::bytea[]) WITH ORDINALITY AS wanted (text_hash, place)
             WHERE NOT EXISTS (SELECT FROM {answers} a
                                WHERE a.text_hash = wanted.text_hash {unless})
               AND NOT EXISTS (SELECT FROM embedding_batch_texts b
                                WHERE b.space_id = {space} AND b.text_hash = wanted.text_hash)
                   {published}
             ORDER BY place
            """
        ).format(
            answers=space.answers_table,
            space=space.space_id,
            published=published,
            unless=sql.SQL("" if published_counts else "AND NOT a.set_aside"),
        ),
        (list(hashes),),
        binary=True,
    ).fetchall()
    return [bytes(row[0]) for row in rows]


def claim(connection: Connection, space: Space, hashes: Sequence[bytes], owner: int) -> set[bytes]:
    """Claim texts; returns those that were free. Sorted, so that two claimers never deadlock."""
    rows = connection.execute(
        """
        INSERT INTO embedding_claims (space_id, text_hash, owner)
        SELECT %s, text_hash, %s FROM unnest(%b::bytea[]) AS text_hash ORDER BY text_hash
        ON CONFLICT DO NOTHING RETURNING text_hash
        """,
        (space.space_id, owner, sorted(hashes)),
        binary=True,
    ).fetchall()
    return {bytes(row[0]) for row in rows}


def drop_claims(connection: Connection, owner: int) -> None:
    """Give up every claim of an owner, which lives on."""
    connection.execute("DELETE FROM embedding_claims WHERE owner = %s", (owner,))


def release_claims(connection: Connection, owner: int) -> None:
    """Give up every claim of an owner, and the owner itself."""
    drop_claims(connection, owner)
    locks.unlock_session(connection, locks.living_owner(owner))


def drop_dead_claims(connection: Connection, space: Space, hashes: Sequence[bytes]) -> None:
    """Remove the claims on these texts whose owners are gone."""
    owners = connection.execute(
        """
        SELECT DISTINCT owner FROM embedding_claims
         WHERE space_id = %s AND text_hash = ANY(%b::bytea[])
        """,
        (space.space_id, list(hashes)),
    ).fetchall()
    _release_dead(connection, [row[0] for row in owners])


def drop_all_dead_claims(connection: Connection) -> None:
    """Remove every claim whose owner is gone, including those on texts that are no longer needed.

    Not for a session that owns claims itself.
    """
    owners = connection.execute("SELECT DISTINCT owner FROM embedding_claims").fetchall()
    _release_dead(connection, [row[0] for row in owners])


def _release_dead(connection: Connection, owners: Sequence[int]) -> None:
    for owner in owners:
        if locks.try_lock_session(connection, locks.living_owner(owner)):
            release_claims(connection, owner)


async def keep_answers(
    connection: AsyncConnection,
    space: Space,
    hashes: Sequence[bytes],
    vectors: NDArray[np.float32],
    ledger_key: LedgerKey,
    entry: LedgerEntry,
) -> None:
    """Keep one answered request for good: its vectors and what it cost, in one transaction.

    :param vectors: float32, shape (len(hashes), dimensions).
    """
    stream = hashed_vectors(hashes, vectors, space.spec.precision)
    try:
        async with connection.transaction():
            await _copy(connection, space.answers_table, stream)
            await record(connection, space, ledger_key, entry)
    except psycopg.errors.UniqueViolation:
        # A vector set aside that is overwritten; or another run took over the claims of this run,
        # whose session was lost, and was faster.
        async with connection.transaction():
            await _keep_the_newest(connection, space, stream)
            await record(connection, space, ledger_key, entry)


async def _keep_the_newest(connection: AsyncConnection, space: Space, stream: bytes) -> None:
    scratch = sql.Identifier("incoming_answers")
    names = {"scratch": scratch, "answers": space.answers_table}
    await connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {scratch} (LIKE {answers} INCLUDING DEFAULTS)"
                " ON COMMIT DROP").format(**names)
    )  # fmt: skip
    await _copy(connection, scratch, stream)
    await connection.execute(
        sql.SQL(
            "INSERT INTO {answers} SELECT * FROM {scratch} ON CONFLICT (text_hash) DO UPDATE"
            " SET (embedding, bought_at, set_aside)"
            " = (EXCLUDED.embedding, EXCLUDED.bought_at, EXCLUDED.set_aside)"
        ).format(**names)
    )


async def _copy(connection: AsyncConnection, table: sql.Identifier, stream: bytes) -> None:
    command = sql.SQL("COPY {table} (text_hash, embedding) FROM STDIN (FORMAT BINARY)")
    async with connection.cursor() as cursor, cursor.copy(command.format(table=table)) as copy:
        await copy.write(stream)


async def record(
    connection: AsyncConnection, space: Space, ledger_key: LedgerKey, entry: LedgerEntry
) -> None:
    """Add to the ledger's row of this run, partition, space and key (its primary key)."""
    await connection.execute(
        """
        INSERT INTO embedding_ledger AS l (run_id, corpus, partition_key, space_id,
               key_fingerprint, requests, retries, rate_limited, inputs, input_bytes, tokens,
               cost_usd)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (run_id, corpus, partition_key, space_id, key_fingerprint) DO UPDATE
           SET requests = l.requests + EXCLUDED.requests,
               retries = l.retries + EXCLUDED.retries,
               rate_limited = l.rate_limited + EXCLUDED.rate_limited,
               inputs = l.inputs + EXCLUDED.inputs,
               input_bytes = l.input_bytes + EXCLUDED.input_bytes,
               tokens = l.tokens + EXCLUDED.tokens,
               cost_usd = l.cost_usd + EXCLUDED.cost_usd,
               last_at = now()
        """,
        (
            ledger_key.run_id,
            ledger_key.corpus,
            ledger_key.partition_key,
            space.space_id,
            entry.key_fingerprint,
            entry.requests,
            entry.retries,
            entry.rate_limited,
            entry.inputs,
            entry.input_bytes,
            entry.tokens,
            entry.cost_usd,
        ),
    )


def tokens_per_byte(connection: Connection, space: Space | None) -> float | None:
    """What this space's answers so far have cost in tokens a UTF-8 byte; ``None`` before any."""
    if space is None:
        return None
    row = connection.execute(
        "SELECT sum(tokens)::float8 / nullif(sum(input_bytes), 0) FROM embedding_ledger"
        " WHERE space_id = %s",
        (space.space_id,),
    ).fetchone()
    return row[0] if row else None
