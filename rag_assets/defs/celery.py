"""Runs on several machines: Dagster's daemon sends each to a worker by Celery and looks after it.

``deploy/celery/dagster.yaml`` names the launcher. The worker's side is in
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

_AWAY = (BrokerUnavailableError, OperationalError, RedisError, OSError)
_BETWEEN_S = 2.0  # for which a task may be nowhere, on its way from the queue to its process
_FIRST, _USUAL, _LAST = 0, 3, 6  # Redis serves the least number first


class LaneLauncher(CeleryRunLauncher):
    """``dagster-celery``'s launcher, with our broker, queues by lane, and a look at each run.

    Celery says that a task was started, and says so for ever when its host is gone. Each run
    therefore gives a sign of life through the broker; without one it counts as failed, and Dagster
    starts it again. A broker that is away says nothing about the runs, which go on.
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
        """No configuration of its own: everything is a setting."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> LaneLauncher:
        """Called by Dagster when it loads ``dagster.yaml``."""
        del config_value
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send a run to its lane's queue. Its task bears its id."""
        run = context.dagster_run
        if run.job_code_origin is None:
            raise ConfigurationError(f"run {run.run_id} does not say where its code is")
        queue = queue_of(run.tags.get(LANE_TAG))
        sent = ExecuteRunArgs(
            run.job_code_origin, run.run_id, self._instance.get_ref(), set_exit_code_on_failure=True
        )
        # Nobody waits here for the result, so nothing is to be subscribed to.
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
        """A run that was lost is started again, by another run."""
        return False

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run when its process hears of it: within seconds, or when it is back."""
        self._broker.give_up(run_id)
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Running, or failed with what is known of why. Asked for each started run, each 20 s."""
        try:
            told = self.lost(run.run_id)
        except _AWAY as error:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, f"nothing is known of its worker: {_told(error)}"
            )
        if told is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, told)

    def lost(self, run_id: str) -> str | None:
        """What became of a run that was sent, and that nobody works on; ``None`` where it lives.

        :raises BrokerUnavailableError: nothing is known of it.
        """
        task = self.celery.AsyncResult(run_id)
        state = task.state
        if state == "FAILURE":
            return f"its Celery task failed: {task.result}"
        if state in ("SUCCESS", "REVOKED"):
            return "its Celery task has ended, and the run did not say how"
        silence_s = self._broker.silence_s(run_id)
        if silence_s < self._settings.rag_celery_lost_s:
            return None
        if state == "PENDING" and self._waits(run_id):
            return None
        self._broker.give_up(run_id)
        where = task.info.get("hostname") if isinstance(task.info, dict) else None
        return f"{where or 'its worker'} has given no sign of life of it for {silence_s:.0f} s"

    def _waits(self, run_id: str) -> bool:
        """Whether its task is in a queue, or has just left it."""
        if run_id in self._broker.waiting():
            return True
        time.sleep(_BETWEEN_S)
        heard = self._broker.silence_s(run_id) < self._settings.rag_celery_lost_s
        return heard or run_id in self._broker.waiting()

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Nothing beyond what the look at it said."""
        del run, include_container_logs
        return None


def configure(app: Celery) -> Task:
    """Our queues, in the place of ``dagster-celery``'s one, and its task, which runs a run."""
    app.conf.task_queues = [Queue(name) for name in QUEUES]  # type: ignore[no-untyped-call]
    app.conf.task_routes = {}
    app.conf.task_create_missing_queues = False
    return create_execute_job_task(app, shared=False)  # type: ignore[arg-type]


def priority_of(tags: Mapping[str, str]) -> int:
    """Celery's priority of a run: by ``dagster/priority``, of which a higher number goes first."""
    try:
        priority = int(tags.get(PRIORITY_TAG, 0))
    except ValueError:
        return _USUAL
    return _FIRST if priority > 0 else _LAST if priority < 0 else _USUAL


def end_lost_starts(instance: dg.DagsterInstance) -> tuple[str, ...]:
    """Let runs count as failed that were sent and got lost before they said that they started.

    Dagster's own look is at started runs only. A run that waits for a worker may wait for long.

    :returns: what was found, a sentence each; empty with another launcher, and without a broker.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, LaneLauncher):
        return ()
    found: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
        try:
            told = launcher.lost(run.run_id)
        except _AWAY:
            return tuple(found)
        now = instance.get_run_by_id(run.run_id)
        if told and now is not None and now.status == dg.DagsterRunStatus.STARTING:
            instance.report_run_failed(now, f"Run {run.run_id} did not start: {told}")
            found.append(f"run {run.run_id} did not start: {told}")
    return tuple(found)


@contextmanager
def _kept_in_queue() -> Iterator[None]:
    """Without a broker a run stays in Dagster's queue, and the next try is a minute later.

    Dagster does so for one kind of error only, that of code it cannot reach.
    """
    try:
        yield
    except _AWAY as error:
        raise STAYS_QUEUED(f"the run could not be sent to a worker: {_told(error)}") from None


def _told(error: Exception) -> str:
    """Its sentence where it is ours; of others the name only, for their words may hold a secret."""
    return str(error) if isinstance(error, BrokerUnavailableError) else type(error).__name__
