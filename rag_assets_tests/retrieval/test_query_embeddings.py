"""The query cache, by space and hash: stored, found while fresh, deleted."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from rag_assets.postgres.database import Database
from rag_assets.retrieval.sql.query_embeddings import (
    forget_queries,
    keep_query,
    known_query,
    query_hash,
)
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.vectors.vectors import count_rows, space_of

DAY = timedelta(days=1)


@pytest.fixture
def space_id(database: Database, make_settings: MakeSettings) -> int:
    return space_of(database, make_settings(rag_embedding_small_dimensions=8)).space_id


@pytest.mark.parametrize(
    ("one", "other"),
    [("a b", " a \n\t b "), ("River", "rIVER"), ("avó", "avo\u0301"), ("STRASSE", "straße"),
     ("a\u00a0b", "a b")],
)  # fmt: skip
def test_texts_that_mean_the_same_have_one_hash(one: str, other: str) -> None:
    assert query_hash(one) == query_hash(other)
    assert len(query_hash(one)) == 32


@pytest.mark.parametrize(("one", "other"), [("avó", "avo"), ("ab", "a b"), ("a.", "a")])
def test_texts_that_differ_have_two(one: str, other: str) -> None:
    assert query_hash(one) != query_hash(other)


def test_a_cached_vector_is_returned_unchanged(database: Database, space_id: int) -> None:
    vector = np.array([0.1, -1e-30, 3e30, 0, -0.0, 1, 2, 3], dtype=np.float32)
    key = query_hash("the river")
    with database.connect() as connection:
        assert known_query(connection, space_id, key, max_age=DAY) is None
        keep_query(connection, space_id, key, vector)
        found = known_query(connection, space_id, key, max_age=DAY)
        assert found is not None
        assert found.tobytes() == vector.tobytes()
        keep_query(connection, space_id, key, vector * 2)
        again = known_query(connection, space_id, key, max_age=DAY)
        assert again is not None
        assert np.array_equal(again, vector * 2)


def test_another_space_has_other_vectors(
    database: Database, space_id: int, make_settings: MakeSettings
) -> None:
    other = space_of(database, make_settings(rag_embedding_small_dimensions=9)).space_id
    key = query_hash("the river")
    with database.connect() as connection:
        keep_query(connection, space_id, key, np.ones(8, dtype=np.float32))
        assert known_query(connection, other, key, max_age=DAY) is None


def fill(database: Database, space_id: int, count: int) -> None:
    """Store this many queries, each an hour older than the one before."""
    with database.connect() as connection:
        for hours in range(count):
            keep_query(connection, space_id, query_hash(str(hours)), np.ones(8, dtype=np.float32))
            connection.execute(
                "UPDATE query_embeddings SET created_at = now() - %s WHERE query_hash = %s",
                (timedelta(hours=hours, minutes=1), query_hash(str(hours))),
            )


def test_entries_that_are_too_old_are_not_returned(database: Database, space_id: int) -> None:
    fill(database, space_id, 3)
    with database.connect() as connection:
        for hours, known in ((0, True), (1, True), (2, False)):
            found = known_query(
                connection, space_id, query_hash(str(hours)), max_age=timedelta(hours=2)
            )
            assert (found is not None) == known


@pytest.mark.parametrize(
    ("max_age_h", "max_rows", "left"),
    [(100, 10, 6), (100, 6, 6), (100, 5, 5), (100, 1, 1), (100, 0, 0), (3, 10, 3), (3, 2, 2),
     (0, 10, 0)],
)  # fmt: skip
def test_entries_beyond_the_maximum_age_and_number_are_deleted(
    database: Database, space_id: int, max_age_h: int, max_rows: int, left: int
) -> None:
    fill(database, space_id, 6)
    with database.connect() as connection:
        gone = forget_queries(connection, max_age=timedelta(hours=max_age_h), max_rows=max_rows)
        kept = [
            hours
            for hours in range(6)
            if known_query(connection, space_id, query_hash(str(hours)), max_age=10 * DAY)
            is not None
        ]
    assert gone == 6 - left
    assert kept == list(range(left))
    assert count_rows(database, "query_embeddings") == left
