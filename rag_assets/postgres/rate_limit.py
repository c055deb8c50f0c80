"""The provider's limits, shared by every process on every host through two small tables.

Requests and tokens are paced by the generic cell rate algorithm: one row a provider endpoint holds
when the next request may go, and what share of batch size and concurrency may be used. A key that
was told to rest is left alone by all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rag_assets.postgres.database import AsyncConnection


@dataclass(frozen=True)
class Pace:
    """How fast one limit may be used.

    :param interval_s: seconds that one unit (request or token) takes of the limit.
    :param burst_s: how far behind an idle limit may lag, in seconds: what may go at once.
    """

    interval_s: float
    burst_s: float


@dataclass(frozen=True)
class Slot:
    """A place in the queue for the provider.

    :param wait_s: seconds to wait before the request is sent; 0 when it may go now.
    :param share: of batch size and concurrency that may be used, from 0 to 1.
    """

    wait_s: float
    share: float


def pace(per_minute: int, *, largest: int = 1) -> Pace:
    """A pace that never lets more than ``per_minute`` units through in any 60 seconds.

    At most ``60/interval + burst`` units fit into a minute, and with them the last request, which
    is let go before its own units are counted; a twentieth of the limit is kept for the burst.

    :param largest: most units that one request takes; one that takes more oversteps by the rest.
    """
    if per_minute < 3:
        return Pace(60.0 / per_minute, 0.0)
    burst = 0.05 * per_minute
    interval = 60.0 / (per_minute - burst - largest)
    return Pace(interval, burst * interval)


async def take_slot(
    connection: AsyncConnection, endpoint: str, *, requests: Pace, tokens: Pace, cost_tokens: int
) -> Slot:
    """Reserve the next slot for one request of ``cost_tokens`` tokens. By primary key."""
    cursor = await connection.execute(
        """
        INSERT INTO provider_limits AS l (endpoint, requests_at, tokens_at)
        VALUES (%(endpoint)s, clock_timestamp() - %(request_burst)s + %(request)s,
                              clock_timestamp() - %(token_burst)s + %(tokens)s)
        ON CONFLICT (endpoint) DO UPDATE SET
            requests_at = %(request)s
                        + greatest(l.requests_at, clock_timestamp() - %(request_burst)s),
            tokens_at = %(tokens)s
                      + greatest(l.tokens_at, clock_timestamp() - %(token_burst)s)
        RETURNING extract(epoch FROM greatest(requests_at - %(request)s, tokens_at - %(tokens)s)
                                     - clock_timestamp())::float8, share
        """,
        {
            "endpoint": endpoint,
            "request": timedelta(seconds=requests.interval_s),
            "request_burst": timedelta(seconds=requests.burst_s),
            "tokens": timedelta(seconds=tokens.interval_s * cost_tokens),
            "token_burst": timedelta(seconds=tokens.burst_s),
        },
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
