"""Runs under way, as sensors and schedules ask Dagster's instance for them.

What counts as under way is said once, in :mod:`rag_assets.operations.sql.dagster_state`.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from rag_assets.lanes import BIBLE_LANE, LANE_TAG
from rag_assets.operations.sql import dagster_state

UNDER_WAY = [dg.DagsterRunStatus(name) for name in dagster_state.UNDER_WAY]
TAKES_WORK = [dg.DagsterRunStatus(name) for name in dagster_state.TAKES_WORK]
PARTITION_TAG = "dagster/partition"


def runs_under_way(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """All of them: as few as the queue holds."""
    return instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))


def partitions_of(runs: Sequence[dg.DagsterRun]) -> frozenset[str]:
    """The partitions on which they work."""
    return frozenset(run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags)


def in_bible_lane(runs: Sequence[dg.DagsterRun]) -> int:
    """How many of them are in the Bible's lane."""
    return sum(run.tags.get(LANE_TAG) == BIBLE_LANE for run in runs)
