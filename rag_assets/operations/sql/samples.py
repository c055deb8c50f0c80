"""Samples taken every 30 seconds: the state of the queue, and the use of provider keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rag_assets.documents.sql.documents import LaneCounts
from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class QueueSample:
    """One lane at one time.

    :param succeeded: all-time successful attempts; differences give the throughput.
    """

    sampled_at: datetime
    lane: Lane
    waiting: int
    running: int
    dead: int
    succeeded: int


@dataclass(frozen=True)
class ProviderSample:
    """All-time use of one key at one time."""

    sampled_at: datetime
    key_fingerprint: str
    requests: int
    rate_limited: int
    tokens: int
    cost_usd: float


def add_queue_samples(
    connection: Connection,
    lanes: Sequence[Lane],
    counts: Mapping[Lane, LaneCounts],
    succeeded: Mapping[Lane, int],
) -> None:
    """Record the state of the queue, one row per lane, including empty lanes."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO queue_samples (sampled_at, lane, waiting, running, dead, succeeded)
            VALUES (now(), %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            [
                (lane, now.waiting, now.running, now.dead, succeeded.get(lane, 0))
                for lane in lanes
                for now in [counts.get(lane, LaneCounts(lane))]
            ],
        )


@dataclass(frozen=True)
class NewUse:
    """A key's answered requests and 429s since its previous sample."""

    key_fingerprint: str
    requests: int
    rate_limited: int


def add_provider_samples(connection: Connection) -> tuple[NewUse, ...]:
    """Record the use of each key that has changed; return the changes.

    Scans the ledger, and uses the samples' primary key for each key.
    """
    return fetch_all(
        connection,
        NewUse,
        """
        WITH paid AS (
            SELECT key_fingerprint, sum(requests)::bigint AS requests,
                   sum(rate_limited)::bigint AS rate_limited, sum(tokens)::bigint AS tokens,
                   coalesce(sum(cost_usd), 0)::float8 AS cost_usd
              FROM embedding_ledger GROUP BY key_fingerprint
        ), changed AS (
            SELECT p.*, p.requests - coalesce(s.requests, 0) AS new_requests,
                   p.rate_limited - coalesce(s.rate_limited, 0) AS new_rate_limited
              FROM paid p
              LEFT JOIN LATERAL (
                   SELECT requests, rate_limited, tokens FROM provider_samples s
                    WHERE s.key_fingerprint = p.key_fingerprint
                    ORDER BY sampled_at DESC LIMIT 1) AS s ON true
             WHERE (s.requests, s.rate_limited, s.tokens)
                   IS DISTINCT FROM (p.requests, p.rate_limited, p.tokens)
        ), added AS (
            INSERT INTO provider_samples (sampled_at, key_fingerprint, requests, rate_limited,
                                          tokens, cost_usd)
            SELECT now(), key_fingerprint, requests, rate_limited, tokens, cost_usd FROM changed
            ON CONFLICT DO NOTHING
        )
        SELECT key_fingerprint, new_requests AS requests, new_rate_limited AS rate_limited
          FROM changed ORDER BY 1
        """,
    )


def queue_samples(
    connection: Connection, since: datetime, until: datetime
) -> tuple[QueueSample, ...]:
    """Return the samples of a period, in order. Uses the primary key."""
    return fetch_all(
        connection,
        QueueSample,
        """
        SELECT sampled_at, lane, waiting, running, dead, succeeded FROM queue_samples
         WHERE sampled_at BETWEEN %s AND %s ORDER BY sampled_at, lane
        """,
        (since, until),
    )


def provider_samples(
    connection: Connection, since: datetime, until: datetime
) -> tuple[ProviderSample, ...]:
    """Return the samples of a period and each key's last one before it, in order.

    Uses the primary key; there are few keys.
    """
    return fetch_all(
        connection,
        ProviderSample,
        """
        SELECT sampled_at, key_fingerprint, requests, rate_limited, tokens, cost_usd
          FROM provider_samples WHERE sampled_at BETWEEN %(since)s AND %(until)s
         UNION ALL
        SELECT DISTINCT ON (key_fingerprint)
               sampled_at, key_fingerprint, requests, rate_limited, tokens, cost_usd
          FROM (SELECT * FROM provider_samples WHERE sampled_at < %(since)s
                 ORDER BY key_fingerprint, sampled_at DESC) AS before
         ORDER BY 1, 2
        """,
        {"since": since, "until": until},
    )


def delete_samples(connection: Connection, days: float) -> int:
    """Delete older samples, except each key's last, which the next is compared with.

    Returns the number deleted. Uses the queue samples' primary key, and scans the provider samples.
    """
    queue = connection.execute(
        "DELETE FROM queue_samples WHERE sampled_at < now() - make_interval(secs => %s * 86400)",
        (days,),
    ).rowcount
    provider = connection.execute(
        """
        DELETE FROM provider_samples s
         WHERE sampled_at < now() - make_interval(secs => %s * 86400)
           AND EXISTS (SELECT FROM provider_samples later
                        WHERE later.key_fingerprint = s.key_fingerprint
                          AND later.sampled_at > s.sampled_at)
        """,
        (days,),
    ).rowcount
    return queue + provider
