"""What the intake records of documents."""

from __future__ import annotations

from rag_assets.documents.sql.intake import (
    add_documents,
    key_taken,
    known_documents,
    record_changed,
    record_files_gone,
    record_renamed,
    record_touched,
    refuse,
    restore,
    withdrawn_documents,
)
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.embedding.batching import text_hash
from rag_assets.postgres.database import Database
from rag_assets_tests.documents.queued import file_now, keys_of, new, queue, row, state, take


def test_new_documents_wait_in_the_order_given(database: Database) -> None:
    with database.connect() as connection:
        assert add_documents(connection, [new("b"), new("a")]) == ("b", "a")
        assert add_documents(connection, []) == ()
        assert key_taken(connection, "a")
        assert not key_taken(connection, "c")
    assert keys_of(take(database)) == ["b", "a"]


def test_a_key_or_path_that_another_intake_took_is_left_to_it(database: Database) -> None:
    queue(database, "a")
    with database.connect() as connection:
        other_key = new("b")
        same_path = type(other_key)("b", "a.md", 1, "1", text_hash("b"), "rag_processing", 1)
        assert add_documents(connection, [same_path, new("c"), new("a")]) == ("c",)


def test_known_and_withdrawn_documents_are_listed_by_path(database: Database) -> None:
    queue(database, "a", "b")
    with database.connect() as connection:
        withdraw(connection, ["b"], by="command")
        known, gone = known_documents(connection), withdrawn_documents(connection)
        assert list(known_documents(connection, ["a.md", "b.md"])) == ["a.md"]
        assert known_documents(connection, []) == {}
    assert (known["a.md"].key, known["a.md"].state, known["a.md"].withdrawn_by) == (
        "a",
        "waiting",
        None,
    )
    assert known["a.md"].content_hash == text_hash("a")
    assert {path: file.withdrawn_by for path, file in gone.items()} == {"b.md": "command"}


def test_of_several_documents_withdrawn_from_one_path_the_last_is_listed(
    database: Database,
) -> None:
    queue(database, "a", "b")
    with database.connect() as connection:
        withdraw(connection, ["a"], by="inbox")
    with database.connect() as connection:
        record_renamed(connection, [file_now(database, "b", path="a.md")])
    with database.connect() as connection:
        withdraw(connection, ["b"], by="inbox")
    with database.connect() as connection:
        assert withdrawn_documents(connection)["a.md"].key == "b"


def test_a_change_requeues_a_document_in_any_state(database: Database) -> None:
    queue(database, "a", "dead")
    (claimed,) = take(database, keys=["dead"])
    with database.connect() as connection:
        connection.execute(
            "UPDATE documents SET state = 'dead', error_class = 'E', lease_until = NULL"
            " WHERE document_id = %s",
            (claimed.document_id,),
        )
    with database.connect() as connection:
        record_changed(
            connection,
            [
                file_now(
                    database,
                    key,
                    content_hash=text_hash("new"),
                    bytes=77,
                    modified="2",
                    lane="rag_large_docs",
                    priority=3,
                )
                for key in ("dead", "a")
            ],
        )
    for key in ("a", "dead"):
        found = row(database, key)
        assert (found.state, found.attempts, found.error_class) == ("waiting", 0, None)
        assert (found.bytes, found.modified, found.lane, found.priority) == (
            77,
            "2",
            "rag_large_docs",
            3,
        )
    assert keys_of(take(database, lane="rag_large_docs")) == ["a", "dead"]


def test_a_file_that_was_only_touched_is_not_processed_again(database: Database) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    with database.connect() as connection:
        record_touched(connection, [file_now(database, "a", modified="2")])
    assert (row(database, "a").modified, state(database, "a")) == ("2", "running")
    assert row(database, "a").run_id == "run"
    assert claimed.attempts == 1


def test_files_may_swap_names(database: Database) -> None:
    queue(database, "a", "b", "c")
    with database.connect() as connection:
        record_renamed(
            connection,
            [
                file_now(database, "a", path="b.md"),
                file_now(database, "b", path="c.md"),
                file_now(database, "c", path="a.md", modified="9"),
            ],
        )
    assert [row(database, key).path for key in "abc"] == ["b.md", "c.md", "a.md"]
    assert row(database, "c").modified == "9"
    assert [row(database, key).state for key in "abc"] == ["waiting"] * 3


def test_only_withdrawn_documents_are_restored(database: Database) -> None:
    queue(database, "a", "b")
    with database.connect() as connection:
        withdraw(connection, ["a"], by="inbox")
    with database.connect() as connection:
        files = [file_now(database, key) for key in "ab"]
        assert restore(connection, files) == ("a",)
    assert (state(database, "a"), row(database, "a").withdrawn_by) == ("waiting", None)


def test_the_path_of_a_withdrawn_document_is_free(database: Database) -> None:
    queue(database, "a")
    with database.connect() as connection:
        withdraw(connection, ["a"], by="inbox")
        again = type(new("x"))("a-2", "a.md", 1, "1", text_hash("x"), "rag_processing", 1)
        assert add_documents(connection, [again]) == ("a-2",)


def test_a_file_removed_after_its_document_was_withdrawn_is_recorded(
    database: Database,
) -> None:
    queue(database, "a", "b")
    with database.connect() as connection:
        withdraw(connection, ["a"], by="command")
    with database.connect() as connection:
        record_files_gone(connection, [row(database, key).document_id for key in "ab"])
    assert [row(database, key).withdrawn_by for key in "ab"] == ["inbox", None]


def test_a_refused_document_is_dead_before_any_run(database: Database) -> None:
    queue(database, "a")
    with database.connect() as connection:
        refuse(connection, "a", "DocumentTooLargeError", "a.md: too large")
    assert (state(database, "a"), row(database, "a").error) == ("dead", "a.md: too large")
    assert take(database) == ()
