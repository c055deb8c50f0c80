"""The registry of advisory locks: its keys, which never change, and how locks are taken."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database, one
from rag_assets.postgres.locks import Lock

KEYS = [
    (locks.MIGRATING, "7233801", (0, 7233801, 1)),
    (locks.CLAIMING_DOCUMENTS, "hashtext('claim documents')", (4294967295, 3233286391, 1)),
    (locks.COUNTING_ATTEMPTS, "hashtext('count attempts')", (4294967295, 2887691703, 1)),
    (locks.RECORDING_INTAKE, "hashtext('document intake')", (0, 1112007842, 1)),
    (locks.WRITING_CHUNK_VECTORS, "hashtext('chunk_embeddings')", (4294967295, 3542278842, 1)),
    (locks.CHANGING_RELEASES, "hashtext('release')", (0, 1320138406, 1)),
    (locks.REPAIRING, "hashtext('repair')", (0, 215683574, 1)),
    (locks.SENDING_MESSAGES, "hashtext('send messages')", (0, 563617795, 1)),
    (locks.KEEPING_ENDED_RUNS, "hashtext('keep ended runs')", (4294967295, 3888699248, 1)),
    (
        locks.changing_verses("EN_A"),
        "hashtext('verses'), hashtext('EN_A')",
        (1878055722, 3092394314, 2),
    ),
    (
        locks.publishing_version(3, "EN_A"),
        "hashtext('verse_embeddings_s3'), hashtext('EN_A')",
        (3951867272, 3092394314, 2),
    ),
    (locks.using_answers(3), "hashtext('answered_texts'), 3", (2360956835, 3, 2)),
    (
        locks.building_index("verse_embeddings_s3"),
        "hashtext('index_build'), hashtext('verse_embeddings_s3')",
        (730936384, 3951867272, 2),
    ),
    (locks.living_owner(5), "7233802, 5", (7233802, 5, 2)),
]
"""Each lock; its key as the first versions wrote it in every statement; and what PostgreSQL makes
of that, as ``pg_locks`` shows it: classid, objid, objsubid."""


def held(connection: Connection) -> list[tuple[int, int, int]]:
    """The advisory locks that the session holds."""
    return connection.execute(
        "SELECT classid::bigint, objid::bigint, objsubid FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    ).fetchall()


@pytest.mark.parametrize(("lock", "spelt", "key"), KEYS, ids=str)
def test_the_key_of_a_lock_never_changes(
    template_database: Database, lock: Lock, spelt: str, key: tuple[int, int, int]
) -> None:
    with (
        template_database.connect(autocommit=True) as ours,
        template_database.connect(autocommit=True) as before,
    ):
        take = f"SELECT pg_try_advisory_xact_lock({spelt})"
        assert locks.try_lock_session(ours, lock)
        assert held(ours) == [key]
        assert one(before.execute(take)) == (False,), "the version before is kept out"
        locks.unlock_session(ours, lock)
        assert held(ours) == []
        assert one(before.execute(take)) == (True,)


def test_every_lock_is_listed_here_and_no_two_share_a_key() -> None:
    constants = [value for value in vars(locks).values() if isinstance(value, Lock)]
    functions = [
        value
        for value in vars(locks).values()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Lock"
    ]
    listed = [lock for lock, _, _ in KEYS]
    assert {lock for lock in listed if lock.part is None} == set(constants)
    assert len([lock for lock in listed if lock.part is not None]) == len(functions)
    assert len({key for _, _, key in KEYS}) == len(KEYS)


def test_a_session_holds_a_lock_until_it_releases_it(template_database: Database) -> None:
    lock, another = locks.publishing_version(1, "EN_A"), locks.publishing_version(1, "EN_B")
    with (
        template_database.connect(autocommit=True) as first,
        template_database.connect(autocommit=True) as second,
    ):
        assert locks.try_lock_session(first, lock)
        assert not locks.try_lock_session(second, lock)
        assert locks.try_lock_session(second, another)
        locks.unlock_session(first, lock)
        assert locks.try_lock_session(second, lock)


def test_a_session_that_ends_releases_its_locks(template_database: Database) -> None:
    with template_database.connect(autocommit=True) as first:
        assert locks.try_lock_session(first, locks.CHANGING_RELEASES)
    with template_database.connect(autocommit=True) as second:
        locks.lock_session(second, locks.CHANGING_RELEASES)


def test_a_transaction_holds_a_lock_until_it_ends(template_database: Database) -> None:
    with (
        template_database.connect(autocommit=True) as first,
        template_database.connect(autocommit=True) as second,
    ):
        with first.transaction():
            locks.lock_transaction(first, locks.CLAIMING_DOCUMENTS)
            assert not locks.try_lock_session(second, locks.CLAIMING_DOCUMENTS)
        assert locks.try_lock_session(second, locks.CLAIMING_DOCUMENTS)


def test_a_session_that_waits_for_a_lock_holds_no_snapshot(database: Database) -> None:
    """A snapshot held for an hour would block VACUUM and every CREATE INDEX CONCURRENTLY."""
    lock = locks.publishing_version(1, "EN_A")
    with database.connect(autocommit=True) as first, ThreadPoolExecutor(1) as pool:
        assert locks.try_lock_session(first, lock)

        def wait() -> bool:
            with database.connect(autocommit=True) as second:
                locks.lock_session(second, lock)
                return locks.try_lock_session(first, lock)

        waiting = pool.submit(wait)
        seen = set()
        for _ in range(20):
            seen |= {
                row[0]
                for row in first.execute(
                    "SELECT state FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid()"
                ).fetchall()
            }
            first.execute("SELECT pg_sleep(0.01)")
        locks.unlock_session(first, lock)
        assert waiting.result(10) is False
    assert "idle" in seen
    assert "idle in transaction" not in seen
