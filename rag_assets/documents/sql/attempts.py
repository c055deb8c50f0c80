"""How attempts at documents ended: counts that never fall, and what ended lately.

The rows are written by a trigger of the documents' table, in the transaction that ends the attempt.
A *job*, in the metrics' words, is one attempt at one document.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rag_assets.lanes import Lane
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all, one


@dataclass(frozen=True)
class AttemptTotals:
    """Attempts of one lane that ended one way, ever.

    :param buckets: how many took at most each of :func:`bounds` seconds and more than the bound
        before; the last one is what took longer than all.
    """

    lane: Lane
    outcome: str
    attempts: int
    seconds: float
    buckets: tuple[int, ...]


@dataclass(frozen=True)
class Ended:
    """Attempts that ended in a stretch of time, of one lane, outcome and class of error."""

    lane: Lane
    outcome: str
    error_class: str | None
    attempts: int
    mean_s: float
    last_at: datetime


def bounds(connection: Connection) -> tuple[float, ...]:
    """Upper bounds of the histogram's buckets, in seconds, rising."""
    return tuple(one(connection.execute("SELECT attempt_bounds()"))[0])


def totals(connection: Connection) -> tuple[AttemptTotals, ...]:
    """What ended, ever: what was counted before, and the rows that came since.

    Uses the index of the uncounted, which :func:`count_attempts` keeps short.
    """
    return fetch_all(
        connection,
        _totals,
        """
        WITH parts AS (
            SELECT lane, outcome, attempts, seconds, buckets FROM attempt_totals
             UNION ALL
            SELECT lane, outcome, attempts, seconds, buckets FROM uncounted_attempts
        )
        SELECT lane, outcome, sum(attempts)::bigint AS attempts, sum(seconds) AS seconds,
               add_arrays(buckets) AS buckets
          FROM parts GROUP BY lane, outcome ORDER BY lane, outcome
        """,
    )


def _totals(*, buckets: list[int], **fields: Any) -> AttemptTotals:
    return AttemptTotals(buckets=tuple(buckets), **fields)


def count_attempts(connection: Connection) -> int:
    """Add what ended since the last call to the totals, for good; how many rows.

    In one statement: a second one would mark what ended after the first, uncounted.
    """
    with connection.transaction():
        locks.lock_transaction(connection, locks.COUNTING_ATTEMPTS)
        (counted,) = one(
            connection.execute(
                """
                WITH added AS (
                    INSERT INTO attempt_totals AS t (lane, outcome, attempts, seconds, buckets)
                    SELECT lane, outcome, attempts, seconds, buckets FROM uncounted_attempts
                    ON CONFLICT (lane, outcome) DO UPDATE
                       SET attempts = t.attempts + EXCLUDED.attempts,
                           seconds = t.seconds + EXCLUDED.seconds,
                           buckets = add_array(t.buckets, EXCLUDED.buckets)
                ), marked AS (
                    UPDATE document_attempts SET counted = true WHERE NOT counted RETURNING 1
                )
                SELECT count(*) FROM marked
                """
            )
        )
        return int(counted)


def ended_since(connection: Connection, since: datetime) -> tuple[Ended, ...]:
    """What ended since then, by lane, outcome and class of error. Uses the index of ended_at."""
    return fetch_all(
        connection,
        Ended,
        """
        SELECT lane, outcome, error_class, count(*) AS attempts,
               avg(extract(epoch FROM ended_at - started_at))::float8 AS mean_s,
               max(ended_at) AS last_at
          FROM document_attempts WHERE ended_at >= %s
         GROUP BY lane, outcome, error_class ORDER BY lane, outcome, error_class
        """,
        (since,),
    )


def delete_attempts(connection: Connection, days: float) -> int:
    """Delete what ended longer ago and is counted; how many. Uses the index of ended_at."""
    return connection.execute(
        "DELETE FROM document_attempts WHERE counted AND"
        " ended_at < now() - make_interval(secs => %s * 86400)",
        (days,),
    ).rowcount
