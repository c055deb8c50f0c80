"""Capacity records: measure a day from data that is deleted later, and keep one row per day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date, datetime
from typing import Any, LiteralString

from psycopg import sql

from rag_assets.postgres.database import Connection, fetch_all, one


@dataclass(frozen=True)
class Measured:
    """Figures of a period.

    :param jobs: successful attempts at documents, which ``mean_seconds`` and ``p95_seconds``
        describe; ``failed`` are retried, ``dead`` are not.
    :param queue_peak: maximum number of waiting documents, over all lanes.
    :param runs: Dagster runs that ended; ``failed_runs`` of them failed.
    :param busy_share: time that document runs worked, as a share of what all allowed runs could.
    :param requests: from ledger entries that were last updated in the period.
    :param vectors: the current number, not the period's; ``database_bytes`` likewise.
    """

    jobs: int
    failed: int
    dead: int
    mean_seconds: float | None
    p95_seconds: float | None
    queue_peak: int
    runs: int
    failed_runs: int
    busy_share: float | None
    requests: int
    rate_limited: int
    tokens: int
    cost_usd: float | None
    vectors: int
    database_bytes: int


@dataclass(frozen=True)
class CapacityDay:
    """The record of one day."""

    day: date
    measured: Measured
    recorded_at: datetime


_FIGURES = tuple(field.name for field in fields(Measured))
_ATTEMPTS: LiteralString = """
    SELECT count(*) FILTER (WHERE outcome = 'succeeded'),
           count(*) FILTER (WHERE outcome IN ('failed', 'lost')),
           count(*) FILTER (WHERE outcome = 'dead'),
           avg(seconds) FILTER (WHERE outcome = 'succeeded'),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds)
               FILTER (WHERE outcome = 'succeeded')
      FROM (SELECT outcome, extract(epoch FROM ended_at - started_at)::float8 AS seconds
              FROM document_attempts WHERE ended_at >= %(since)s AND ended_at < %(until)s) AS ended
"""
_QUEUE: LiteralString = """
    SELECT coalesce(max(waiting), 0)
      FROM (SELECT sum(waiting) AS waiting FROM queue_samples
             WHERE sampled_at >= %(since)s AND sampled_at < %(until)s GROUP BY sampled_at) AS s
"""
_RUNS: LiteralString = """
    SELECT count(*) FILTER (WHERE ended_at < %(until)s),
           count(*) FILTER (WHERE ended_at < %(until)s AND status = 'FAILURE'),
           coalesce(sum(extract(epoch FROM least(ended_at, %(until)s)
                                           - greatest(started_at, %(since)s)))
                    FILTER (WHERE lane = ANY(%(lanes)s) AND started_at < %(until)s), 0)::float8
      FROM ended_runs WHERE ended_at >= %(since)s
"""
_LEDGER: LiteralString = """
    SELECT coalesce(sum(requests), 0)::bigint, coalesce(sum(rate_limited), 0)::bigint,
           coalesce(sum(tokens), 0)::bigint,
           CASE WHEN bool_or(cost_usd IS NULL) THEN NULL
                ELSE coalesce(sum(cost_usd), 0)::float8 END
      FROM embedding_ledger WHERE last_at >= %(since)s AND last_at < %(until)s
"""


def measure(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    lanes: Sequence[str],
    allowed_runs: int,
) -> Measured:
    """Measure a period, excluding its end.

    Uses the indexes on ``ended_at`` and the samples' primary key. Scans the ledger, and one index
    of each vector table.

    :param lanes: lanes whose runs count for ``busy_share``; ``allowed_runs``: their concurrency.
    """
    values = {"since": since, "until": until, "lanes": list(lanes)}
    jobs, failed, dead, mean_seconds, p95_seconds = one(connection.execute(_ATTEMPTS, values))
    (queue_peak,) = one(connection.execute(_QUEUE, values))
    runs, failed_runs, busy_s = one(connection.execute(_RUNS, values))
    requests, rate_limited, tokens, cost_usd = one(connection.execute(_LEDGER, values))
    (size,) = one(connection.execute("SELECT pg_database_size(current_database())"))
    could_s = allowed_runs * (until - since).total_seconds()
    return Measured(
        jobs=jobs,
        failed=failed,
        dead=dead,
        mean_seconds=mean_seconds,
        p95_seconds=p95_seconds,
        queue_peak=int(queue_peak),
        runs=runs,
        failed_runs=failed_runs,
        busy_share=busy_s / could_s if could_s > 0 else None,
        requests=requests,
        rate_limited=rate_limited,
        tokens=tokens,
        cost_usd=cost_usd,
        vectors=_vectors(connection),
        database_bytes=size,
    )


def _vectors(connection: Connection) -> int:
    total = 0
    for (n,) in connection.execute("SELECT space_id FROM embedding_spaces").fetchall():
        for table in (f"verse_embeddings_s{n}", f"chunk_embeddings_s{n}"):
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            total += one(connection.execute(statement))[0]
    return total


def record_day(connection: Connection, day: date, measured: Measured, ended_at: datetime) -> None:
    """Insert or replace a day's record. Uses the primary key.

    A record rewritten after its day ended keeps the vectors and bytes measured first.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, _FIGURES))
    kept = [
        sql.SQL(
            "{name} = CASE WHEN c.recorded_at >= {ended} THEN c.{name} ELSE EXCLUDED.{name} END"
        ).format(name=sql.Identifier(name), ended=sql.Literal(ended_at))
        for name in ("vectors", "database_bytes")
    ]
    replaced = [
        sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name))
        for name in (*_FIGURES, "recorded_at")
        if name not in {"vectors", "database_bytes"}
    ]
    connection.execute(
        sql.SQL(
            "INSERT INTO capacity_days AS c (day, {names}) VALUES (%s{values})"
            " ON CONFLICT (day) DO UPDATE SET {changes}"
        ).format(
            names=names,
            values=sql.SQL(", %s") * len(_FIGURES),
            changes=sql.SQL(", ").join([*replaced, *kept]),
        ),
        (day, *astuple(measured)),
    )


def capacity_days(connection: Connection) -> tuple[CapacityDay, ...]:
    """Return all records in order of days. Uses the primary key."""
    return fetch_all(
        connection,
        _capacity_day,
        sql.SQL("SELECT day, recorded_at, {names} FROM capacity_days ORDER BY day").format(
            names=sql.SQL(", ").join(map(sql.Identifier, _FIGURES))
        ),
    )


def _capacity_day(*, day: date, recorded_at: datetime, **figures: Any) -> CapacityDay:
    return CapacityDay(day, Measured(**figures), recorded_at)


def recorded_days(connection: Connection) -> dict[date, datetime]:
    """Return when each day was recorded."""
    rows = connection.execute("SELECT day, recorded_at FROM capacity_days").fetchall()
    return dict(rows)


def watched_since(connection: Connection) -> datetime:
    """Return when the corpus was installed, or when its oldest data was recorded if restored ones
    are older. Uses the indexes on the samples' and attempts' times.
    """
    first: datetime
    (first,) = one(
        connection.execute(
            """
            SELECT least((SELECT min(applied_at) FROM schema_migrations),
                         (SELECT min(sampled_at) FROM queue_samples),
                         (SELECT min(ended_at) FROM document_attempts))
            """
        )
    )
    return first
