"""All advisory locks of the package by name, and the functions to use them.

No other module calls ``pg_advisory_lock`` or its variants. Three SQL functions in the migrations
also take a lock, each within one statement: ``create_embedding_space``,
``refresh_embedding_views`` and ``fold_vector_changes``.

A key never changes: processes of the previous version must exclude those of this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from rag_assets.postgres.database import Connection, one

_POLL_S = 0.1


@dataclass(frozen=True)
class Lock:
    """One lock.

    :param name: a string that PostgreSQL hashes to the key, or the key itself as a number.
    :param part: the object that is locked, in the same form; ``None`` if there is only one.
    """

    name: str | int
    part: str | int | None = None


MIGRATING = Lock(7_233_801)
"""Applying migrations."""

CLAIMING_DOCUMENTS = Lock("claim documents")
"""Claiming documents: concurrent claims could exceed the limit of documents in progress."""

COUNTING_ATTEMPTS = Lock("count attempts")
"""Adding ended attempts to their totals, each once."""

RECORDING_INTAKE = Lock("document intake")
"""Recording what an intake found in the inbox."""

WRITING_CHUNK_VECTORS = Lock("chunk_embeddings")
"""Finishing a change of the documents' vectors.

The statements that follow lock rows of several tables, in a different order per transaction.
"""

CHANGING_RELEASES = Lock("release")
"""Writing, activating and rolling back releases."""

REPAIRING = Lock("repair")
"""Repairing what an audit found. Shared by what judges or releases the rows meanwhile."""

SENDING_MESSAGES = Lock("send messages")
"""Sending messages, each once."""

KEEPING_ENDED_RUNS = Lock("keep ended runs")
"""Copying ended runs from Dagster's database and counting them, each once."""


def changing_verses(version_code: str) -> Lock:
    """Loading a version's verses, deleting them, or publishing their vectors."""
    return Lock("verses", version_code)


def publishing_version(space_id: int, version_code: str) -> Lock:
    """Embedding and publishing a version in a space."""
    return Lock(f"verse_embeddings_s{space_id}", version_code)


def using_answers(space_id: int) -> Lock:
    """Removing used answers of a space: two publications of the same answers could deadlock."""
    return Lock("answered_texts", space_id)


def building_index(table: str) -> Lock:
    """Building an index or codes for a table of vectors."""
    return Lock("index_build", table)


_LIVING_OWNERS = 7_233_802


def living_owner(owner: int) -> Lock:
    """Held by an owner of claims on texts while its session lives. Once it is free, the owner is
    dead and its claims may be dropped."""
    return Lock(_LIVING_OWNERS, owner)


def has_living_owners(connection: Connection) -> bool:
    """Whether any session holds :func:`living_owner`: texts are being embedded."""
    (found,) = one(
        connection.execute(
            """
            SELECT EXISTS (SELECT FROM pg_locks
                            WHERE locktype = 'advisory' AND granted AND classid = %s
                              AND objsubid = 2 AND database =
                                  (SELECT oid FROM pg_database WHERE datname = current_database()))
            """,
            (_LIVING_OWNERS,),
        )
    )
    return bool(found)


def lock_transaction(connection: Connection, lock: Lock) -> None:
    """Wait for a lock, and hold it until the transaction ends."""
    _call(connection, "pg_advisory_xact_lock", lock)


def try_lock_session(connection: Connection, lock: Lock, *, shared: bool = False) -> bool:
    """Take a lock until it is unlocked or the session ends; false if another session holds it.

    :param shared: other sessions may share it.
    """
    function = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
    return bool(_call(connection, function, lock))


def lock_session(
    connection: Connection,
    lock: Lock,
    *,
    waiting: Callable[[], None] | None = None,
    shared: bool = False,
) -> None:
    """Wait for a lock without an open snapshot, and hold it until unlocked or the session ends.

    A session waiting in ``pg_advisory_lock()`` holds a snapshot all that time. CREATE INDEX
    CONCURRENTLY waits for every snapshot, so a session that builds while holding the lock would
    deadlock with it, and VACUUM could remove no rows. The connection autocommits.

    :param waiting: called once if another session holds the lock.
    """
    if try_lock_session(connection, lock, shared=shared):
        return
    if waiting:
        waiting()
    while not try_lock_session(connection, lock, shared=shared):
        time.sleep(_POLL_S)


@contextmanager
def held(
    connection: Connection, lock: Lock, *, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold a lock while the block runs. Waits like :func:`lock_session`."""
    lock_session(connection, lock, waiting=waiting)
    try:
        yield
    finally:
        if not connection.closed:
            unlock_session(connection, lock)


def unlock_session(connection: Connection, lock: Lock) -> None:
    """Release a lock before the session ends."""
    _call(connection, "pg_advisory_unlock", lock)


def _call(connection: Connection, function: str, lock: Lock) -> object:
    keys = (lock.name,) if lock.part is None else (lock.name, lock.part)
    statement = sql.SQL("SELECT {function}({keys})").format(
        function=sql.Identifier(function),
        keys=sql.SQL(", ").join(
            sql.SQL("hashtext(%s)" if isinstance(key, str) else "%s::int") for key in keys
        ),
    )
    return one(connection.execute(statement, keys))[0]
