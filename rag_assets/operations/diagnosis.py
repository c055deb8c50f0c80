"""The diagnosis: all rules, applied to a snapshot by the doctor and by the recovery. Pure."""

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
    """Return the findings of all rules, in the order of the rules."""
    return tuple(found for one in RULES for found in one(view))


def diagnose(snapshot: Snapshot, settings: Settings) -> tuple[Finding, ...]:
    """Return the findings of a single snapshot, problems first; empty if all is well."""
    thresholds = Thresholds.from_settings(settings)
    view = View(snapshot, memory_of_one_snapshot(snapshot, thresholds), thresholds)
    found = [one for one in find(view) if not one.follows]
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def memory_of_one_snapshot(snapshot: Snapshot, thresholds: Thresholds) -> Memory:
    """Derive from one snapshot what the recovery learns by watching.

    A dependency that is down is assumed to have been down before. A lane counts as idle since its
    oldest document began to wait if no run is under way, or if nothing was completed for
    RAG_STAGNATION_S.
    """
    now = snapshot.now
    limited = any(key.resting_s > 0 for key in snapshot.keys)
    return Memory(
        checked_at=now,
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
