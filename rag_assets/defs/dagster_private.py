"""All private parts of Dagster that this project uses: modules, tags and message formats.

Its tables are read in :mod:`rag_assets.operations.sql.dagster_state`. Dagster is pinned to a minor
series; after an upgrade ``rag_assets_tests/defs/test_dagster_private.py`` shows what has changed.
"""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._cli.api import grpc_command
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.errors import (
    DagsterAssetCheckFailedError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
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
from dagster._grpc.server import DagsterApiServer
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value, serialize_value
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

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


def use_engine(storage: DagsterPostgresStorage, engine: Any) -> None:
    """Let the three storages of an instance take their connections from one SQLAlchemy engine."""
    for part in (storage.event_log_storage, storage.run_storage, storage.schedule_storage):
        cast("Any", part)._engine = engine


def is_in_postgres(instance: dg.DagsterInstance) -> bool:
    """Whether the instance has its events, and with them its runs, in PostgreSQL."""
    return isinstance(instance.event_log_storage, PostgresEventLogStorage)


def serve_code(options: Sequence[str], runs: BaseContext) -> None:
    """Serve the definitions as ``dagster api grpc`` does with these options.

    :param runs: the context in which the process of each run is started; Dagster always spawns it.
    """
    prepare = DagsterApiServer.__init__

    def prepare_and_replace(self: Any, *args: Any, **options: Any) -> None:
        prepare(self, *args, **options)
        self._mp_ctx = runs

    cast("Any", DagsterApiServer).__init__ = prepare_and_replace
    grpc_command(list(options))


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


@dataclass(frozen=True)
class Step:
    """The step of a run that events are reported for."""

    run_id: str
    job_name: str
    key: str | None


RUNLESS = Step(RUNLESS_RUN_ID, RUNLESS_JOB_NAME, None)
"""For events outside of runs."""


def step_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Step:
    """Return the step that is being executed."""
    step = context.op_execution_context.get_step_execution_context().step
    return Step(context.run.run_id, context.run.job_name, step.key)


def store_materializations(
    instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization], step: Step = RUNLESS
) -> None:
    """Store materializations, those of one asset in one statement: 0.3 ms each instead of 12.

    Dagster updates an asset's entry from the last event alone, so that assets must not be mixed.
    """
    of_asset: defaultdict[dg.AssetKey, list[EventLogEntry]] = defaultdict(list)
    kind = DagsterEventType.ASSET_MATERIALIZATION
    for one in events:
        of_asset[one.asset_key].append(_entry(step, kind, StepMaterializationData(one)))
    for entries in of_asset.values():
        instance.event_log_storage.store_event_batch(entries)


def store_evaluations(
    instance: dg.DagsterInstance, evaluations: Sequence[dg.AssetCheckEvaluation], step: Step
) -> None:
    """Store evaluations of one check, one per partition, as this run's.

    A result that a check returns is of the run's only partition, and outside of runs Dagster takes
    only the first evaluation. On PostgreSQL all are stored in one transaction.
    """
    if not evaluations:
        return
    kind = DagsterEventType.ASSET_CHECK_EVALUATION
    entries = [_entry(step, kind, evaluation) for evaluation in evaluations]
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        for entry in entries:
            instance.handle_new_event(entry)
        return
    executions = AssetCheckExecutionsTable
    with storage.index_transaction() as connection:
        statement = storage.prepare_insert_event_batch(entries)
        stored = connection.execute(statement.returning(SqlEventLogStorageTable.c.id)).scalars()
        rows = [_execution(*one) for one in zip(entries, evaluations, stored, strict=True)]
        same = ("asset_key", "check_name", "run_id")
        connection.execute(  # a run over partitions has planned rows
            executions.delete().where(
                *(executions.c[name] == rows[0][name] for name in same),
                executions.c.partition.in_([row["partition"] for row in rows]),
            )
        )
        connection.execute(executions.insert().values(rows))


def _entry(step: Step, kind: DagsterEventType, data: Any) -> EventLogEntry:
    happened = DagsterEvent(kind.value, step.job_name, step_key=step.key, event_specific_data=data)
    make: Callable[..., EventLogEntry] = EventLogEntry  # its constructor has no types
    return make(
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=step.run_id,
        timestamp=time.time(),
        step_key=step.key,
        job_name=step.job_name,
        dagster_event=happened,
    )


def _execution(
    entry: EventLogEntry, evaluation: dg.AssetCheckEvaluation, event_id: int
) -> dict[str, Any]:
    status, target = AssetCheckExecutionRecordStatus, evaluation.target_materialization_data
    return {
        "asset_key": evaluation.asset_key.to_string(),
        "check_name": evaluation.check_name,
        "partition": evaluation.partition,
        "run_id": entry.run_id,
        "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
        "evaluation_event": serialize_value(entry),
        "evaluation_event_timestamp": datetime.fromtimestamp(entry.timestamp, UTC).replace(
            tzinfo=None
        ),
        "evaluation_event_storage_id": event_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }


def check_targets(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: Sequence[str]
) -> Mapping[str, AssetCheckEvaluationTargetMaterializationData]:
    """The last materialization of each of these partitions that has one.

    An evaluation of any other reads as not executed.
    """
    last = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, DagsterEventType.ASSET_MATERIALIZATION, set(partitions)
    )
    if not last:
        return {}
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, storage_ids=list(last.values())), limit=len(last)
    )
    return {
        str(record.partition_key): AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in found.records
    }


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
