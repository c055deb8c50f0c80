"""EndedAttempts attempts at documents: all-time totals, and recent ones.

A trigger on ``documents`` writes the rows, in the transaction that ends the attempt. The metrics
call one attempt at one document a *job*.
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
    """All-time totals of one lane's attempts with one outcome.

    :param buckets: non-cumulative counts by duration, with the upper :func:`bounds`; the last
        bucket has no upper bound.
    """

    lane: Lane
    outcome: str
    attempts: int
    seconds: float
    buckets: tuple[int, ...]


@dataclass(frozen=True)
class EndedAttempts:
    """Attempts that ended in a period, with the same lane, outcome and error class."""

    lane: Lane
    outcome: str
    error_class: str | None
    attempts: int
    mean_s: float
    last_at: datetime


def bounds(connection: Connection) -> tuple[float, ...]:
    """Return the upper bounds of the histogram's buckets, in seconds, ascending."""
    return tuple(one(connection.execute("SELECT attempt_bounds()"))[0])


def totals(connection: Connection) -> tuple[AttemptTotals, ...]:
    """Return all-time totals. Uses the index on attempts that are not counted yet."""
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
    """Add attempts that ended since the last call to the stored totals; return their number.

    A single statement, because a second one would mark rows that the first did not count.
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


def ended_since(connection: Connection, since: datetime) -> tuple[EndedAttempts, ...]:
    """Group attempts ended since then by lane, outcome and error class. Uses the ended_at index."""
    return fetch_all(
        connection,
        EndedAttempts,
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
    """Delete counted attempts that ended longer ago. Uses the index on ended_at."""
    return connection.execute(
        "DELETE FROM document_attempts WHERE counted AND"
        " ended_at < now() - make_interval(secs => %s * 86400)",
        (days,),
    ).rowcount
