"""Every status of Dagster is under way or ended, in SQL and in queries of the instance."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from rag_assets.defs.under_way import TAKES_WORK, UNDER_WAY, queue_limit_warnings
from rag_assets.lanes import LANE_TAG, runs_at_once
from rag_assets.operations.sql import dagster_state
from rag_assets.settings.model import Settings
from rag_assets_tests.defs.deployment import ROOT

ENDED = {
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
}
NEVER_OURS = {dg.DagsterRunStatus.MANAGED, dg.DagsterRunStatus.SUSPENDED}
"""Of runs that another system manages, or that are meant to pause: nothing here makes one."""


def test_a_run_that_has_not_ended_is_under_way() -> None:
    assert set(UNDER_WAY) == set(dg.DagsterRunStatus) - ENDED - NEVER_OURS
    assert [status.value for status in UNDER_WAY] == list(dagster_state.UNDER_WAY)


def test_a_run_being_canceled_is_under_way_and_claims_no_documents() -> None:
    canceling = dg.DagsterRunStatus.CANCELING
    assert set(UNDER_WAY) - set(TAKES_WORK) == {canceling}
    assert canceling.value in dagster_state.AT_WORK


@pytest.mark.parametrize("file", ["dagster.yaml", "deploy/celery/dagster.yaml"])
def test_the_run_queue_limits_each_lane_to_the_settings_default(file: str) -> None:
    queue = yaml.safe_load((ROOT / file).read_text("utf-8"))["run_queue"]
    limits = {one["value"]: one["limit"] for one in queue["tag_concurrency_limits"]}
    assert {one["key"] for one in queue["tag_concurrency_limits"]} == {LANE_TAG}
    assert limits == runs_at_once(Settings.model_construct())
    assert sum(limits.values()) < queue["max_concurrent_runs"], "one more finds a place"


def test_a_run_queue_stricter_than_the_settings_is_reported(tmp_path: Path) -> None:
    here = yaml.safe_load((ROOT / "dagster.yaml").read_text("utf-8"))["run_queue"]
    here["tag_concurrency_limits"].append({"key": "team", "value": "rag_bible", "limit": 1})
    here["tag_concurrency_limits"].append(
        {"key": LANE_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    )
    settings = Settings.model_construct()
    with dg.DagsterInstance.local_temp(str(tmp_path), {"run_queue": here}) as instance:
        assert queue_limit_warnings(instance, settings) == ()
        more = settings.model_copy(update={"rag_document_runs": 4})
        assert queue_limit_warnings(instance, more) == (
            "rag_processing: the settings allow 4 concurrent runs, but the run queue only 2: "
            "raise its limit in dagster.yaml",
        )
