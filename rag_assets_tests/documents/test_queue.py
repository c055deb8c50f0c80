"""The queue of documents: order, leases, attempts, and runs that come and go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.leases import LOST
from rag_assets.documents.sql.queue import Requeued
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import (
    change,
    file_now,
    keys_of,
    make_ready,
    new,
    queue,
    row,
    state,
    take,
)
from rag_assets_tests.vectors.vectors import space_of

GONE = 0.0
"""A lease that has ended as soon as it is given: the run is dead."""


def test_claims_go_by_priority_and_then_by_age(database: Database) -> None:
    queue(
        database,
        new("low", priority=3),
        new("first", priority=2),
        new("second", priority=2),
        new("asked for", priority=0),
        new("high", priority=1),
    )
    claimed = take(database, limit=4)
    assert keys_of(claimed) == ["asked for", "high", "first", "second"]
    assert [document.attempts for document in claimed] == [1, 1, 1, 1]
    document = row(database, "high")
    assert (document.state, document.run_id, document.attempts) == ("running", "run", 1)
    assert document.lease_until is not None
    assert document.started_at is not None
    assert keys_of(take(database)) == ["low"]
    assert take(database) == ()


def test_a_claim_has_all_that_processing_needs(database: Database) -> None:
    queue(database, new("a", size=77, content="text"))
    (claimed,) = take(database)
    before = row(database, "a")
    assert (claimed.document_id, claimed.path, claimed.bytes) == (before.document_id, "a.md", 77)
    assert claimed.content_hash == before.content_hash
    assert (claimed.stored_hash, claimed.chunking, claimed.suspect) == (None, None, False)


def test_a_lane_is_left_to_its_own_runs(database: Database) -> None:
    queue(database, "small", new("large", lane="rag_large_docs"))
    assert keys_of(take(database, lane="rag_large_docs")) == ["large"]
    assert keys_of(take(database)) == ["small"]


def test_any_lane_and_chosen_documents_only(database: Database) -> None:
    queue(database, "a", "b", new("c", lane="rag_large_docs"))
    assert keys_of(take(database, lane=None, keys=["c", "b", "unknown"])) == ["b", "c"]


def test_a_claim_ends_with_the_document_that_reaches_the_size(database: Database) -> None:
    queue(database, *(new(key, size=400) for key in "abc"))
    assert keys_of(take(database, max_bytes=401)) == ["a", "b"]
    assert keys_of(take(database, max_bytes=1)) == ["c"]


def test_the_maximum_of_running_documents_holds_over_all_runs(database: Database) -> None:
    queue(database, *(f"d{n}" for n in range(9)))
    assert len(take(database, run_id="one", max_running=5, limit=3)) == 3
    assert len(take(database, run_id="two", max_running=5)) == 2
    assert take(database, run_id="three", max_running=5) == ()


def test_concurrent_claims_are_disjoint_and_within_the_maximum(
    database: Database,
) -> None:
    queue(database, *(f"d{n}" for n in range(60)))
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda n: take(database, run_id=f"run {n}", limit=7, max_running=40), range(8))
        )
    claimed = [document.key for documents in found for document in documents]
    assert len(claimed) == len(set(claimed)) == 40


def test_the_documents_of_a_dead_run_are_claimed_again_behind_the_others(
    database: Database,
) -> None:
    queue(database, "a", "b")
    take(database, run_id="dead", limit=1, lease_s=GONE)
    claimed = take(database, run_id="next")
    assert keys_of(claimed) == ["b", "a"]
    assert [document.attempts for document in claimed] == [1, 2]
    assert row(database, "a").error_class == LOST
    assert "run dead, which was processing a.md" in (row(database, "a").error or "")


def test_a_document_whose_attempts_all_died_is_a_dead_letter(
    database: Database,
) -> None:
    queue(database, "a")
    for number in (1, 2):
        (claimed,) = take(database, run_id=f"run {number}", lease_s=GONE, max_attempts=3)
        assert claimed.attempts == number
    (claimed,) = take(database, run_id="run 3", lease_s=GONE, max_attempts=3, suspects=True)
    assert claimed.attempts == 3
    assert take(database, max_attempts=3, suspects=True) == ()
    document = row(database, "a")
    assert (document.state, document.error_class, document.attempts) == ("dead", LOST, 3)
    assert "documents retry a`" in (document.error or "")
    assert document.lease_until is None


def test_a_document_that_may_have_killed_two_runs_is_claimed_alone(database: Database) -> None:
    queue(database, "a", "b", "c")
    for number in (1, 2):
        take(database, run_id=f"run {number}", lease_s=GONE)
    assert take(database) == ()
    (suspect,) = take(database, suspects=True)
    assert suspect.suspect
    assert suspect.attempts == 3
    assert len(take(database, suspects=True)) == 1


def test_an_extended_lease_does_not_expire(database: Database) -> None:
    queue(database, "a", "b")
    take(database, run_id="slow", limit=1, lease_s=GONE)
    with database.connect(autocommit=True) as connection:
        assert document_leases.extend_leases(connection, "slow", 60) == 1
        assert document_leases.extend_leases(connection, "another", 60) == 0
    assert keys_of(take(database, run_id="next")) == ["b"]


def test_a_run_considered_dead_can_do_nothing_more(database: Database) -> None:
    queue(database, "a")
    (claimed,) = take(database, run_id="late", lease_s=GONE)
    take(database, run_id="next")
    document = claimed.document_id
    with database.connect(autocommit=True) as connection:
        assert not document_queue.mark_dead(connection, document, "late", "SomeError", "x")
        assert not document_queue.mark_for_retry(connection, document, "late", "SomeError", "x", 0)
        assert not document_queue.mark_unchanged(connection, document, "late")
        assert document_leases.extend_leases(connection, "late", 60) == 0
        assert document_queue.give_back(connection, "late") == ()
    assert (row(database, "a").state, row(database, "a").run_id) == ("running", "next")


def test_a_run_that_ends_gracefully_returns_documents_without_counting(database: Database) -> None:
    queue(database, "a", "b", "c")
    take(database, run_id="one", limit=2)
    with database.connect() as connection:
        assert sorted(document_queue.give_back(connection, "one")) == ["a", "b"]
    assert [row(database, key).attempts for key in "abc"] == [0, 0, 0]
    assert keys_of(take(database)) == ["a", "b", "c"]


def test_documents_returned_with_an_error_wait_before_the_retry(database: Database) -> None:
    queue(database, "a")
    take(database)
    with database.connect() as connection:
        document_queue.give_back(
            connection, "run", error_class="RateLimitedError", error="later", after_s=60
        )
    document = row(database, "a")
    assert (document.state, document.attempts) == ("waiting", 0)
    assert (document.error_class, document.error) == ("RateLimitedError", "later")
    assert document.not_before is not None
    assert take(database) == ()


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
def test_a_retry_waits_for_its_time_behind_the_others(
    database: Database, counted: bool, attempts: int
) -> None:
    queue(database, "a", "b")
    (claimed,) = take(database, limit=1)
    with database.connect(autocommit=True) as connection:
        assert document_queue.mark_for_retry(
            connection, claimed.document_id, "run", "SomeError", "why", 60, counted=counted
        )
        assert keys_of(take(database)) == ["b"]
        assert row(database, "a").attempts == attempts
        connection.execute("UPDATE documents SET not_before = now() WHERE document_key = 'a'")
    queue(database, "c")
    assert keys_of(take(database)) == ["a", "c"]


def test_dead_letters_stay_where_they_are(database: Database) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    with database.connect(autocommit=True) as connection:
        document_queue.mark_dead(connection, claimed.document_id, "run", "NoTextError", "a.md: why")
        dead = connection.execute("SELECT document_key, error_class, error FROM rag_dlq").fetchall()
    assert dead == [("a", "NoTextError", "a.md: why")]
    assert take(database) == ()


def test_a_changed_document_leaves_its_run_and_waits_with_all_its_attempts(
    database: Database,
) -> None:
    queue(database, "a")
    (claimed,) = take(database)
    change(database, "a", "another content")
    with database.connect(autocommit=True) as connection:
        assert not document_queue.mark_unchanged(connection, claimed.document_id, "run")
    (again,) = take(database, run_id="next")
    assert again.attempts == 1
    assert again.content_hash == file_now(database, "a").content_hash != claimed.content_hash


def test_selected_documents_are_claimable_immediately(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "ready", ["one"])
    queue(database, "dead", "late", "running")
    for key in ("dead", "late"):
        (claimed,) = take(database, keys=[key])
        with database.connect(autocommit=True) as connection:
            if key == "dead":
                document_queue.mark_dead(connection, claimed.document_id, "run", "E", "x")
            else:
                document_queue.mark_for_retry(connection, claimed.document_id, "run", "E", "x", 60)
    take(database, keys=["running"])
    keys = ["ready", "dead", "late", "running"]
    with database.connect() as connection:
        assert sorted(document_queue.requeue(connection, keys)) == ["late", "ready"]
    assert state(database, "dead") == "dead"
    with database.connect() as connection:
        assert sorted(document_queue.requeue(connection, keys, dead=True)) == [
            "dead",
            "late",
            "ready",
        ]
    assert {document.key: document.attempts for document in take(database)} == {
        "ready": 1,
        "dead": 1,
        "late": 2,
    }


def test_documents_of_another_model_are_requeued_without_being_read(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    make_ready(database, space, "a", ["one"])
    make_ready(database, space, "b", ["two"])
    other = space_of(database, make_settings(rag_embedding_small_dimensions=256))
    with database.connect(autocommit=True) as connection:
        assert document_queue.requeue_unembedded(connection, space, limit=10) == Requeued(0, 0, 0)
        assert document_queue.requeue_unembedded(connection, other, limit=1) == Requeued(1, 1, 0)
        assert document_queue.requeue_unembedded(connection, other, limit=10) == Requeued(1, 1, 0)
    (first, second) = take(database)
    assert first.stored_hash == first.content_hash
    assert second.chunking == "v1"


def test_documents_of_another_model_are_requeued_within_the_limits_of_tokens_and_time(
    database: Database, make_settings: MakeSettings
) -> None:
    space = space_of(database, make_settings())
    for key, text in (("a", "one two"), ("b", "three four five"), ("c", "six")):
        make_ready(database, space, key, [text])
    other = space_of(database, make_settings(rag_embedding_small_dimensions=256))
    with database.connect(autocommit=True) as connection:
        (half, now) = connection.execute(
            "SELECT ended_at, now() FROM documents WHERE document_key = 'b'"
        ).fetchone() or (None, None)
        fits = partial(document_queue.requeue_unembedded, connection, other, limit=10)
        assert fits(tokens=1, before=now) == Requeued(0, 0, 3)
        assert fits(tokens=4, before=half) == Requeued(1, 2, 0)
        assert fits(tokens=3, before=now) == Requeued(1, 3, 1)
    assert [state(database, key) for key in "abc"] == ["waiting", "waiting", "ready"]
