"""Runs under way, as sensors and schedules ask Dagster's instance for them.

What counts as under way is said once, in :mod:`rag_assets.operations.sql.dagster_state`.
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
    """All of them: as few as the queue holds."""
    return instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY))


def partitions_of(runs: Sequence[dg.DagsterRun]) -> frozenset[str]:
    """The partitions on which they work."""
    return frozenset(run.tags[PARTITION_TAG] for run in runs if PARTITION_TAG in run.tags)


def bounded_below(instance: dg.DagsterInstance, settings: Settings) -> tuple[str, ...]:
    """Lanes of which Dagster's run queue lets fewer runs be at work than the settings, a sentence
    each."""
    limits = tag_limits(instance)
    return tuple(
        f"{lane}: the settings allow {wanted} runs at once, and the run queue {limit}: raise its "
        "limit in dagster.yaml"
        for lane, wanted in runs_at_once(settings).items()
        if (limit := limits.get((LANE_TAG, lane), wanted)) < wanted
    )


def in_bible_lane(runs: Sequence[dg.DagsterRun]) -> int:
    """How many of them are in the Bible's lane."""
    return sum(run.tags.get(LANE_TAG) == BIBLE_LANE for run in runs)
