"""Let a partition read as failed in a run that was started without naming its partitions."""

from collections.abc import Iterable

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent


def mark_planned(
    context: dg.AssetExecutionContext, assets: Iterable[dg.AssetKey], partition: str
) -> None:
    """Record that this run was to materialize the partition; it did not, so it reads failed.

    Dagster writes such an event for each partition that a run names when it starts. A run that
    takes what waits in a queue learns which they are only later. The events have no public
    constructor; Dagster is pinned to a minor series, and a test holds what comes of it.
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
