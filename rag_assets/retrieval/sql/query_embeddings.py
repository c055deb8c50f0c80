"""The cache of embedded queries, by a hash of their text.

It holds texts only of the API's queries, and only while RAG_LIVE_QUERIES is true.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection


def query_hash(query: str) -> bytes:
    """SHA-256 of the normalised text: NFC, case-folded, runs of white space as one blank."""
    normalised = " ".join(unicodedata.normalize("NFC", query).casefold().split())
    return hashlib.sha256(normalised.encode()).digest()


def known_query(
    connection: Connection, space_id: int, key: bytes, *, max_age: timedelta
) -> NDArray[np.float32] | None:
    """A cached query's vector: float32, shape (dimensions,). Uses the primary key."""
    row = connection.execute(
        """
        SELECT embedding FROM query_embeddings
         WHERE space_id = %s AND query_hash = %s AND created_at > now() - %s
        """,
        (space_id, key, max_age),
    ).fetchone()
    return np.frombuffer(row[0], dtype="<f4") if row else None


def keep_query(
    connection: Connection,
    space_id: int,
    key: bytes,
    vector: NDArray[np.float32],
    *,
    text: str | None = None,
) -> None:
    """Cache a query's vector.

    :param text: of a live query, if it may be kept.
    """
    connection.execute(
        """
        INSERT INTO query_embeddings AS q (space_id, query_hash, embedding, query)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (space_id, query_hash) DO UPDATE
           SET (embedding, created_at, query)
             = (EXCLUDED.embedding, now(), coalesce(EXCLUDED.query, q.query))
        """,
        (space_id, key, vector.astype("<f4").tobytes(), text),
    )


@dataclass(frozen=True)
class LiveQuery:
    """A query that the API was sent.

    :param vector: float32, shape (dimensions,).
    """

    key: bytes
    text: str
    vector: NDArray[np.float32]


def live_queries(
    connection: Connection, space_id: int, *, half: int, count: int, max_age: timedelta
) -> list[LiveQuery]:
    """At most ``count`` queries of one half, 0 or 1, of those whose text was kept.

    Ordered by hash: a random sample that changes little from one time to the next.
    """
    rows = connection.execute(
        """
        SELECT query_hash, query, embedding FROM query_embeddings
         WHERE space_id = %s AND query IS NOT NULL AND created_at > now() - %s
           AND get_byte(query_hash, 0) & 1 = %s
         ORDER BY query_hash LIMIT %s
        """,
        (space_id, max_age, half, count),
    ).fetchall()
    return [LiveQuery(key, text, np.frombuffer(vector, dtype="<f4")) for key, text, vector in rows]


def forget_queries(connection: Connection, *, max_age: timedelta, max_rows: int) -> int:
    """Delete entries older than ``max_age``, and the oldest beyond ``max_rows``; their number."""
    return connection.execute(
        """
        DELETE FROM query_embeddings
         WHERE created_at < now() - %s
            OR created_at <= (SELECT created_at FROM query_embeddings
                               ORDER BY created_at DESC OFFSET %s LIMIT 1)
        """,
        (max_age, max_rows),
    ).rowcount


def forget_texts(connection: Connection) -> int:
    """Delete the texts of all queries, and return their number; the vectors stay."""
    return connection.execute(
        "UPDATE query_embeddings SET query = NULL WHERE query IS NOT NULL"
    ).rowcount
