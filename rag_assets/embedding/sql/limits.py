"""The provider's limits, shared by every process on every host: slots, and keys that rest.

A key that rests is used by no process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rag_assets.postgres.database import AsyncConnection
from rag_assets.postgres.rate_limit import LimitTable, Pace

_LIMITS = LimitTable("provider_limits", "endpoint", ("requests_at", "tokens_at"), also="share")


@dataclass(frozen=True)
class Slot:
    """A place in the queue for the provider.

    :param wait_s: seconds to wait before the request is sent; 0 when it may go now.
    :param share: of batch size and concurrency that may be used, from 0 to 1.
    """

    wait_s: float
    share: float


async def take_slot(
    connection: AsyncConnection, endpoint: str, *, requests: Pace, tokens: Pace, cost_tokens: int
) -> Slot:
    """Reserve the next slot for one request of ``cost_tokens`` tokens. By primary key."""
    cursor = await connection.execute(
        _LIMITS.taking, _LIMITS.values(endpoint, (requests, 1), (tokens, cost_tokens))
    )
    row = await cursor.fetchone()
    return Slot(max(0.0, float(row[0])), float(row[1])) if row else Slot(0.0, 1.0)


async def share_of(connection: AsyncConnection, endpoint: str) -> float:
    """The share that may be used now. By primary key."""
    cursor = await connection.execute(
        "SELECT share FROM provider_limits WHERE endpoint = %s", (endpoint,)
    )
    row = await cursor.fetchone()
    return float(row[0]) if row else 1.0


async def resting_keys(
    connection: AsyncConnection, endpoint: str, fingerprints: Sequence[str]
) -> dict[str, float]:
    """Seconds that each of these keys still rests, for those that do; by primary key."""
    cursor = await connection.execute(
        """
        SELECT key_fingerprint, extract(epoch FROM resting_until - clock_timestamp())::float8
          FROM provider_keys
         WHERE endpoint = %s AND key_fingerprint = ANY(%s) AND resting_until > clock_timestamp()
        """,
        (endpoint, list(fingerprints)),
    )
    return dict(await cursor.fetchall())


async def rest_key(
    connection: AsyncConnection, endpoint: str, fingerprint: str, seconds: float
) -> None:
    """Let a key rest, for every process."""
    await connection.execute(
        """
        INSERT INTO provider_keys AS k (endpoint, key_fingerprint, resting_until)
        VALUES (%s, %s, clock_timestamp() + %s)
        ON CONFLICT (endpoint, key_fingerprint) DO UPDATE
           SET resting_until = greatest(k.resting_until, EXCLUDED.resting_until)
        """,
        (endpoint, fingerprint, timedelta(seconds=seconds)),
    )


async def mark_out_of_quota(connection: AsyncConnection, endpoint: str, fingerprint: str) -> None:
    """Note when a key was last refused for want of quota, for people to see."""
    await connection.execute(
        """
        INSERT INTO provider_keys (endpoint, key_fingerprint, out_of_quota_at)
        VALUES (%s, %s, now())
        ON CONFLICT (endpoint, key_fingerprint) DO UPDATE SET out_of_quota_at = now()
        """,
        (endpoint, fingerprint),
    )
