"""The counts that the documents' checks evaluate."""

from __future__ import annotations

import pytest

from rag_assets.documents.sql.quality import count_chunk_faults
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.postgres.database import Database
from rag_assets.vectors.sql.faults import FaultCounts
from rag_assets.vectors.sql.spaces import Space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import change, make_ready, queue
from rag_assets_tests.vectors.vectors import space_of


@pytest.fixture
def space(database: Database, make_settings: MakeSettings) -> Space:
    space = space_of(database, make_settings(rag_embedding_small_dimensions=64))
    make_ready(database, space, "a", ["one", "two"])
    make_ready(database, space, "b", ["three"])
    return space


def counted(database: Database, space: Space, *, after: str = "") -> FaultCounts:
    """The counts after a manual change."""
    with database.connect() as connection:
        if after:
            connection.execute(after.encode())
        return count_chunk_faults(connection, space)


def test_a_published_document_has_no_fault(database: Database, space: Space) -> None:
    queue(database, "waiting")
    assert counted(database, space) == FaultCounts(3, 3, 0, 0, 0, 0, {})


def test_a_missing_vector_of_a_ready_document_is_counted(database: Database, space: Space) -> None:
    found = counted(database, space, after="DELETE FROM chunk_embeddings_s1 WHERE chunk_id = 2")
    assert (found.rows, found.embedded, found.missing) == (3, 2, 1)
    assert found.examples == {"missing": ("a 2: no vector",)}


def test_vectors_of_waiting_documents_are_not_missing(database: Database, space: Space) -> None:
    with database.connect() as connection:
        withdraw(connection, ["b"], by="inbox")
    assert counted(database, space).rows == 2
    change(database, "a", "new")
    assert counted(database, space).embedded == 2
    found = counted(database, space, after="DELETE FROM chunk_embeddings_s1 WHERE chunk_id = 2")
    assert (found.rows, found.missing) == (1, 0)


@pytest.mark.parametrize(
    ("change", "fault", "example"),
    [
        (
            "UPDATE chunk_embeddings_s1 SET text_hash = '\\x00' WHERE chunk_id = 1",
            "stale",
            "a 1: vector of an earlier text",
        ),
        (
            "UPDATE chunk_embeddings_s1"
            " SET embedding = ('[' || repeat('1,', 63) || '1]')::halfvec WHERE chunk_id = 3",
            "wrong_norm",
            "b 1: norm 8.0000",
        ),
    ],
)
def test_faults_are_counted_and_shown(
    database: Database, space: Space, change: str, fault: str, example: str
) -> None:
    found = counted(database, space, after=change)
    assert getattr(found, fault) == 1
    assert found.examples == {fault: (example,)}
    assert (found.rows, found.embedded) == (3, 3)
