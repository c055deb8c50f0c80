"""Leases: extending them, and collecting them from runs that died or hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from rag_assets.documents.sql import leases as document_leases
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Database
from rag_assets_tests.documents.queued import queue, row, state, take


def test_taking_over_documents_ends_the_sessions_of_a_hanging_run(database: Database) -> None:
    queue(database, "a")
    hanging = document_leases.sessions_of_run(database, "hanging")
    other = document_leases.sessions_of_run(database, "other")
    assert hanging.describe() == database.describe()
    with other.connect(autocommit=True) as living:
        take(database, run_id="hanging", lease_s=0)
        with psycopg.connect(hanging.conninfo) as session:
            take(database, run_id="next")
            with pytest.raises(psycopg.OperationalError, match="terminating connection"):
                session.execute("SELECT 1")
        assert living.execute("SELECT 1").fetchone() == (1,)
    assert row(database, "a").run_id == "next"


def test_a_document_that_is_being_published_is_not_lost(database: Database) -> None:
    queue(database, "a", "b")
    take(database, run_id="slow", lease_s=0)
    with database.connect() as publishing:
        publishing.execute("SELECT FROM documents WHERE document_key = 'a' FOR UPDATE")
        assert [document.key for document in take(database, run_id="next")] == ["b"]
        with database.connect() as connection:
            assert document_leases.extend_leases(connection, "slow", 60) == 0
    assert state(database, "a") == "running"
    assert row(database, "a").run_id == "slow"


def test_a_run_that_hangs_while_publishing_is_ended_after_many_leases(
    database: Database,
) -> None:
    queue(database, "a")
    take(database, run_id="stopped", lease_s=0)
    with database.connect() as connection:
        connection.execute("UPDATE documents SET lease_until = now() - interval '601 s'")
    stopped = document_leases.sessions_of_run(database, "stopped")
    with psycopg.connect(stopped.conninfo) as publishing:
        publishing.execute("SELECT FROM documents WHERE document_key = 'a' FOR UPDATE")
        assert take(database, run_id="next", lease_s=61) == ()
        publishing.execute("SELECT 1")
        assert take(database, run_id="next", lease_s=60) == ()
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            publishing.execute("SELECT 1")
    (document,) = take(database, run_id="next")
    assert document.attempts == 2


def test_one_lease_is_extended_for_a_long_publication(database: Database) -> None:
    queue(database, "a", "b")
    for claimed in take(database, lease_s=0):
        with database.connect() as connection:
            run_id = "run" if claimed.key == "a" else "another"
            document_leases.extend_lease(connection, claimed.document_id, run_id, 600)
    with database.connect() as connection:
        document_leases.extend_leases(connection, "run", 1)
        found = connection.execute(
            "SELECT document_key, lease_until > now() + interval '500 s' FROM documents ORDER BY 1"
        ).fetchall()
    assert found == [("a", True), ("b", False)]


def test_a_session_that_falls_silent_in_a_transaction_is_ended_by_the_server(
    database: Database,
) -> None:
    """Its locks are released although its process is alive."""
    ended: list[type[Exception]] = []

    def fall_silent(locked: Callable[[], object], go_on: threading.Event) -> None:
        try:
            with database.connect() as connection:
                document_leases.bound_silence(connection, 0.2)
                connection.commit()
                locks.lock_transaction(connection, locks.CLAIMING_DOCUMENTS)
                locked()
                go_on.wait(30)
                connection.execute("SELECT 1")
        except Exception as error:
            ended.append(type(error))

    locked, go_on = threading.Event(), threading.Event()
    silent = threading.Thread(target=fall_silent, args=(locked.set, go_on))
    silent.start()
    assert locked.wait(30)
    queue(database, "a")
    assert len(take(database)) == 1
    go_on.set()
    silent.join(30)
    assert ended == [DatabaseUnavailableError]
