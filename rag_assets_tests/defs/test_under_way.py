"""Every status that Dagster knows is under way or ended, for the queries in SQL and of Dagster."""

import dagster as dg

from rag_assets.defs.under_way import TAKES_WORK, UNDER_WAY
from rag_assets.operations.sql import dagster_state

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


def test_a_run_being_canceled_is_at_work_and_takes_no_more_documents() -> None:
    canceling = dg.DagsterRunStatus.CANCELING
    assert set(UNDER_WAY) - set(TAKES_WORK) == {canceling}
    assert canceling.value in dagster_state.AT_WORK
