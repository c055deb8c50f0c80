"""Dagster's old runs are deleted, and every partition reads as before."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from rag_assets.defs.dagster_private import check_targets, failed_partitions
from rag_assets.operations.upkeep import delete_dagster_history
from rag_assets.postgres.database import Database

LETTERS = dg.DynamicPartitionsDefinition(name="letters")
READABLE = dg.AssetCheckKey(dg.AssetKey("letter"), "readable")


class Options(dg.Config):
    """How a run ends."""

    fails: bool = False
    readable: bool = True


@dg.asset(partitions_def=LETTERS, check_specs=[dg.AssetCheckSpec("readable", asset="letter")])
def letter(context: dg.AssetExecutionContext, config: Options) -> Iterator[Any]:
    if config.fails:
        raise dg.Failure("as told", allow_retries=False)
    yield dg.MaterializeResult(metadata={"run": context.run.run_id})
    yield dg.AssetCheckResult(passed=config.readable)


@dg.asset
def whole() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"n": 1})


def run(
    instance: dg.DagsterInstance,
    asset: dg.AssetsDefinition = letter,
    key: str | None = None,
    **options: bool,
) -> str:
    """Materialize it, and return the run's id."""
    if key is not None:
        instance.add_dynamic_partitions("letters", [key])
    result = dg.materialize(
        [asset],
        partition_key=key,
        instance=instance,
        run_config={"ops": {"letter": {"config": options}}} if options else None,
        raise_on_error=False,
    )
    return result.run_id


def reads(instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """All that the UI shows of the assets, computed without Dagster's cache."""
    key = letter.key
    instance.event_log_storage.wipe_asset_cached_status(key)
    cache = get_and_update_asset_status_cache_value(instance, key, LETTERS, instance)
    assert cache is not None
    materialized = cache.deserialize_materialized_partition_subsets(LETTERS)
    failed = cache.deserialize_failed_partition_subsets(LETTERS)
    keys = instance.get_dynamic_partitions("letters")
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, asset_partitions=keys), limit=100
    ).records
    latest: dict[str | None, Any] = {}
    for record in records:  # newest first
        assert record.asset_materialization is not None
        latest.setdefault(record.partition_key, record.asset_materialization.metadata)
    whole_event = instance.get_latest_materialization_event(whole.key)
    assert whole_event is not None
    return {
        "materialized": set(materialized.get_partition_keys()),
        "failed": set(failed.get_partition_keys()),
        "metadata": latest,
        "targets": check_targets(instance, key, keys),
        "check": instance.event_log_storage.get_latest_asset_check_execution_by_key([READABLE]),
        "rejected": failed_partitions(instance, READABLE, keys),
        "whole": whole_event.asset_materialization,
    }


@pytest.fixture
def history(instance_beside: dg.DagsterInstance, beside: Database) -> dict[str, str]:
    """Runs of which all but the last are 100 days old, by what they did."""
    runs = {
        "a, superseded": run(instance_beside, key="a", fails=False),
        "a": run(instance_beside, key="a", fails=False),
        "b, then failed": run(instance_beside, key="b", fails=False),
        "b failed": run(instance_beside, key="b", fails=True),
        "c failed": run(instance_beside, key="c", fails=True),
        "d failed, superseded": run(instance_beside, key="d", fails=True),
        "d unreadable": run(instance_beside, key="d", readable=False),
        "whole, superseded": run(instance_beside, whole),
        "whole": run(instance_beside, whole),
    }
    with beside.connect() as connection:
        connection.execute("UPDATE runs SET end_time = end_time - 100 * 86400")
    runs["young"] = run(instance_beside, whole)
    with beside.connect() as connection:
        connection.execute(
            "UPDATE runs SET end_time = end_time + 15 * 86400 WHERE run_id = %s", (runs["whole"],)
        )
    return runs


def test_what_a_status_comes_from_is_kept_and_the_rest_of_old_runs_is_deleted(
    history: dict[str, str], instance_beside: dg.DagsterInstance, beside: Database
) -> None:
    before = reads(instance_beside)
    assert (before["materialized"], before["failed"]) == ({"a", "b", "d"}, {"b", "c"})
    forgotten: list[str] = []
    deleted = delete_dagster_history(beside, 90, forget=forgotten.extend)
    assert reads(instance_beside) == before
    names = {run_id: name for name, run_id in history.items()}
    left = {names[one.run_id] for one in instance_beside.get_runs()}
    assert set(history) - left == {"a, superseded", "d failed, superseded", "whole, superseded"}
    assert deleted == 3
    assert {names[run_id] for run_id in forgotten} == set(history) - {"young", "whole"}
    with beside.connect() as connection:
        kinds = connection.execute(
            "SELECT run_id, array_agg(DISTINCT coalesce(dagster_event_type, 'LOG'))"
            " FROM event_logs GROUP BY 1"
        ).fetchall()
    of = {names[run_id]: set(found) for run_id, found in kinds if run_id in names}
    assert of["young"] >= {"ENGINE_EVENT", "ASSET_MATERIALIZATION"}
    assert "ASSET_MATERIALIZATION" in of["a"]
    assert "STEP_SUCCESS" in of["a"]
    assert "ENGINE_EVENT" not in of["a"]
    assert delete_dagster_history(beside, 90) == 0
