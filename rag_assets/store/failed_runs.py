"""Jobs whose last run failed, as far as no later run has done what it was to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rag_assets.store.database import Connection


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

    @property
    def work(self) -> str:
        """The job's name; for a run of chosen assets, which has no job of its own, the assets."""
        return ", ".join(self.steps) if self.job.startswith("__") and self.steps else self.job


def failing_runs(connection: Connection) -> tuple[FailedRun, ...]:
    """Failures that stand, the oldest first. Uses the indexes of the failed and of ended_at.

    A failure is over once a later run has done its steps for its partition, in whatever job. A step
    without partitions (an index, a release) may have failed in a run that had one.
    """
    rows = connection.execute(
        """
        SELECT DISTINCT ON (job, partition, failed_steps)
               run_id, job, partition, failed_steps, cause, error_class, error, ended_at
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
        """
    ).fetchall()
    found = [
        FailedRun(run_id, job, partition, tuple(steps), cause, error_class, error, ended_at)
        for run_id, job, partition, steps, cause, error_class, error, ended_at in rows
    ]
    return tuple(sorted(found, key=lambda one: one.ended_at))


def forget_failures(connection: Connection, cause: str) -> None:
    """Let failures of this cause stand no longer: an operator has dealt with them."""
    connection.execute("UPDATE ended_runs SET cause = NULL WHERE cause = %s", (cause,))
