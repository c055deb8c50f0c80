"""Dagster's own state, read from its database: runs, and the daemon's heartbeats.

Only the columns that Dagster filters by are read; no run is deserialized. What must outlive
Dagster's rows is kept in ``ended_runs`` and ``run_totals`` of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from rag_assets.lanes import LANE_TAG
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.release.refusal import PlannedWork

_NO_PROCESS_YET = ("QUEUED", "NOT_STARTED")
AT_WORK = ("STARTING", "STARTED", "CANCELING")
"""Statuses of runs under way that have a process, or are about to."""
UNDER_WAY = (*_NO_PROCESS_YET, *AT_WORK)
"""Statuses of a run between its creation and its end."""
TAKES_WORK = tuple(status for status in UNDER_WAY if status != "CANCELING")
"""Statuses of runs that claim documents, or will: a run that is being canceled claims no more."""
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")
RUN_FAILURE = "RunFailure"
"""Error class of a run that ended outside of any step, for which Dagster stored no error."""


@dataclass(frozen=True)
class RunCount:
    """Number of runs under way with the same job, lane (its tag, or ``None``) and status.

    :param oldest_s: seconds since the oldest was created.
    """

    job: str
    lane: str | None
    status: str
    runs: int
    oldest_s: float


@dataclass(frozen=True)
class Failure:
    """Why a run failed, according to its events.

    :param error_class: the name of the error's class; ``error``: its message.
    :param transient: whether errors of this class are retried.
    :param retried: whether Dagster retries the run.
    """

    error_class: str
    error: str
    transient: bool = False
    retried: bool = False


@dataclass(frozen=True)
class ProcessFault:
    """How a run's process ended unexpectedly.

    :param description: such as ``killed by signal 9 (SIGKILL)``.
    :param signal: the signal that killed it, if any.
    """

    description: str
    signal: int | None = None

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True)
class EndedRun:
    """A run that ended.

    :param fault: ``None`` unless its process ended unexpectedly.
    :param partition: its key, or the first and last of a range; or empty.
    :param done_steps: steps that succeeded; ``failed_steps``: steps that did not.
    :param cause: the key that groups equal failures; ``None`` if it is not reported as an incident.
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
    """All-time number and total seconds of a job's runs that ended with one status."""

    job: str
    status: str
    runs: int
    seconds: float


def runs_under_way(dagster: Connection) -> tuple[RunCount, ...]:
    """Count the runs queued or in progress. Uses Dagster's index on the status.

    :param dagster: a connection to Dagster's database, which may not have its tables yet.
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


def planned_works(dagster: Connection, *, but: str = "") -> tuple[PlannedWork, ...]:
    """Return what the runs under way will materialize. Uses Dagster's indexes on status and run.

    :param but: a run to leave out.
    """
    try:
        rows = dagster.execute(
            """
            SELECT DISTINCT r.run_id, e.asset_key, e.partition
              FROM runs r JOIN event_logs e USING (run_id)
             WHERE r.status = ANY(%s) AND r.run_id <> %s
               AND e.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
               AND e.asset_key IS NOT NULL
            """,
            (list(TAKES_WORK), but),
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return ()
    return tuple(PlannedWork(run, json.loads(asset)[-1], part) for run, asset, part in rows)


def late_for_their_run(dagster: Connection, upstream: Mapping[str, str]) -> tuple[str, ...]:
    """Return the assets whose upstream asset another run materialized after their last run began.

    Uses Dagster's index on the asset and kind of an event.

    :param upstream: by asset, the one that it depends on.
    """
    try:
        rows = dagster.execute(
            """
            SELECT asset
              FROM unnest(%s::text[], %s::text[], %s::text[]) AS given (asset, key, upstream_key)
              CROSS JOIN LATERAL (
                       SELECT run_id FROM event_logs WHERE asset_key = key
                          AND dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED'
                        ORDER BY id DESC LIMIT 1) AS planned
              CROSS JOIN LATERAL (
                       SELECT run_id, timestamp FROM event_logs WHERE asset_key = upstream_key
                          AND dagster_event_type = 'ASSET_MATERIALIZATION'
                        ORDER BY id DESC LIMIT 1) AS made
              JOIN runs r ON r.run_id = planned.run_id
             WHERE made.run_id <> r.run_id
               AND made.timestamp > to_timestamp(r.start_time) AT TIME ZONE 'UTC'
            """,
            (
                list(upstream),
                [json.dumps([name]) for name in upstream],
                [json.dumps([name]) for name in upstream.values()],
            ),
        ).fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return ()
    return tuple(row[0] for row in rows)


def is_stopped(dagster: Connection, instigator: str) -> bool:
    """Return whether an operator stopped this sensor or schedule. Scans the table, a few rows."""
    try:
        row = dagster.execute(
            """
            SELECT FROM instigators
             WHERE status = 'STOPPED' AND instigator_body::jsonb #>> '{origin,job_name}' = %s
            """,
            (instigator,),
        ).fetchone()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return False
    return row is not None


@dataclass(frozen=True)
class TaggedRun:
    """A run with all its tags."""

    run_id: str
    status: str
    tags: dict[str, str]


def tagged_runs(dagster: Connection, key: str, value: str) -> tuple[TaggedRun, ...]:
    """Return the runs with a tag. Uses Dagster's indexes on tags and on the run id."""
    try:
        return fetch_all(
            dagster,
            TaggedRun,
            """
            SELECT r.run_id, r.status, json_object_agg(t.key, t.value) AS tags
              FROM run_tags w JOIN runs r USING (run_id) JOIN run_tags t USING (run_id)
             WHERE w.key = %s AND w.value = %s GROUP BY 1, 2 ORDER BY 1
            """,
            (key, value),
        )
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return ()


