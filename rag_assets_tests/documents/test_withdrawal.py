"""Documents that are withdrawn, restored, or deleted."""

from __future__ import annotations

import pytest

from rag_assets.documents.sql.documents import find_document, stored_document
from rag_assets.documents.sql.intake import restore
from rag_assets.documents.sql.publishing import publish
from rag_assets.documents.sql.withdrawal import By, purge_answers, purge_withdrawn, withdraw
from rag_assets.postgres.database import Database
from rag_assets.vectors.sql.spaces import Space
from rag_assets.vectors.sql.tables import documents_table, revision
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version
from rag_assets_tests.documents.queued import (
    answer,
    chunked,
    file_now,
    make_ready,
    publication,
    queue,
    row,
    take,
)
from rag_assets_tests.vectors.vectors import count_rows, space_of


@pytest.fixture
def space(database: Database, make_settings: MakeSettings) -> Space:
    return space_of(database, make_settings(rag_embedding_small_dimensions=64))


def take_out(database: Database, *keys: str, by: By = "inbox") -> tuple[str, ...]:
    with database.connect() as connection:
        return withdraw(connection, keys, by=by)


def purge(database: Database, keep_days: float = 0) -> tuple[str, ...]:
    with database.connect() as connection:
        return purge_withdrawn(connection, keep_days)


def test_a_withdrawn_document_has_no_vectors_but_is_kept(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["one", "two", "one"])
    make_ready(database, space, "b", ["three"])
    with database.connect() as connection:
        before = revision(connection, documents_table(space))
    assert take_out(database, "a", "unknown") == ("a",)
    document = row(database, "a")
    assert (document.state, document.withdrawn_by) == ("withdrawn", "inbox")
    assert document.withdrawn_at is not None
    assert count_rows(database, "chunk_embeddings_s1") == 1
    assert count_rows(database, "chunk_embeddings") == 1
    assert count_rows(database, "document_chunks") == 4
    with database.connect() as connection:
        after = revision(connection, documents_table(space))
        aside = connection.execute("SELECT set_aside FROM answered_texts_s1").fetchall()
    assert aside == [(True,), (True,)]
    assert after.number > before.number
    assert after.rows_changed == before.rows_changed + 3
    assert take_out(database, "a") == ()


def test_a_run_publishes_nothing_of_a_withdrawn_document(database: Database, space: Space) -> None:
    make_ready(database, space, "other", ["one"])
    queue(database, "a")
    (claimed,) = take(database)
    take_out(database, "a")
    with database.connect(autocommit=True) as connection:
        assert publish(connection, publication(claimed, chunked(["one"])), [space]) is None
    assert row(database, "a").state == "withdrawn"
    assert take(database) == ()


def test_a_restored_document_needs_no_answer(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["one", "two"])
    take_out(database, "a")
    with database.connect() as connection:
        assert restore(connection, [file_now(database, "a", path="elsewhere.md")]) == ("a",)
    (claimed,) = take(database)
    assert claimed.path == "elsewhere.md"
    assert claimed.stored_hash == claimed.content_hash
    with database.connect(autocommit=True) as connection:
        document = stored_document(connection, claimed.document_id)
        assert document is not None
        published = publish(connection, publication(claimed, document), [space])
    assert published is not None
    assert (published.added, published.vectors) == (0, 2)
    assert count_rows(database, "answered_texts_s1") == 0
    assert row(database, "a").state == "ready"


def test_expired_withdrawn_documents_are_deleted_with_their_set_aside_vectors(
    database: Database, space: Space
) -> None:
    make_ready(database, space, "a", ["one", "shared"])
    make_ready(database, space, "b", ["shared"])
    take_out(database, "a", "b")
    with database.connect() as connection:
        connection.execute(
            "UPDATE documents SET withdrawn_at = now() - interval '31 days'"
            " WHERE document_key = 'a'"
        )
    assert purge(database, 30) == ("a",)
    with database.connect() as connection:
        assert find_document(connection, "a") is None
    assert count_rows(database, "document_chunks") == 1
    assert count_rows(database, "answered_texts_s1") == 1
    assert purge(database, 30) == ()
    assert purge(database) == ("b",)
    assert count_rows(database, "answered_texts_s1") == 0
    assert count_rows(database, "documents") == 0


def test_documents_withdrawn_by_command_keep_their_row_but_not_their_text(
    database: Database, space: Space
) -> None:
    make_ready(database, space, "a", ["one"])
    take_out(database, "a", by="command")
    assert purge(database) == ("a",)
    document = row(database, "a")
    assert (document.state, document.withdrawn_by) == ("withdrawn", "command")
    assert (document.stored_hash, document.title, document.chunks) == (None, None, None)
    assert count_rows(database, "document_chunks") == 0
    assert purge(database) == ()


def test_deleting_chunks_by_hand_deletes_their_vectors(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["one", "two"])
    with database.connect() as connection:
        before = revision(connection, documents_table(space))
        connection.execute("DELETE FROM documents")
        after = revision(connection, documents_table(space))
    assert count_rows(database, "chunk_embeddings_s1") == 0
    assert after.rows_changed == before.rows_changed + 2


def test_unused_answers_are_deleted_after_their_time(database: Database, space: Space) -> None:
    make_ready(database, space, "a", ["aside", "in use"])
    take_out(database, "a")
    load_version(database, "EN_TEST", ["of a verse"])
    with database.connect() as connection:
        answer(connection, space, ["of a verse", "of nobody", "in use"])
        assert purge_answers(connection, 30) == 0
        connection.execute("UPDATE answered_texts_s1 SET bought_at = now() - interval '31 days'")
        assert purge_answers(connection, 30) == 1
    assert count_rows(database, "answered_texts_s1") == 3
