"""What is noted every half minute: the queue as it is, and what was bought until then."""

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

    :param succeeded: attempts that succeeded, ever: the difference of two is what was completed.
    """

    sampled_at: datetime
    lane: Lane
    waiting: int
    running: int
    dead: int
    succeeded: int


@dataclass(frozen=True)
class ProviderSample:
    """What one key had bought by then, ever."""

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
    """Note how the queue stands now; a row for each lane, also where it is empty."""
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
class Bought:
    """What was new with one key since its sample before: answered requests, and 429s."""

    key_fingerprint: str
    requests: int
    rate_limited: int


def add_provider_samples(connection: Connection) -> tuple[Bought, ...]:
    """Note what each key has bought until now, where that has changed; what is new with those.

    A pass over the ledger, and for each key a look into the samples' primary key.
    """
    return fetch_all(
        connection,
        Bought,
        """
        WITH paid AS (
            SELECT key_fingerprint, sum(requests)::bigint AS requests,
                   sum(rate_limited)::bigint AS rate_limited, sum(tokens)::bigint AS tokens,
                   coalesce(sum(cost_usd), 0)::float8 AS cost_usd
              FROM embedding_ledger GROUP BY key_fingerprint
        ), changed AS (
            SELECT b.*, b.requests - coalesce(s.requests, 0) AS new_requests,
                   b.rate_limited - coalesce(s.rate_limited, 0) AS new_rate_limited
              FROM paid b
              LEFT JOIN LATERAL (
                   SELECT requests, rate_limited, tokens FROM provider_samples s
                    WHERE s.key_fingerprint = b.key_fingerprint
                    ORDER BY sampled_at DESC LIMIT 1) AS s ON true
             WHERE (s.requests, s.rate_limited, s.tokens)
                   IS DISTINCT FROM (b.requests, b.rate_limited, b.tokens)
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
    """Samples of a stretch of time, in order. By primary key."""
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
    """Samples of a stretch of time, and of each key the last one before it, in order.

    By primary key: there are as few keys as a person can pay.
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
    """Delete older samples; how many. Of each key the last one stays: the next is compared with it.

    By primary key of the queue's, a pass over the provider's.
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
