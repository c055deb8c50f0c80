"""The private parts of Dagster that we use are unchanged. Start here after upgrades.

What comes of it is held by other tests: configuration that a run's first step refuses by
``test_launchpad.py``, documents that read failed by ``test_document_lane.py``, the launcher by
``deployment/test_celery.py``.
"""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.schema import DaemonHeartbeatsTable, RunsTable, RunTagsTable
from dagster._core.storage.schedules.schema import InstigatorsTable
from dagster._utils import get_run_crash_explanation

from rag_assets.defs import dagster_private
from rag_assets.defs.dagster_private import fault_of
from rag_assets.operations.sql.dagster_state import ProcessFault


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (-9, ProcessFault("killed by signal 9 (SIGKILL)", 9)),
        (-15, ProcessFault("killed by signal 15 (SIGTERM)", 15)),
        (1, ProcessFault("exited with code 1")),
    ],
)
def test_a_fault_is_parsed_from_dagsters_messages(code: int, fault: ProcessFault) -> None:
    assert fault_of(get_run_crash_explanation("Run execution process for x", code)) == fault


def test_a_worker_without_heartbeats_is_a_fault() -> None:
    reason = "rag_processing@host has sent no heartbeat of it for 21 s"
    assert fault_of(f"Detected run worker status FAILED: '{reason}'") == ProcessFault(reason)


def test_other_events_are_no_faults() -> None:
    assert fault_of("Started process for run (pid: 17).") is None


def test_tags_on_stored_runs_keep_their_names() -> None:
    assert dagster_private.PARTITION_TAG == "dagster/partition"
    assert dagster_private.RANGE_TAGS == (
        "dagster/asset_partition_range_start",
        "dagster/asset_partition_range_end",
    )
    assert dagster_private.PRIORITY_TAG == "dagster/priority"
    assert dagster_private.RETRY_NUMBER_TAG == "dagster/retry_number"
    assert dagster_private.WILL_RETRY_TAG == "dagster/will_retry"
    assert dagster_private.RETRIED_BY_TAG == "dagster/auto_retry_run_id"


def test_the_tables_have_the_columns_that_are_read() -> None:
    columns = {
        table.name: set(table.columns.keys())
        for table in (
            RunsTable,
            RunTagsTable,
            DaemonHeartbeatsTable,
            SqlEventLogStorageTable,
            InstigatorsTable,
        )
    }
    read = {
        "runs": {
            *("run_id", "pipeline_name", "status"),
            *("create_timestamp", "start_time", "end_time"),
        },
        "run_tags": {"run_id", "key", "value"},
        "daemon_heartbeats": {"daemon_type", "timestamp"},
        "event_logs": {
            *("id", "run_id", "dagster_event_type", "timestamp"),
            *("asset_key", "partition"),
        },
        "instigators": {"status", "instigator_body"},
    }
    missing = {name: wanted - columns[name] for name, wanted in read.items()}
    assert not any(missing.values()), missing


def test_a_failed_blocking_check_ends_its_step_with_the_known_error() -> None:
    @dg.asset
    def made() -> None: ...

    @dg.asset_check(asset=made, blocking=True)
    def wrong() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    result = dg.materialize([made, wrong], raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.error is not None
    assert failed.step_failure_data.error.cls_name == dagster_private.BLOCKED_BY_A_CHECK
