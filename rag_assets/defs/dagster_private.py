"""All private parts of Dagster that this project uses: modules, tags and message formats.

Its tables are read in :mod:`rag_assets.operations.sql.dagster_state`. Dagster is pinned to a minor
series; after an upgrade ``rag_assets_tests/defs/test_dagster_private.py`` shows what has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.errors import (
    DagsterAssetCheckFailedError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage import tags
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value, serialize_value

from rag_assets.operations.sql.dagster_state import ProcessFault

# The types of a launcher's interface, which every launcher outside of Dagster imports like this.
__all__ = ["CheckRunHealthResult", "ExecuteRunArgs", "LaunchRunContext", "WorkerStatus",
           "pack_value"]  # fmt: skip

STAYS_QUEUED = DagsterUserCodeUnreachableError
"""The only error of a launcher that leaves a run in the queue."""
BLOCKED_BY_A_CHECK = DagsterAssetCheckFailedError.__name__
"""Error class with which a blocking check ends its step."""

PARTITION_TAG = tags.PARTITION_NAME_TAG
RANGE_TAGS = tags.ASSET_PARTITION_RANGE_START_TAG, tags.ASSET_PARTITION_RANGE_END_TAG
PRIORITY_TAG = tags.PRIORITY_TAG
AUTOMATION_TAG = tags.AUTOMATION_CONDITION_TAG
RETRY_NUMBER_TAG = tags.RETRY_NUMBER_TAG
"""On retries that Dagster started."""
WILL_RETRY_TAG = tags.WILL_RETRY_TAG
"""On a failed run that will be retried."""
RETRIED_BY_TAG = tags.AUTO_RETRY_RUN_ID_TAG
"""On a failed run: the id of its retry."""


def options_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, op: str
) -> Mapping[str, Any] | None:
    """Return the resolved configuration of another step of this run; ``None`` without that step."""
    step = context.op_execution_context.get_step_execution_context()
    found = step.resolved_run_config.ops.get(op)
    return None if found is None else cast("Mapping[str, Any]", found.config or {})


def mark_planned(
    context: dg.AssetExecutionContext, assets: Iterable[dg.AssetKey], partition: str
) -> None:
    """Record that this run planned to materialize the partition, so that it shows as failed.

    Dagster writes such an event for each partition that is known when a run starts. A run over a
    queue learns its partitions only later.
    """
    for asset in assets:
        context.instance.report_dagster_event(
            DagsterEvent.build_asset_materialization_planned_event(
                context.job_name,
                context.get_step_execution_context().step.key,
                AssetMaterializationPlannedData(asset, partition=partition),
            ),
            run_id=context.run.run_id,
        )


def report_evaluation(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    evaluation: dg.AssetCheckEvaluation,
) -> None:
    """Report a partition's evaluation as this run's: outside of runs only the first is taken.

    A result that a check returns is of the run's only partition.
    """
    step = context.op_execution_context.get_step_execution_context()
    context.instance.report_dagster_event(
        DagsterEvent.asset_check_evaluation(step, evaluation), run_id=context.run.run_id
    )


def check_targets(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The partition's last materialization: an evaluation of any other reads as not executed."""
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[partition])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return None


def failed_partitions(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, partitions: Sequence[str]
) -> tuple[str, ...]:
    """Those of these partitions whose last evaluation of a check failed."""
    infos = instance.event_log_storage.get_asset_check_partition_info(
        [check], partition_keys=list(partitions)
    )
    return tuple(
        str(info.partition_key)
        for info in infos
        if info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
    )


def forget_partition(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str) -> None:
    """Delete what Dagster recorded of one partition of an asset, which then shows as missing.

    The storage of the open-source version does not implement ``wipe_asset_partitions``.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"{type(storage).__name__} stores events in no SQL database")
    key = asset.to_string()
    for table in (SqlEventLogStorageTable, AssetCheckExecutionsTable):
        delete = table.delete().where(table.c.asset_key == key, table.c.partition == partition)
        with storage.index_connection() as connection:
            connection.execute(delete)
    newest = instance.fetch_materializations(asset, limit=1).records
    kept = serialize_value(newest[0].event_log_entry) if newest else None
    update = AssetKeyTable.update().where(AssetKeyTable.c.asset_key == key)
    with storage.index_connection() as connection:  # the catalog's copy of the newest event
        connection.execute(update.values(last_materialization=kept))
    instance.wipe_asset_cached_status([asset])


def folders_of(instance: dg.DagsterInstance) -> tuple[Path, ...]:
    """The local folders in which runs leave results, and their output."""
    folders = [Path(instance.storage_directory()).parent]
    manager = instance.compute_log_manager
    if isinstance(manager, LocalComputeLogManager):
        folders.append(Path(manager.get_captured_local_path(["run"], "out")).parent)
    return tuple(folders)


def tag_limits(instance: dg.DagsterInstance) -> Mapping[tuple[str, str], int]:
    """Return the limits of concurrent runs in ``dagster.yaml``, by tag and value."""
    queue = instance.get_concurrency_config().run_queue_config
    limits = queue.tag_concurrency_limits if queue else ()
    return {
        (limit["key"], limit["value"]): limit["limit"]
        for limit in limits
        if isinstance(limit.get("value"), str)
    }


_SIGNAL = re.compile(r"(?:was terminated by|exited prematurely:) signal (\d+)( \(\w+\))?")
_EXIT = re.compile(r"unexpectedly (exited with code -?\d+)")
_SILENT = re.compile(r"([^\s']+ has sent no heartbeat of it for \d+ s)")
_POD = re.compile(r"Container '\S+' status: Terminated with exit code (\d+)")
_TIMED_OUT = re.compile(r"[Tt]imed out .*?(longer than .*? to start)")


def fault_of(message: str) -> ProcessFault | None:
    """Parse an engine event about a process that ended unexpectedly; ``None`` for any other.

    Dagster has no field for it: the formats are those of Dagster's crash explanation, Celery,
    Kubernetes, and our launcher.
    """
    pod = _POD.search(message)
    if pod is not None:  # codes above 128 denote a signal, e.g. 137 when memory runs out
        code = int(pod.group(1))
        return _killed(code - 128) if code > 128 else ProcessFault(f"exited with code {code}")
    signalled = _SIGNAL.search(message)
    if signalled:
        return _killed(int(signalled.group(1)), signalled.group(2) or "")
    for pattern, text in ((_EXIT, "{}"), (_TIMED_OUT, "took {}"), (_SILENT, "{}")):
        found = pattern.search(message)
        if found:
            return ProcessFault(text.format(found.group(1)))
    return None


def _killed(number: int, name: str = "") -> ProcessFault:
    return ProcessFault(f"killed by signal {number}{name}", number)
