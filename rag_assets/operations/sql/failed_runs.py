"""Jobs whose last run failed, as far as no later run has done what it was to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rag_assets.operations.sql.incidents import Incident, incidents_lately
from rag_assets.postgres.database import Connection, fetch_all, one


@dataclass(frozen=True)
class FailedRun:
    """The last failure of one job on one partition.

    :param partition: empty where the job has none.
    :param cause: what equal failures have in common.
    :param steps: that failed; empty where the run ended before any of them.
    :param error: of the run's event, with what to do where the error is this project's own.
    """

    run_id: str
    job: str
    partition: str
    steps: tuple[str, ...]
    cause: str
    error_class: str
    error: str
    ended_at: datetime
    started_at: datetime | None = None

    @property
    def what(self) -> tuple[str, str, tuple[str, ...]]:
        """By which failures are of the same work: a later one takes the place of an earlier."""
        return self.job, self.partition, self.steps

    @property
    def work(self) -> str:
        """The job's name; for a run of chosen assets, which has no job of its own, the assets."""
        return ", ".join(self.steps) if self.job.startswith("__") and self.steps else self.job


@dataclass(frozen=True)
class Failing:
    """What has failed and is not done, as of one moment, and what may explain it.

    :param runs: of which the failure stands, the oldest first.
    :param incidents: of the queue that are open or ended within the last day.
    """

    at: datetime
    runs: tuple[FailedRun, ...] = ()
    incidents: tuple[Incident, ...] = ()


def failing(connection: Connection) -> Failing:
    """Everything by which failed jobs are judged, whoever reports them."""
    (now,) = one(connection.execute("SELECT now()"))
    return Failing(now, failing_runs(connection), incidents_lately(connection))


def failures_between(
    connection: Connection, since: datetime, until: datetime
) -> tuple[FailedRun, ...]:
    """Failures of that time, the oldest first, also where their work is done by now.

    Uses the index of the failed.
    """
    return fetch_all(
        connection,
        _failed_run,
        """
        SELECT run_id, job, partition, failed_steps AS steps, cause, error_class, error, ended_at,
               started_at
          FROM ended_runs
         WHERE cause IS NOT NULL AND ended_at BETWEEN %s AND %s
         ORDER BY ended_at
        """,
        (since, until),
    )


def failing_runs(connection: Connection) -> tuple[FailedRun, ...]:
    """Failures that stand, the oldest first. Uses the indexes of the failed and of ended_at.

    A failure is over once a later run has done its steps for its partition, in whatever job. A step
    without partitions (an index, a release) may have failed in a run that had one.
    """
    runs = fetch_all(
        connection,
        _failed_run,
        """
        SELECT DISTINCT ON (job, partition, failed_steps)
               run_id, job, partition, failed_steps AS steps, cause, error_class, error, ended_at,
               started_at
          FROM ended_runs f
         WHERE cause IS NOT NULL
           AND NOT EXISTS (
               SELECT FROM ended_runs s
                WHERE s.ended_at > f.ended_at
                  AND CASE WHEN f.failed_steps = '{}'
                           THEN s.job = f.job AND s.partition = f.partition
                                AND s.status = 'SUCCESS'
                           ELSE s.done_steps @> f.failed_steps
                                AND (f.partition = '' OR s.partition IN (f.partition, '')) END)
         ORDER BY job, partition, failed_steps, ended_at DESC
        """,
    )
    return tuple(sorted(runs, key=lambda run: run.ended_at))


def _failed_run(*, steps: list[str], **fields: Any) -> FailedRun:
    return FailedRun(steps=tuple(steps), **fields)


def forget_failures(connection: Connection, cause: str) -> None:
    """Let failures of this cause stand no longer: an operator has dealt with them."""
    connection.execute("UPDATE ended_runs SET cause = NULL WHERE cause = %s", (cause,))
