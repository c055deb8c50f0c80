"""One diagnosis: the list of rules, applied to a look by the doctor and by the recovery. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rag_assets.operations.corpus_rules import CORPUS_RULES
from rag_assets.operations.dependency_rules import DEPENDENCY_RULES
from rag_assets.operations.findings import LEVELS, Finding, Rule, View
from rag_assets.operations.memory import Memory
from rag_assets.operations.queue_rules import QUEUE_RULES, action_of_no_use
from rag_assets.operations.snapshot import LaneState, Snapshot
from rag_assets.operations.thresholds import INTERVAL, Thresholds
from rag_assets.settings.model import Settings

RULES: tuple[Rule, ...] = (
    *DEPENDENCY_RULES,
    *QUEUE_RULES,
    *CORPUS_RULES,
    action_of_no_use,
)


def find(view: View) -> tuple[Finding, ...]:
    """What each rule finds, in the order of the rules."""
    return tuple(found for one in RULES for found in one(view))


def diagnose(snapshot: Snapshot, settings: Settings) -> tuple[Finding, ...]:
    """What a single look finds, the problems first; empty is well."""
    thresholds = Thresholds.from_settings(settings)
    view = View(snapshot, of_single_look(snapshot, thresholds), thresholds)
    found = [one for one in find(view) if not one.follows]
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def of_single_look(snapshot: Snapshot, thresholds: Thresholds) -> Memory:
    """What takes time to see, as far as one look can tell it.

    What fails is taken to have failed before. Documents count as idle for as long as the oldest
    waits, where no run is under way, or none of the lane was completed for as long as stagnation
    takes.
    """
    now = snapshot.now
    limited = any(key.resting_s > 0 for key in snapshot.keys)
    return Memory(
        looked_at=now,
        watching_since=now - thresholds.stagnation,
        server_started_at=snapshot.server_started_at,
        idle_since={
            lane.lane: now - timedelta(seconds=lane.oldest_waiting_s)
            for lane in snapshot.document_lanes
            if lane.claimable
            and not lane.running
            and lane.paused is None
            and (not lane.runs or _stalled(lane, now, thresholds))
        },
        limited_since=now if limited else None,
        failing_since={
            probe.name: now - INTERVAL
            for probe in snapshot.probes
            if not probe.ok and probe.name != "database"
        },
    )


def _stalled(lane: LaneState, now: datetime, thresholds: Thresholds) -> bool:
    last = lane.last_completed_at
    return lane.oldest_waiting_s >= thresholds.stagnation.total_seconds() and (
        last is None or now - last >= thresholds.stagnation
    )
