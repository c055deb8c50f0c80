"""Keys are stored as hashes, recognised when presented, and limited to their rate."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from rag_assets.api.sql.keys import (
    Scope,
    any_key,
    create_key,
    find_key,
    key_pace,
    list_keys,
    revoke_key,
    take_request,
)
from rag_assets.postgres.database import Database


def made(database: Database, *scopes: Scope) -> str:
    """A complete key."""
    with database.connect() as connection:
        return create_key(connection, "for a test", scopes or ("read",), requests_per_minute=60)


def test_a_key_is_recognised_and_only_its_hash_is_stored(database: Database) -> None:
    key = made(database, "read", "admin")
    _, key_id, secret = key.split("_", 2)
    with database.connect() as connection:
        found = find_key(connection, key)
        row = connection.execute("SELECT secret_hash, api_keys::text FROM api_keys").fetchone()
    assert found is not None
    assert (found.key_id, found.name, found.scopes) == (key_id, "for a test", ("read", "admin"))
    assert row is not None
    assert row[0] == hashlib.sha256(secret.encode()).digest()
    assert secret not in row[1]
    assert len(secret) >= 43


def test_no_two_keys_are_alike(database: Database) -> None:
    keys = [made(database) for _ in range(20)]
    assert len({key.split("_")[1] for key in keys}) == len({key[17:] for key in keys}) == 20


@pytest.mark.parametrize("wrong", ["", "_", "rag", "rag__", "rag_{id}", "rag_{id}_", "{id}",
                                   "rag_{id}_{secret}x", "rag_{id}_x{secret}", "rag_no_{secret}",
                                   "rag_{id}_ключ", "' OR true --"])  # fmt: skip
def test_anything_but_the_exact_key_is_rejected(database: Database, wrong: str) -> None:
    _, key_id, secret = made(database).split("_", 2)
    presented = wrong.replace("{id}", key_id).replace("{secret}", secret)
    with database.connect() as connection:
        assert find_key(connection, presented) is None


def test_a_secret_may_hold_any_letter_of_its_alphabet(database: Database) -> None:
    for _ in range(50):  # some contain an underscore, at which keys are split
        key = made(database)
        with database.connect() as connection:
            assert find_key(connection, key) is not None


def test_a_revoked_key_is_rejected_and_can_be_revoked_once(database: Database) -> None:
    key, other = made(database), made(database)
    with database.connect() as connection:
        assert any_key(connection)
        assert revoke_key(connection, key.split("_")[1])
        assert not revoke_key(connection, key.split("_")[1])
        assert not revoke_key(connection, "nobody")
        assert find_key(connection, key) is None
        assert find_key(connection, other) is not None
        first, second = list_keys(connection)
        assert (first.revoked_at is None, second.revoked_at is None) == (False, True)
        revoke_key(connection, other.split("_")[1])
        assert any_key(connection), "revoking the last key opens nothing"


def test_until_a_key_is_created_there_is_none(database: Database) -> None:
    with database.connect() as connection:
        assert not any_key(connection)
        assert list_keys(connection) == ()


def test_invalid_scopes_and_rates_are_refused(database: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation), database.connect() as connection:
        create_key(connection, "a", ["write"], requests_per_minute=1)  # type: ignore[list-item]
    with pytest.raises(psycopg.errors.CheckViolation), database.connect() as connection:
        create_key(connection, "a", ["read"], requests_per_minute=0)


def test_a_burst_is_accepted_then_an_even_pace(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        left = [
            take_request(connection, "k", key_pace(per_minute=1, burst=3)).remaining
            for _ in range(3)
        ]
        assert left == [2, 1, 0]
        refused = take_request(connection, "k", key_pace(per_minute=1, burst=3))
        assert 50 < refused.retry_after_s <= 60
        again = take_request(connection, "k", key_pace(per_minute=1, burst=3))
        assert again.retry_after_s <= refused.retry_after_s  # refused requests are not counted


def test_after_its_wait_a_request_is_accepted(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for _ in range(2):
            take_request(connection, "k", key_pace(per_minute=1, burst=2))
        connection.execute("UPDATE api_limits SET arrives_at = arrives_at - interval '61 s'")
        assert take_request(connection, "k", key_pace(per_minute=1, burst=2)).retry_after_s == 0
        assert take_request(connection, "k", key_pace(per_minute=1, burst=2)).retry_after_s > 0


def test_after_a_long_pause_only_a_burst_is_accepted(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        take_request(connection, "k", key_pace(per_minute=60, burst=4))
        connection.execute("UPDATE api_limits SET arrives_at = now() - interval '9 days'")
        let = [take_request(connection, "k", key_pace(per_minute=1, burst=4)) for _ in range(6)]
    assert [one.retry_after_s == 0 for one in let] == [True] * 4 + [False] * 2


def test_the_rate_applies_however_many_requests_are_concurrent(database: Database) -> None:
    def ask(_: int) -> int:
        with database.connect(autocommit=True) as connection:
            taken = [
                take_request(connection, "k", key_pace(per_minute=1, burst=7)) for _ in range(5)
            ]
        return sum(one.retry_after_s == 0 for one in taken)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(8))) == 7
