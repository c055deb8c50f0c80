"""What becomes of a run whose process, worker or broker is killed, hangs or is away."""

from __future__ import annotations

import re
import signal
import socket
import time
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext, WorkerStatus

from rag_assets.defs.celery import end_lost_starts
from rag_assets.defs.operations.dagster_runs import DagsterRuns
from rag_assets.operations.sql.dagster_state import EndedRun, ProcessFault
from rag_assets.settings.model import load_settings
from rag_assets_tests.defs.deployment import stop
from rag_assets_tests.deployment.celery_machine import LOST_S, Machine
from rag_assets_tests.deployment.redis_server import PASSWORD
from rag_assets_tests.secrets import everything_shown

pytestmark = pytest.mark.long


def test_a_run_that_is_killed_is_told_with_its_signal(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None)
    machine.process_of(run_id).kill()
    machine.wait(lambda: machine.launcher.why_lost(run_id), 2 * LOST_S)
    status, told = machine.health(run_id)
    assert status is WorkerStatus.FAILED
    machine.instance.report_run_failed(machine.run(run_id), told)
    ended = EndedRun(run_id, "bible_embeddings", None, "FAILURE", None, datetime.now(UTC))
    runs = DagsterRuns(machine.instance, load_settings())
    assert runs.describe(ended).fault == ProcessFault("killed by signal 9 (SIGKILL)", 9)


def test_a_run_that_hangs_counts_as_lost_and_ends_when_it_is_back(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    process = machine.process_of(run_id)
    process.suspend()
    try:
        time.sleep(LOST_S / 2)
        assert machine.health(run_id)[0] is WorkerStatus.RUNNING
        machine.wait(lambda: machine.launcher.why_lost(run_id), 2 * LOST_S)
        status, told = machine.health(run_id)
        assert status is WorkerStatus.FAILED
        assert re.fullmatch(
            rf".*@{re.escape(socket.gethostname())} has sent no heartbeat of it for \d+ s",
            told or "",
        )
        machine.instance.report_run_failed(machine.run(run_id), told)  # as Dagster's daemon does
    finally:
        process.resume()
    machine.wait(lambda: not process.is_running(), 2 * LOST_S + 10)
    # A word of its own about the failure would keep Dagster from starting it again.
    failures = machine.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert [entry.user_message or entry.message for entry in failures] == [told]
    assert machine.run(run_id).tags["dagster/will_retry"] == "true"


def test_a_broker_that_is_away_fails_no_run_and_loses_none(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    machine.redis.stop()
    try:
        time.sleep(LOST_S + 2)
        status, told = machine.health(run_id)
        assert status is WorkerStatus.RUNNING
        assert "the state of its worker is unknown" in (told or "")
        run = machine.starting()
        with pytest.raises(DagsterUserCodeUnreachableError) as refused:
            machine.launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        machine.instance.report_run_failed(run)
        assert PASSWORD not in everything_shown(refused.value)
        assert end_lost_starts(machine.instance) == ()
        told = machine.findings()
        assert set(told) == {"broker"}, "of the workers nothing is known"
        assert "the broker cannot be reached (Redis on 127.0.0.1" in told["broker"][0]
        assert told["broker"][1] == "start Redis"
    finally:
        machine.redis.start()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None), "it had no chance to say more"
    machine.redis.client().flushall()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None), "nor by one that is empty"
    time.sleep(LOST_S)
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None)
    other = machine.launch()
    machine.wait(lambda: machine.run(other).is_finished, 60)
    assert machine.status(other) == "SUCCESS"
    machine.launcher.terminate(run_id)
    machine.wait(lambda: machine.run(run_id).is_finished, 20)


