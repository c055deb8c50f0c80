"""Runs on several machines: Dagster's daemon sends each run to a Celery worker and monitors it.

``deploy/celery/dagster.yaml`` names the launcher. The worker is in
:mod:`rag_assets.defs.celery_worker`, Redis in :mod:`rag_assets.operations.broker`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from celery import Celery, Task
from celery.result import denied_join_result
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tasks import create_execute_job_task
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from rag_assets.defs.dagster_private import (
    PRIORITY_TAG,
    STAYS_QUEUED,
    CheckRunHealthResult,
    ExecuteRunArgs,
    LaunchRunContext,
    WorkerStatus,
    pack_value,
)
from rag_assets.errors import BrokerUnavailableError, ConfigurationError
from rag_assets.lanes import LANE_TAG
from rag_assets.operations.broker import QUEUES, open_broker, queue_of
from rag_assets.settings.model import load_settings

_UNREACHABLE = (BrokerUnavailableError, OperationalError, RedisError, OSError)
_BETWEEN_S = 2.0  # time that a task may take from its queue to its process
_FIRST, _USUAL, _LAST = 0, 3, 6  # Redis serves the lowest number first


class LaneLauncher(CeleryRunLauncher):
    """``dagster-celery``'s launcher with our broker, one queue per lane, and heartbeats of runs.

    Celery keeps reporting a task as started when its host is lost. Each run therefore sends
    heartbeats through the broker; without them it counts as failed, and Dagster retries it. An
    outage of the broker says nothing about the runs, which continue.
    """

    def __init__(self, inst_data: Any = None) -> None:
        self._settings = load_settings()
        self._broker = open_broker(self._settings)
        super().__init__(
            default_queue=queue_of(None),
            broker=self._broker.url,
            backend=self._broker.url,
            config_source=self._broker.options(),
            inst_data=inst_data,
        )
        self._task = configure(self.celery)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: everything is a setting."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> LaneLauncher:
        """Called by Dagster when it loads ``dagster.yaml``."""
        del config_value
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send a run to its lane's queue. The task has the run's id."""
        run = context.dagster_run
        if run.job_code_origin is None:
            raise ConfigurationError(f"run {run.run_id} does not say where its code is")
        queue = queue_of(run.tags.get(LANE_TAG))
        sent = ExecuteRunArgs(
            run.job_code_origin, run.run_id, self._instance.get_ref(), set_exit_code_on_failure=True
        )
        # The result is not awaited here, so do not subscribe to it.
        with _kept_in_queue(), denied_join_result():
            self._broker.expect(run.run_id)
            self._task.si(execute_job_args_packed=pack_value(sent)).apply_async(
                task_id=run.run_id, queue=queue, priority=priority_of(run.tags)
            )
        self._instance.report_engine_event(
            f"Sent to the workers of {queue}.", run, cls=self.__class__
        )

    @property
    def supports_resume_run(self) -> bool:
        """Lost runs are retried by a new run instead."""
        return False

    def terminate(self, run_id: str) -> bool:
        """Mark a run to be interrupted, which its process does at its next heartbeat."""
        self._broker.give_up(run_id)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return running, or failed with a reason. Dagster calls it every 20 s per started run."""
        try:
            reason = self.why_lost(run.run_id)
        except _UNREACHABLE as error:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, f"the state of its worker is unknown: {_reason(error)}"
            )
        if reason is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, reason)

    def why_lost(self, run_id: str) -> str | None:
        """Return why no worker has a run that was sent; ``None`` if one has, or it is queued.

        :raises BrokerUnavailableError: its state is unknown.
        """
        task = self.celery.AsyncResult(run_id)
        state = task.state
        if state == "FAILURE":
            return f"its Celery task failed: {task.result}"
        if state in ("SUCCESS", "REVOKED"):
            return "its Celery task has ended without reporting a result"
        silence_s = self._broker.silence_s(run_id)
        if silence_s < self._settings.rag_celery_lost_s:
            return None
        if state == "PENDING" and self._waits(run_id):
            return None
        self._broker.give_up(run_id)
        where = task.info.get("hostname") if isinstance(task.info, dict) else None
        return f"{where or 'its worker'} has sent no heartbeat of it for {silence_s:.0f} s"

    def _waits(self, run_id: str) -> bool:
        """Return whether its task is in a queue, or has just left it."""
        if run_id in self._broker.waiting():
            return True
        time.sleep(_BETWEEN_S)
        heard = self._broker.silence_s(run_id) < self._settings.rag_celery_lost_s
        return heard or run_id in self._broker.waiting()

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Nothing beyond the result of the health check."""
        del run, include_container_logs
        return None


def configure(app: Celery) -> Task:
    """Replace ``dagster-celery``'s queue with ours; return its task, which executes a run."""
    app.conf.task_queues = [Queue(name) for name in QUEUES]  # type: ignore[no-untyped-call]
    app.conf.task_routes = {}
    app.conf.task_create_missing_queues = False
    return create_execute_job_task(app, shared=False)  # type: ignore[arg-type]


def priority_of(tags: Mapping[str, str]) -> int:
    """Map ``dagster/priority``, where higher numbers go first, to Celery's priority."""
    try:
        priority = int(tags.get(PRIORITY_TAG, 0))
    except ValueError:
        return _USUAL
    return _FIRST if priority > 0 else _LAST if priority < 0 else _USUAL


def end_lost_starts(instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Fail runs that were sent and got lost before they reported their start.

    Dagster checks started runs only. A run waiting for a worker is not lost.

    :returns: one sentence per lost run; empty with another launcher, or without a broker.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, LaneLauncher):
        return ()
    found: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        try:
            reason = launcher.why_lost(run.run_id)
        except _UNREACHABLE:
            return tuple(found)
        now = instance.get_run_by_id(run.run_id)
        if reason and now is not None and now.status == dg.DagsterRunStatus.STARTING:
            instance.report_run_failed(now, f"Run {run.run_id} did not start: {reason}")
            found.append(f"run {run.run_id} did not start: {reason}")
    return tuple(found)


@contextmanager
def _kept_in_queue() -> Iterator[None]:
    """Keep a run in Dagster's queue, to be retried a minute later, while the broker is down.

    Dagster does so for one error only: an unreachable code location.
    """
    try:
        yield
    except _UNREACHABLE as error:
        raise STAYS_QUEUED(f"the run could not be sent to a worker: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return our errors' message; for others only the class, as messages may contain secrets."""
    return str(error) if isinstance(error, BrokerUnavailableError) else type(error).__name__
