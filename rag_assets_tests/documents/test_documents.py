"""Reading documents, and the commands of operators."""

from __future__ import annotations

from rag_assets.documents.sql import documents, ordering
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import keys_of, make_ready, new, queue, row, take
from rag_assets_tests.vectors.vectors import space_of


def kill(database: Database, key: str, error_class: str = "NoTextError") -> None:
    """Make a document a dead letter."""
    (claimed,) = take(database, lane=None, keys=[key])
    with database.connect() as connection:
        document_queue.mark_dead(connection, claimed.document_id, "run", error_class, "why")


def test_a_list_goes_page_by_page_in_the_order_of_the_drop(database: Database) -> None:
    queue(database, "z", "a", new("large", lane="rag_large_docs"), "m")
    kill(database, "a")
    with database.connect() as connection:
        first = documents.list_documents(connection, limit=2)
        assert [document.key for document in first] == ["z", "a"]
        second = documents.list_documents(connection, limit=9, after=first[-1].document_id)
        assert [document.key for document in second] == ["large", "m"]
        dead = documents.list_documents(connection, state="dead", limit=9)
        large = documents.list_documents(connection, lane="rag_large_docs", limit=9)
    assert [(found.key, found.error_class, found.error) for found in dead] == [
        ("a", "NoTextError", "why")
    ]
    assert [found.key for found in large] == ["large"]


def test_one_document_is_found_by_its_key(database: Database) -> None:
    queue(database, new("a", size=3_000_000_000, content="x"))
    with database.connect() as connection:
        found = documents.find_document(connection, "a")
        assert documents.find_document(connection, "b") is None
    assert found is not None
    assert (found.key, found.path, found.bytes, found.state) == (
        "a",
        "a.md",
        3_000_000_000,
        "waiting",
    )
    assert (found.not_before, found.title, found.cost_usd, found.seconds) == (None,) * 4


def test_keys_that_contain_a_word_are_suggested(database: Database) -> None:
    queue(database, "reports/Annual-2025", "annual", "other")
    with database.connect() as connection:
        assert documents.nearest_keys(connection, "annual") == ("annual", "reports/Annual-2025")
        assert documents.nearest_keys(connection, "%") == ()


def test_the_queue_is_counted_by_lane(database: Database, make_settings: MakeSettings) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "ready", ["one"])
    queue(database, "dead", "late", "lost", "running", "waiting")
    queue(database, new("large", lane="rag_large_docs"))
    kill(database, "dead")
    (late,) = take(database, keys=["late"])
    with database.connect() as connection:
        document_queue.mark_for_retry(connection, late.document_id, "run", "E", "x", 60)
    take(database, keys=["running"])
    take(database, keys=["lost"], lease_s=0)
    with database.connect() as connection:
        connection.execute(
            "UPDATE documents SET queued_at = now() - interval '1 hour'"
            " WHERE document_key = 'waiting'"
        )
        counts = documents.queue_counts(connection)
    assert list(counts) == ["rag_large_docs", "rag_processing"]
    found = counts["rag_processing"]
    assert (found.waiting, found.claimable, found.running, found.ready, found.dead) == (
        3,
        2,
        1,
        1,
        1,
    )
    assert 3600 <= found.oldest_waiting_s < 3700
    large = counts["rag_large_docs"]
    assert (large.waiting, large.running) == (1, 0)


def test_an_empty_queue_has_no_lanes(database: Database) -> None:
    with database.connect() as connection:
        assert documents.queue_counts(connection) == {}
        assert documents.dead_by_class(connection) == {}


def test_dead_letters_are_retried_singly_by_class_or_all(database: Database) -> None:
    queue(database, *"abcd", "withdrawn")
    kill(database, "a", "EncryptedDocumentError")
    for key in "bcd":
        kill(database, key)
    with database.connect() as connection:
        withdraw(connection, ["withdrawn"], by="command")
        assert documents.dead_by_class(connection) == {
            "EncryptedDocumentError": 1,
            "NoTextError": 3,
        }
        assert documents.retry(connection, keys=["b", "withdrawn", "unknown"]) == 1
        assert documents.retry(connection, error_class="EncryptedDocumentError") == 1
        assert documents.retry(connection, keys=[]) == 0
        assert documents.retry(connection) == 2
        assert documents.retry(connection) == 0
    claimed = take(database)
    assert sorted(keys_of(claimed)) == ["a", "b", "c", "d"]
    assert {document.attempts for document in claimed} == {1}


def test_the_longest_waiting_documents_go_first_on_request(database: Database) -> None:
    queue(
        database,
        new("oldest", priority=3),
        new("old", priority=2, lane="rag_large_docs"),
        new("new", priority=1),
    )
    with database.connect() as connection:
        assert ordering.prioritize(connection, limit=1) == 1
    assert keys_of(take(database, limit=2)) == ["oldest", "new"]
    with database.connect() as connection:
        assert ordering.prioritize(connection, limit=5, lane="rag_processing") == 0
        assert ordering.prioritize(connection, limit=5) == 1
    assert row(database, "old").priority == 0
