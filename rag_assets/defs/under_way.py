"""Runs under way, queried from Dagster's instance by sensors and schedules.

:mod:`rag_assets.operations.sql.dagster_state` defines which statuses count as under way.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from rag_assets.defs.dagster_private import PARTITION_TAG, tag_limits
from rag_assets.lanes import BIBLE_LANE, LANE_TAG, runs_at_once
from rag_assets.operations.sql import dagster_state
from rag_assets.settings.model import Settings

UNDER_WAY = [dg.DagsterRunStatus(name) for name in dagster_state.UNDER_WAY]
TAKES_WORK = [dg.DagsterRunStatus(name) for name in dagster_state.TAKES_WORK]


def runs_under_way(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """Return all runs under way."""
    return instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))


def partitions_of(runs: Sequence[dg.DagsterRun]) -> frozenset[str]:
    """Return the partitions of these runs."""
    return frozenset(run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags)


def queue_limit_warnings(instance: dg.DagsterInstance, settings: Settings) -> tuple[str, ...]:
    """Return a sentence for each lane whose run queue allows fewer runs than the settings."""
    limits = tag_limits(instance)
    return tuple(
        f"{lane}: the settings allow {wanted} concurrent runs, but the run queue only {limit}: "
        "raise its limit in dagster.yaml"
        for lane, wanted in runs_at_once(settings).items()
        if (limit := limits.get((LANE_TAG, lane), wanted)) < wanted
    )


def in_bible_lane(runs: Sequence[dg.DagsterRun]) -> int:
    """Count the runs in the Bible lane."""
    return sum(run.tags.get(LANE_TAG) == BIBLE_LANE for run in runs)
