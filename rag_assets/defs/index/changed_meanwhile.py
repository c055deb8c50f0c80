"""A condition for automation: whether an upstream asset changed during the asset's last run.

Dagster's ``since_last_handled`` forgets all changes up to the end of a run, even those that came
too late for the run to read them.
"""

from __future__ import annotations

from typing import Any

import dagster as dg


class ChangedDuringLastRun(dg.AutomationCondition[Any]):
    """True if another run materialized an upstream asset after the asset's last run had begun.

    Evaluated where the project's code runs, which the sensor must request.
    """

    @property
    def name(self) -> str:
        return "changed_during_last_run"

    def evaluate(self, context: dg.AutomationContext[Any]) -> dg.AutomationResult[Any]:
        subset = context.candidate_subset
        if not subset.is_empty:
            graph = context.asset_graph_view
            upstream = context.asset_graph.get(context.key).parent_entity_keys
            if not changed_during_last_run(graph.instance, context.key, upstream):
                subset = context.get_empty_subset()
        return dg.AutomationResult(context, subset)


def changed_during_last_run(
    instance: dg.DagsterInstance, asset: dg.AssetKey, upstream: set[dg.AssetKey]
) -> bool:
    """Compare the last materialization of each upstream asset with the start of the asset's run."""
    last = {
        record.asset_entry.asset_key: record.asset_entry.last_materialization_record
        for record in instance.get_asset_records([asset, *upstream])
    }
    own = last.get(asset)
    run = instance.get_run_record_by_id(own.run_id) if own else None
    if own is None or run is None or run.start_time is None:
        return False
    return any(
        found is not None and found.run_id != own.run_id and found.timestamp > run.start_time
        for found in map(last.get, upstream)
    )
