"""Queries that were embedded before. Their texts are not kept, only a hash of them."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection


def query_hash(query: str) -> bytes:
    """SHA-256 of the normalised text: NFC, case folded, blanks in a row as one."""
    normalised = " ".join(unicodedata.normalize("NFC", query).casefold().split())
    return hashlib.sha256(normalised.encode()).digest()


def known_query(
    connection: Connection, space_id: int, key: bytes, *, max_age: timedelta
) -> NDArray[np.float32] | None:
    """The vector of a query that was embedded lately; float32, shape (dimensions,). By key."""
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
    """Keep a query's vector."""
    connection.execute(
        """
        INSERT INTO query_embeddings AS q (space_id, query_hash, embedding) VALUES (%s, %s, %s)
        ON CONFLICT (space_id, query_hash) DO UPDATE
           SET (embedding, created_at) = (EXCLUDED.embedding, now())
        """,
        (space_id, key, vector.astype("<f4").tobytes()),
    )


def forget_queries(connection: Connection, *, max_age: timedelta, most: int) -> int:
    """Delete those that are too old, and the oldest beyond ``most``; how many went."""
    return connection.execute(
        """
        DELETE FROM query_embeddings
         WHERE created_at < now() - %s
            OR created_at <= (SELECT created_at FROM query_embeddings
                               ORDER BY created_at DESC OFFSET %s LIMIT 1)
        """,
        (max_age, most),
    ).rowcount
