"""All of Dagster that is not public and is leant on nevertheless: its modules, tags and words.

Its tables are read in :mod:`rag_assets.operations.sql.dagster_state`. Dagster is pinned to a minor
series; after an upgrade ``rag_assets_tests/defs/test_dagster_private.py`` says what of this has
changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._config import ConfigType
from dagster._config.errors import PostProcessingError
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
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value

from rag_assets.errors import ConfigurationError
from rag_assets.operations.sql.dagster_state import ProcessFault

# What a launcher is asked, sends and answers with: every one outside of Dagster imports it so.
__all__ = ["CheckRunHealthResult", "ExecuteRunArgs", "LaunchRunContext", "WorkerStatus",
           "pack_value"]  # fmt: skip

STAYS_QUEUED = DagsterUserCodeUnreachableError
"""The one error of a launcher after which a run stays in the queue."""
BLOCKED_BY_A_CHECK = DagsterAssetCheckFailedError.__name__
"""The class of the error by which a blocking check ends its step."""

PARTITION_TAG = tags.PARTITION_NAME_TAG
RANGE_TAGS = tags.ASSET_PARTITION_RANGE_START_TAG, tags.ASSET_PARTITION_RANGE_END_TAG
PRIORITY_TAG = tags.PRIORITY_TAG
RETRY_NUMBER_TAG = tags.RETRY_NUMBER_TAG
"""On runs that Dagster itself started again."""
WILL_RETRY_TAG = tags.WILL_RETRY_TAG
"""On a failed run: another is to be started in its place."""
RETRIED_BY_TAG = tags.AUTO_RETRY_RUN_ID_TAG
"""On a failed run: the one that was started in its place."""


def check_before_runs(op: dg.OpDefinition, check: Callable[[Mapping[str, Any]], object]) -> None:
    """Let Dagster refuse a run before it exists, where its configuration of this op is wrong.

    ``post_process`` is what Dagster calls wherever a run is launched or executed.

    :param check: raises ``ConfigurationError``.
    """
    shape = op.config_schema.config_type
    if not isinstance(shape, ConfigType):
        raise TypeError(f"{op.name} has no configuration to check")

    def post_process(given: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            check(given)
        except ConfigurationError as error:
            raise PostProcessingError(str(error)) from None
        return given

    shape.post_process = post_process  # type: ignore[method-assign]


def mark_planned(
    context: dg.AssetExecutionContext, assets: Iterable[dg.AssetKey], partition: str
) -> None:
    """Record that this run was to materialize the partition; it did not, so it reads failed.

    Dagster writes such an event for each partition that a run names when it starts. A run that
    takes what waits in a queue learns which they are only later.
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


def tag_limits(instance: dg.DagsterInstance) -> Mapping[tuple[str, str], int]:
    """How many runs with a tag and its value ``dagster.yaml`` lets be at work at once."""
    queue = instance.get_concurrency_config().run_queue_config
    limits = queue.tag_concurrency_limits if queue else ()
    return {
        (limit["key"], limit["value"]): limit["limit"]
        for limit in limits
        if isinstance(limit.get("value"), str)
    }


_SIGNAL = re.compile(r"(?:was terminated by|exited prematurely:) signal (\d+)( \(\w+\))?")
_EXIT = re.compile(r"unexpectedly (exited with code -?\d+)")
_SILENT = re.compile(r"([^\s']+ has given no sign of life of it for \d+ s)")
_POD = re.compile(r"Container '\S+' status: Terminated with exit code (\d+)")
_TIMED_OUT = re.compile(r"[Tt]imed out .*?(longer than .*? to start)")


def fault_of(message: str) -> ProcessFault | None:
    """What an engine's event says of a process that ended by itself; ``None`` for any other.

    Dagster has no field for it: the words are those of its crash explanation, of Celery's, of
    Kubernetes', and of our launcher.
    """
    pod = _POD.search(message)
    if pod is not None:  # a shell's way to tell of a signal: 137 where memory runs out
        code = int(pod.group(1))
        return _killed(code - 128) if code > 128 else ProcessFault(f"exited with code {code}")
    signalled = _SIGNAL.search(message)
    if signalled:
        return _killed(int(signalled.group(1)), signalled.group(2) or "")
    for pattern, told in ((_EXIT, "{}"), (_TIMED_OUT, "took {}"), (_SILENT, "{}")):
        found = pattern.search(message)
        if found:
            return ProcessFault(told.format(found.group(1)))
    return None


def _killed(number: int, name: str = "") -> ProcessFault:
    return ProcessFault(f"killed by signal {number}{name}", number)
