"""Jobs whose last run failed, unless a later run has done the same work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rag_assets.operations.sql.incidents import Incident, recent_incidents
from rag_assets.postgres.database import Connection, fetch_all, one


@dataclass(frozen=True)
class FailedRun:
    """The last failure of one job on one partition.

    :param partition: empty if the job has none.
    :param cause: the key that groups equal failures.
    :param steps: steps that failed; empty if the run ended before any step.
    :param error: the message of the run's event, with the fix for errors of this project.
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
        """Key of the work: a later failure with the same key replaces an earlier one."""
        return self.job, self.partition, self.steps

    @property
    def work(self) -> str:
        """The job's name, or the assets of a run of selected assets, which has no job."""
        return ", ".join(self.steps) if self.job.startswith("__") and self.steps else self.job


@dataclass(frozen=True)
class Failing:
    """Unresolved failures at one time, and the incidents that may explain them.

    :param runs: oldest first.
    :param incidents: queue incidents that are open or ended within the last day.
    """

    at: datetime
    runs: tuple[FailedRun, ...] = ()
    incidents: tuple[Incident, ...] = ()


def failing(connection: Connection) -> Failing:
    """Read the unresolved failures and recent incidents as of now."""
    (now,) = one(connection.execute("SELECT now()"))
    return Failing(now, failing_runs(connection), recent_incidents(connection))


def failures_between(
    connection: Connection, since: datetime, until: datetime
) -> tuple[FailedRun, ...]:
    """Return all failures of a period, oldest first. Uses the partial index on failed runs."""
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
    """Return unresolved failures, oldest first. Uses the indexes on failed runs and on ended_at.

    A failure is resolved once a later run of any job has done its steps for its partition. A step
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
    """Mark failures with this cause as resolved by an operator."""
    connection.execute("UPDATE ended_runs SET cause = NULL WHERE cause = %s", (cause,))