def test_a_worker_ends_its_runs_before_it_ends(machine: Machine) -> None:
    machine.keep_worker()
    assert machine.worker is not None
    run_id = machine.launch()
    machine.wait(lambda: machine.status(run_id) == "STARTED", 30)
    machine.worker.send_signal(signal.SIGTERM)
    assert machine.worker.wait(60) == 0
    assert machine.status(run_id) == "SUCCESS"
    assert machine.findings() == {
        "workers": (
            "no worker takes runs of rag_processing and rag_large_docs: they wait",
            "on a worker's machine: `rag-assets worker --queue rag_processing`",
        )
    }


def test_a_run_waits_for_a_worker_and_one_that_got_lost_on_its_way_counts_as_failed(
    machine: Machine,
) -> None:
    if machine.worker is not None and machine.worker.poll() is None:
        stop(machine.worker)
    waiting = machine.launch(**{"rag/lane": "rag_large_docs"})
    lost = machine.launch()
    assert machine.broker.waiting() == {waiting, lost}
    machine.redis.client().delete("rag_processing", "rag_processing\x06\x163")
    assert end_lost_starts(machine.instance) == (), "it was sent just now"
    time.sleep(LOST_S + 1)
    (told,) = end_lost_starts(machine.instance)
    assert told.startswith(f"run {lost} did not start: its worker has sent no heartbeat")
    assert machine.status(lost) == "FAILURE"
    assert machine.status(waiting) == "STARTING"
    machine.start_worker("--queue", "rag_large_docs", "--runs", "1", queue="rag_large_docs")
    machine.wait(lambda: machine.run(waiting).is_finished, 30)
    assert machine.status(waiting) == "SUCCESS"
    assert machine.broker.workers()["rag_processing"] == ()
    assert machine.worker is not None
    stop(machine.worker)


@pytest.mark.timeout(400)
def test_without_a_broker_runs_stay_in_the_queue_and_lanes_are_paused_until_it_is_back(
    machine: Machine,
) -> None:
    machine.keep_worker()
    before = runs_of_documents(machine, "FAILURE", "CANCELED")
    machine.redis.stop()
    try:
        (machine.folder / "inbox/one.md").write_text("# One\n\nA text that waits.\n")
        with machine.daemon(user_code_failure_retry_delay=3):
            machine.wait(lambda: queued_again(machine), 120)
            paused = {"rag_processing", "rag_large_docs", "rag_bible"}
            machine.wait(lambda: machine.lanes_paused() == paused, 120)
            waiting = runs_of_documents(machine, "QUEUED", "STARTING", "NOT_STARTED")
            assert len(waiting) == 1, "nothing is started in a loop"
            machine.redis.start()
            machine.wait(lambda: machine.documents() == {"one.md": "ready"}, 120)
            machine.wait(lambda: machine.lanes_paused() == set(), 120)
            machine.wait(lambda: machine.run(*waiting).is_finished, 30)
    finally:
        machine.redis.start()
    assert machine.status(*waiting) == "SUCCESS"
    assert runs_of_documents(machine, "FAILURE", "CANCELED") == before


def runs_of_documents(machine: Machine, *statuses: str) -> set[str]:
    """Ids of the runs that process documents and are in one of these states."""
    wanted = [dg.DagsterRunStatus(status) for status in statuses]
    filters = dg.RunsFilter(job_name="document_processing", statuses=wanted)
    return {run.run_id for run in machine.instance.get_runs(filters)}


def queued_again(machine: Machine) -> bool:
    """Whether a run went back into Dagster's queue."""
    enqueued = {dg.DagsterEventType.RUN_ENQUEUED}
    return any(
        len(machine.instance.all_logs(run_id, of_type=enqueued)) > 1
        for run_id in runs_of_documents(machine, "QUEUED", "STARTING")
    )


def test_a_broker_that_keeps_no_idle_time_is_told(machine: Machine) -> None:
    client = machine.redis.client()
    client.config_set("maxmemory-policy", "allkeys-lfu")
    try:
        told, _ = machine.findings()["broker"]
        assert "An LFU maxmemory policy is selected, idle time not tracked" in told
    finally:
        client.config_set("maxmemory-policy", "noeviction")
