"""Failures that Dagster's daemon should have retried, and missed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import should_retry

from rag_assets.defs.operations.dagster_runs import repeat_failures

RETRIES = {
    "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
}


@dg.op
def fails() -> None:
    raise ValueError("its own fault")


@dg.job
def some_job() -> None:
    fails()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path), RETRIES) as made:
        yield made


def failures(instance: dg.DagsterInstance, run_id: str) -> int:
    return len(instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE))


def run_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def test_a_missed_failure_is_reported_again(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(some_job)
    # What the daemon sees that reads the failure in the moment before the run counts as failed.
    assert not should_retry(run, instance)
    instance.report_run_failed(run, "its worker is gone")
    assert repeat_failures(instance) == (), "the daemon may be about to start it"
    (told,) = repeat_failures(instance, patience_s=0)
    assert run.run_id in told
    assert failures(instance, run.run_id) == 2
    assert should_retry(run_of(instance, run.run_id), instance)
    assert repeat_failures(instance, patience_s=0) == ()


def test_retried_and_permanently_failed_runs_are_ignored(
    instance: dg.DagsterInstance,
) -> None:
    again = instance.create_run_for_job(some_job)
    instance.report_run_failed(again, "its worker is gone")
    instance.add_run_tags(again.run_id, {"dagster/auto_retry_run_id": "another"})
    by_itself = some_job.execute_in_process(instance=instance, raise_on_error=False)
    assert repeat_failures(instance, patience_s=0) == ()
    assert failures(instance, again.run_id) == failures(instance, by_itself.run_id) == 1