def ended_runs(dagster: Connection, since: datetime) -> tuple[EndedRun, ...]:
    """Return the runs that ended since then, oldest first. Scans the runs table."""
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
    """Return the last heartbeat of each part of the daemon; empty if it never ran."""
    try:
        rows = dagster.execute("SELECT daemon_type, timestamp FROM daemon_heartbeats").fetchall()
    except psycopg.errors.UndefinedTable:
        dagster.rollback()
        return {}
    return {name: seen.replace(tzinfo=UTC) for name, seen in rows}


def last_kept(connection: Connection) -> datetime:
    """Return the end of the latest run in the corpus database; a day ago if there is none."""
    row = connection.execute("SELECT max(ended_at) FROM ended_runs").fetchone()
    return (row[0] if row else None) or datetime.now(UTC) - timedelta(days=1)


def unknown_runs(connection: Connection, runs: Sequence[EndedRun]) -> tuple[EndedRun, ...]:
    """Return those of these runs that are not stored yet. Uses the primary key."""
    rows = connection.execute(
        "SELECT run_id FROM ended_runs WHERE run_id = ANY(%s)", ([run.run_id for run in runs],)
    )
    known = {row[0] for row in rows}
    return tuple(run for run in runs if run.run_id not in known)


def keep_ended_runs(connection: Connection, runs: Sequence[EndedRun]) -> tuple[EndedRun, ...]:
    """Store and count ended runs, each once; return the new ones.

    Pass runs from an hour before :func:`last_kept` on: known ones are ignored.
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
                [_row(run) for run in new],
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


def _row(run: EndedRun) -> tuple[object, ...]:
    fault = run.fault.description if run.fault else None
    why = (run.failure.error_class, run.failure.error) if run.failure else (None, None)
    return (
        *(run.run_id, run.job, run.lane, run.status, run.started_at, run.ended_at, fault),
        *(run.partition, list(run.done_steps), list(run.failed_steps), *why, run.cause),
    )


def run_totals(connection: Connection) -> tuple[RunTotals, ...]:
    """Return the all-time totals of ended runs."""
    return fetch_all(
        connection,
        RunTotals,
        "SELECT job, status, runs, seconds FROM run_totals ORDER BY job, status",
    )


def delete_ended_runs(connection: Connection, days: float) -> int:
    """Delete runs that ended longer ago; they stay in the totals. Return the number deleted."""
    return connection.execute(
        "DELETE FROM ended_runs WHERE ended_at < now() - make_interval(secs => %s * 86400)",
        (days,),
    ).rowcount
