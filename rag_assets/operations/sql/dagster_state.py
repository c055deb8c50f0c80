"""Dagster's own state, read from its database: runs, and the daemon's signs of life.

Read only, by the columns that Dagster keeps for filtering: no run is unpacked. What must outlive
Dagster's own rows is kept in ``ended_runs`` and ``run_totals`` of the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from rag_assets.lanes import LANE_TAG
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all

_NO_PROCESS_YET = ("QUEUED", "NOT_STARTED")
AT_WORK = ("STARTING", "STARTED", "CANCELING")
"""Of the runs under way those that have a process, or are given one."""
UNDER_WAY = (*_NO_PROCESS_YET, *AT_WORK)
"""A run is under way from its creation until it has ended."""
TAKES_WORK = tuple(status for status in UNDER_WAY if status != "CANCELING")
"""Of the runs under way those that take documents, or will: a run being canceled takes no more."""
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")
RUN_FAILURE = "RunFailure"
"""In place of a class: the run ended outside of any step, and Dagster kept no error."""


@dataclass(frozen=True)
class RunCount:
    """Runs under way, of one job, lane (its tag, or ``None``) and status.

    :param oldest_s: seconds since the oldest of them was created.
    """

    job: str
    lane: str | None
    status: str
    runs: int
    oldest_s: float


@dataclass(frozen=True)
class Failure:
    """Why a run failed, by its events.

    :param error_class: the name of the error's class; ``error`` what it says.
    :param transient: by its class, the same call may pass later.
    :param retried: Dagster starts the run again.
    """

    error_class: str
    error: str
    transient: bool = False
    retried: bool = False


@dataclass(frozen=True)
class ProcessFault:
    """How a run's process ended by itself.

    :param told: such as ``killed by signal 9 (SIGKILL)``.
    :param signal: that killed it; ``None`` where it was no signal.
    """

    told: str
    signal: int | None = None

    def __str__(self) -> str:
        return self.told


@dataclass(frozen=True)
class EndedRun:
    """One run that ended.

    :param fault: ``None`` where its process did not end by itself.
    :param partition: its key, or the first and last of a range; empty without any.
    :param done_steps: that succeeded; ``failed_steps`` that did not end well.
    :param cause: what the failure has in common with equal ones; ``None`` where it is not reported
        as an incident.
    """

    run_id: str
    job: str
    lane: str | None
    status: str
    started_at: datetime | None
    ended_at: datetime
    fault: ProcessFault | None = None
    partition: str = ""
    done_steps: tuple[str, ...] = ()
    failed_steps: tuple[str, ...] = ()
    failure: Failure | None = None
    cause: str | None = None


@dataclass(frozen=True)
class RunTotals:
    """Runs of one job that ended one way, ever, and the seconds that they took in all."""

    job: str
    status: str
    runs: int
    seconds: float


def runs_under_way(dagster: Connection) -> tuple[RunCount, ...]:
    """What is queued or at work. Uses Dagster's index of the status.

    :param dagster: a connection to Dagster's database; without its tables yet there is nothing.
    """
    try:
        return fetch_all(
            dagster,
            RunCount,
            """
            SELECT pipeline_name AS job, t.value AS lane, status, count(*) AS runs,
                   extract(epoch FROM (now() AT TIME ZONE 'UTC') - min(create_timestamp))::float8
                       AS oldest_s
              FROM runs r LEFT JOIN run_tags t ON t.run_id = r.run_id AND t.key = %s
             WHERE status = ANY(%s) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            """,
            (LANE_TAG, list(UNDER_WAY)),
        )
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return ()


def tagged_runs(dagster: Connection, key: str, value: str) -> frozenset[str]:
    """Runs with a tag. Uses Dagster's index of the tags."""
    try:
        rows = dagster.execute(
            "SELECT run_id FROM run_tags WHERE key = %s AND value = %s", (key, value)
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return frozenset()
    return frozenset(run_id for (run_id,) in rows)


def ended_runs(dagster: Connection, since: datetime) -> tuple[EndedRun, ...]:
    """Runs that ended since then, the earliest first. By a pass over the runs' table."""
    try:
        rows = dagster.execute(
            """
            SELECT r.run_id, pipeline_name, t.value, status, start_time, end_time
              FROM runs r LEFT JOIN run_tags t ON t.run_id = r.run_id AND t.key = %s
             WHERE status = ANY(%s) AND end_time >= %s ORDER BY end_time
            """,
            (LANE_TAG, list(_ENDED), since.timestamp()),
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return ()
    return tuple(
        EndedRun(
            run_id,
            job,
            lane,
            status,
            datetime.fromtimestamp(started, UTC) if started else None,
            datetime.fromtimestamp(ended, UTC),
        )
        for run_id, job, lane, status, started, ended in rows
    )


def daemon_heartbeats(dagster: Connection) -> dict[str, datetime]:
    """When each of the daemon's parts last showed that it lives; empty when none ever did."""
    try:
        rows = dagster.execute("SELECT daemon_type, timestamp FROM daemon_heartbeats").fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return {}
    return {name: seen.replace(tzinfo=UTC) for name, seen in rows}


def last_kept(connection: Connection) -> datetime:
    """Up to when ended runs are kept in the corpus' database; a day ago when none are."""
    row = connection.execute("SELECT max(ended_at) FROM ended_runs").fetchone()
    return (row[0] if row else None) or datetime.now(UTC) - timedelta(days=1)


def unknown_runs(connection: Connection, runs: Sequence[EndedRun]) -> tuple[EndedRun, ...]:
    """Those of these runs that are not kept yet. By primary key."""
    rows = connection.execute(
        "SELECT run_id FROM ended_runs WHERE run_id = ANY(%s)", ([run.run_id for run in runs],)
    )
    known = {row[0] for row in rows}
    return tuple(run for run in runs if run.run_id not in known)


def keep_ended_runs(connection: Connection, runs: Sequence[EndedRun]) -> tuple[EndedRun, ...]:
    """Keep and count runs that ended, each once; those that were not known before.

    Ask for them from an hour before :func:`last_kept`: what is known already changes nothing.
    """
    with connection.transaction():
        locks.lock_transaction(connection, locks.KEEPING_ENDED_RUNS)
        new = unknown_runs(connection, runs)
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                INSERT INTO ended_runs (run_id, job, lane, status, started_at, ended_at, fault,
                                        partition, done_steps, failed_steps, error_class, error,
                                        cause)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                """,
                [_kept(run) for run in new],
            )
            cursor.executemany(
                """
                INSERT INTO run_totals AS t (job, status, runs, seconds) VALUES (%s, %s, 1, %s)
                ON CONFLICT (job, status) DO UPDATE
                   SET runs = t.runs + 1, seconds = t.seconds + EXCLUDED.seconds
                """,
                [
                    (r.job, r.status, (r.ended_at - r.started_at).total_seconds())
                    if r.started_at
                    else (r.job, r.status, 0.0)
                    for r in new
                ],
            )
    return new


def _kept(run: EndedRun) -> tuple[object, ...]:
    fault = run.fault.told if run.fault else None
    why = (run.failure.error_class, run.failure.error) if run.failure else (None, None)
    return (
        *(run.run_id, run.job, run.lane, run.status, run.started_at, run.ended_at, fault),
        *(run.partition, list(run.done_steps), list(run.failed_steps), *why, run.cause),
    )


def run_totals(connection: Connection) -> tuple[RunTotals, ...]:
    """Runs that ended, ever."""
    return fetch_all(
        connection,
        RunTotals,
        "SELECT job, status, runs, seconds FROM run_totals ORDER BY job, status",
    )


def delete_ended_runs(connection: Connection, days: float) -> int:
    """Delete those that ended longer ago, which stay counted; how many."""
    return connection.execute(
        "DELETE FROM ended_runs WHERE ended_at < now() - make_interval(secs => %s * 86400)",
        (days,),
    ).rowcount
