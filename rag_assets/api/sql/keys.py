"""API keys, and the rate limit of each."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.postgres.rate_limit import LimitTable, Pace
from rag_assets.retrieval.confinement import EVERYTHING, Confinement

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "admin")
_PREFIX = "rag"
_LIMITS = LimitTable("api_limits", "key_id", ("arrives_at",), refuses=True)


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret.

    :param confinement: what it may read.
    """

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    requests_per_minute: int
    created_at: datetime
    revoked_at: datetime | None
    confinement: Confinement


def create_key(
    connection: Connection,
    name: str,
    scopes: Sequence[Scope],
    *,
    requests_per_minute: int,
    confinement: Confinement = EVERYTHING,
) -> str:
    """Create a key. The returned value is the only place where its secret is visible.

    :param confinement: a confined key has the scope read only, and is stored without a scope, so
        that an earlier release, which does not know what it is confined to, refuses it.
    :raises ConfigurationError: a confined key is given another scope.
    """
    confined = confinement != EVERYTHING
    if confined and tuple(scopes) != ("read",):
        raise ConfigurationError(
            "a confined key has the scope read alone: admin sees and changes every document"
        )
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    connection.execute(
        """
        INSERT INTO api_keys (key_id, name, secret_hash, scopes, requests_per_minute,
                              corpora, versions, languages)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            *(key_id, name, _hash(secret), [] if confined else list(scopes), requests_per_minute),
            *(value and list(value) for value in vars(confinement).values()),
        ),
    )
    return f"{_PREFIX}_{key_id}_{secret}"


def list_keys(connection: Connection) -> tuple[ApiKey, ...]:
    """All keys, oldest first."""
    return fetch_all(
        connection,
        _api_key,
        """
        SELECT key_id, name, scopes, requests_per_minute, created_at, revoked_at,
               corpora, versions, languages
          FROM api_keys ORDER BY created_at
        """,
    )


def _api_key(
    *,
    scopes: list[Scope],
    corpora: list[str] | None,
    versions: list[str] | None,
    languages: list[str] | None,
    **fields: Any,
) -> ApiKey:
    confinement = Confinement(
        tuple(corpora) if corpora else None,
        tuple(versions) if versions else None,
        tuple(languages) if languages else None,
    )
    return ApiKey(
        scopes=tuple(scopes) if confinement == EVERYTHING else ("read",),
        confinement=confinement,
        **fields,
    )


def any_key(connection: Connection) -> bool:
    """Whether a key was ever created: until then the API requires none.

    Revoked keys count, so that revoking the last one does not open the API to everyone.
    """
    (found,) = one(connection.execute("SELECT EXISTS (SELECT FROM api_keys)"))
    return bool(found)


def revoke_key(connection: Connection, key_id: str) -> bool:
    """Revoke a key; false if there is none to revoke."""
    done = connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE key_id = %s AND revoked_at IS NULL",
        (key_id,),
    )
    return done.rowcount > 0


def find_key(connection: Connection, presented: str) -> ApiKey | None:
    """The valid key that was presented; ``None`` for any other. Uses the primary key.

    The secret is compared in constant time, even if there is no such key.
    """
    _, key_id, secret = [*presented.split("_", 2), "", "", ""][:3]
    found = fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT secret_hash, key_id, name, scopes, requests_per_minute, created_at, revoked_at,
               corpora, versions, languages
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
    """What is left of a key's rate.

    :param retry_after_s: 0 if the request is allowed, otherwise seconds until it will be.
    :param remaining: requests that may follow immediately.
    """

    retry_after_s: float
    remaining: int

    @classmethod
    def of(cls, wait_s: float, pace: Pace) -> Allowance:
        """The allowance of a request that is ``wait_s`` early; at most 0 means allowed."""
        if wait_s > 0:
            return cls(max(0.001, wait_s), 0)
        return cls(0.0, int(1e-6 - wait_s / pace.interval_s))


def key_pace(*, per_minute: int, burst: int) -> Pace:
    """A key's pace, in whole microseconds, which is PostgreSQL's resolution.

    :param burst: requests that may be sent immediately.
    """
    interval_s = round(60 / per_minute, 6)
    return Pace(interval_s, (burst - 1) * interval_s)


def take_request(connection: Connection, key_id: str, pace: Pace) -> Allowance:
    """Count one request against a key's rate, across all workers and hosts. Uses the primary key.

    A request that exceeds the burst is refused and not counted.
    """
    values = _LIMITS.values(key_id, (pace, 1))
    row = connection.execute(_LIMITS.taking, values).fetchone()
    if row is not None:
        return Allowance.of(min(0.0, row[0]), pace)
    (wait_s,) = one(connection.execute(_LIMITS.waiting, values))
    return Allowance.of(max(0.001, wait_s), pace)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
