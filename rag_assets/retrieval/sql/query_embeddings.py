"""The cache of embedded queries. It holds hashes of the queries, not their texts."""

from __future__ import annotations

import hashlib
import unicodedata
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
    connection: Connection, space_id: int, key: bytes, vector: NDArray[np.float32]
) -> None:
    """Cache a query's vector."""
    connection.execute(
        """
        INSERT INTO query_embeddings AS q (space_id, query_hash, embedding) VALUES (%s, %s, %s)
        ON CONFLICT (space_id, query_hash) DO UPDATE
           SET (embedding, created_at) = (EXCLUDED.embedding, now())
        """,
        (space_id, key, vector.astype("<f4").tobytes()),
    )


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
