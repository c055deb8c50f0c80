"""Keys of the retrieval API, and the rate that each may be used at."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.postgres.rate_limit import LimitTable, Pace

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "admin")
_PREFIX = "rag"
_LIMITS = LimitTable("api_limits", "key_id", ("arrives_at",), refuses=True)


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret."""

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    requests_per_minute: int
    created_at: datetime
    revoked_at: datetime | None


def create_key(
    connection: Connection, name: str, scopes: Sequence[Scope], *, requests_per_minute: int
) -> str:
    """Make a key: the only time that it is seen whole."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    connection.execute(
        """
        INSERT INTO api_keys (key_id, name, secret_hash, scopes, requests_per_minute)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (key_id, name, _hash(secret), list(scopes), requests_per_minute),
    )
    return f"{_PREFIX}_{key_id}_{secret}"


def list_keys(connection: Connection) -> tuple[ApiKey, ...]:
    """All keys, the newest last."""
    return fetch_all(
        connection,
        _api_key,
        """
        SELECT key_id, name, scopes, requests_per_minute, created_at, revoked_at
          FROM api_keys ORDER BY created_at
        """,
    )


def _api_key(*, scopes: list[Scope], **fields: Any) -> ApiKey:
    return ApiKey(scopes=tuple(scopes), **fields)


def any_key(connection: Connection) -> bool:
    """Whether a key was ever made: until then the API asks for none.

    Revoked ones count, so that revoking the last does not open the API to everybody.
    """
    (found,) = one(connection.execute("SELECT EXISTS (SELECT FROM api_keys)"))
    return bool(found)


def revoke_key(connection: Connection, key_id: str) -> bool:
    """Revoke a key; false when there is none to revoke."""
    done = connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL",
        (key_id,),
    )
    return done.rowcount > 0


def find_key(connection: Connection, presented: str) -> ApiKey | None:
    """The living key that was presented; ``None`` for any that is not right. By primary key.

    The secret is compared in constant time, also where there is no such key.
    """
    _, key_id, secret = [*presented.split("_", 2), "", "", ""][:3]
    found = fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT secret_hash, key_id, name, scopes, requests_per_minute, created_at, revoked_at
          FROM api_keys WHERE key_id = %s
        """,
        (key_id,),
    )
    stored = found[0].pop("secret_hash") if found else bytes(32)
    if not hmac.compare_digest(stored, _hash(secret)) or not found:
        return None
    key = _api_key(**found[0])
    return key if key.revoked_at is None else None


@dataclass(frozen=True)
class Allowance:
    """What a key may still do.

    :param retry_after_s: 0 when the request may go, else seconds until it may.
    :param remaining: requests that may follow at once.
    """

    retry_after_s: float
    remaining: int

    @classmethod
    def of(cls, wait_s: float, pace: Pace) -> Allowance:
        """What a request that comes so many seconds too early is allowed; it may go at 0."""
        if wait_s > 0:
            return cls(max(0.001, wait_s), 0)
        return cls(0.0, int(1e-6 - wait_s / pace.interval_s))


def key_pace(*, per_minute: int, burst: int) -> Pace:
    """A key's pace, in whole microseconds, as PostgreSQL keeps them.

    :param burst: requests that may go at once.
    """
    interval_s = round(60 / per_minute, 6)
    return Pace(interval_s, (burst - 1) * interval_s)


def take_request(connection: Connection, key_id: str, pace: Pace) -> Allowance:
    """Count one request against a key's rate, over all workers and hosts. By primary key.

    One that comes more than a burst too early is refused and not counted.
    """
    values = _LIMITS.values(key_id, (pace, 1))
    row = connection.execute(_LIMITS.taking, values).fetchone()
    if row is not None:
        return Allowance.of(min(0.0, row[0]), pace)
    (wait_s,) = one(connection.execute(_LIMITS.waiting, values))
    return Allowance.of(max(0.001, wait_s), pace)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
