"""PostgreSQL and pgvector accept the COPY stream: sent to the server and read back."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Precision
from rag_assets.vectors.binary_copy import hashed_vectors

FAST = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def there_and_back(
    connection: Connection, vectors: np.ndarray, precision: Precision
) -> tuple[list[bytes], np.ndarray]:
    """What the server has after COPY: hashes and vectors, in the order sent."""
    hashes = [
        hashlib.sha256(bytes([place % 256, place // 256])).digest() for place in range(len(vectors))
    ]
    with connection.transaction(force_rollback=True):
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE sent (text_hash bytea, embedding {type})").format(
                type=sql.SQL(f"{precision}({vectors.shape[1]})")
            )
        )
        with connection.cursor().copy(
            "COPY sent (text_hash, embedding) FROM STDIN (FORMAT BINARY)"
        ) as copy:
            copy.write(hashed_vectors(hashes, vectors, precision))
        rows = connection.execute("SELECT text_hash, embedding::text FROM sent").fetchall()
    assert [bytes(row[0]) for row in rows] == hashes
    return hashes, np.array([[float(x) for x in row[1][1:-1].split(",")] for row in rows])


shapes = st.tuples(st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**32 - 1))


@FAST
@given(shapes)
def test_vectors_come_back_exactly(
    template_database: Database, shape: tuple[int, int, int]
) -> None:
    rows, dimensions, seed = shape
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    with template_database.connect() as connection:
        _, found = there_and_back(connection, vectors, "vector")
    assert found.astype(np.float32).tolist() == vectors.tolist()


@FAST
@given(shapes)
def test_half_vectors_come_back_rounded_to_half_precision(
    template_database: Database, shape: tuple[int, int, int]
) -> None:
    rows, dimensions, seed = shape
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    with template_database.connect() as connection:
        _, found = there_and_back(connection, vectors, "halfvec")
    assert found.astype(np.float16).tolist() == vectors.astype(np.float16).tolist()


@pytest.mark.parametrize(("precision", "dimensions"), [("vector", 2000), ("halfvec", 4000)])
def test_the_largest_vectors_come_back(
    template_database: Database, precision: Precision, dimensions: int
) -> None:
    vectors = np.eye(3, dimensions, k=1, dtype=np.float32)
    with template_database.connect() as connection:
        _, found = there_and_back(connection, vectors, precision)
    assert np.array_equal(found, vectors)


@pytest.mark.parametrize("precision", ["vector", "halfvec"])
def test_values_at_the_edges_keep_their_sign_and_size(
    template_database: Database, precision: Precision
) -> None:
    vectors = np.array([[1.0, -1.0, 0.0, 6.1e-5, -0.5]], dtype=np.float32)
    with template_database.connect() as connection:
        _, found = there_and_back(connection, vectors, precision)
    assert np.allclose(found, vectors, rtol=1e-3, atol=0)
