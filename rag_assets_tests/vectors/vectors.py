"""Spaces and vectors for tests, without an embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from rag_assets.embedding.batching import text_hash
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.binary_copy import hashed_vectors
from rag_assets.vectors.sql.spaces import Role, Space, register_space


def space_of(database: Database, settings: Settings, role: Role = "small") -> Space:
    """Register the space of a role."""
    with database.connect() as connection:
        return register_space(connection, settings, role)


def unit_vectors(count: int, space: Space, *, seed: int = 1) -> NDArray[np.float32]:
    """float32, shape (count, dimensions of the space), rows of length 1."""
    rows = np.random.default_rng(seed).normal(size=(count, space.spec.dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def answer_texts(
    connection: Connection, space: Space, texts: Sequence[str], vectors: NDArray[np.float32]
) -> None:
    """Store answers as an embedding run would, valid or not."""
    command = sql.SQL("COPY {table} (text_hash, embedding) FROM STDIN (FORMAT BINARY)").format(
        table=space.answers_table
    )
    hashes = [text_hash(text) for text in texts]
    with connection.cursor().copy(command) as copy:
        copy.write(hashed_vectors(hashes, vectors, space.spec.precision))


def count_rows(database: Database, table: str) -> int:
    """The number of rows of a table."""
    with database.connect() as connection:
        statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
