"""Dagster's runs, for the recovery to read and end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from rag_assets.defs.dagster_private import RETRIED_BY_TAG, WILL_RETRY_TAG, fault_of
from rag_assets.defs.operations.run_failures import describe
from rag_assets.lanes import LANE_TAG
from rag_assets.operations.sql import dagster_state
from rag_assets.operations.sql.dagster_state import EndedRun, RunCount
from rag_assets.postgres.database import open_dagster_database
from rag_assets.settings.model import Settings

_FAULT_EVENTS = {dg.DagsterEventType.ENGINE_EVENT, dg.DagsterEventType.RUN_FAILURE}
_REPEATED_TAG = "rag/reminded"


class DagsterRuns:
    """The runs of one instance. Counts are read by SQL, single runs through Dagster."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings) -> None:
        self._instance = instance
        self._database = open_dagster_database(settings)

    def under_way(self) -> Sequence[RunCount]:
        with self._database.connect() as connection:
            return dagster_state.runs_under_way(connection)

    def ended_since(self, since: datetime) -> Sequence[EndedRun]:
        with self._database.connect() as connection:
            return dagster_state.ended_runs(connection, since)

    def describe(self, run: EndedRun) -> EndedRun:
        return describe(self._instance, self._with_fault(run))

    def _with_fault(self, run: EndedRun) -> EndedRun:
        if run.status != "FAILURE":
            return run
        entries = self._instance.all_logs(run.run_id, of_type=_FAULT_EVENTS)
        faults = (fault_of(entry.user_message or entry.message) for entry in reversed(entries))
        return replace(run, fault=next(filter(None, faults), None))

    def silent(self, lane: str, living: frozenset[str], patience_s: float) -> tuple[str, ...]:
        filters = dg.RunsFilter(tags={LANE_TAG: lane}, statuses=[dg.DagsterRunStatus.STARTED])
        return tuple(
            record.dagster_run.run_id
            for record in self._instance.get_run_records(filters)
            if record.dagster_run.run_id not in living
            and record.start_time is not None
            and time.time() - record.start_time >= patience_s
        )

    def started(self) -> Mapping[str, str]:
        """Return runs started by the daemon: a run of the command line ends with its process."""
        filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        return {
            run.run_id: run.tags.get(LANE_TAG, run.job_name)
            for run in self._instance.get_runs(filters)
            if run.remote_job_origin is not None
        }

    def end(self, run_id: str, message: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, message)

    def heartbeats(self) -> Mapping[str, datetime]:
        with self._database.connect() as connection:
            return dagster_state.daemon_heartbeats(connection)


def repeat_failures(instance: dg.DagsterInstance, patience_s: float = 60) -> tuple[str, ...]:
    """Report failures again that Dagster should have retried and did not.

    Dagster's daemon reads each failure event once. If it does so just before the run's status
    changes to failed, it skips the retry although the run is tagged for one. No run is retried
    twice.

    :returns: one sentence per failure.
    """
    now = datetime.now(UTC)
    failed = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={WILL_RETRY_TAG: "true"},
        updated_after=now - timedelta(hours=1),
    )
    found: list[str] = []
    for record in instance.get_run_records(failed):
        run, ended = record.dagster_run, record.end_time or now.timestamp()
        handled = run.tags.keys() & {RETRIED_BY_TAG, _REPEATED_TAG}
        if handled or now.timestamp() - ended < patience_s:
            continue
        instance.add_run_tags(run.run_id, {_REPEATED_TAG: "true"})
        text = "should have been retried, but was not: its failure is reported again"
        instance.report_run_failed(run, f"This run {text}.")
        found.append(f"run {run.run_id} {text}")
    return tuple(found)
