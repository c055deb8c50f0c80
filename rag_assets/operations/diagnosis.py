"""One diagnosis: the list of rules, applied to a look by the doctor and by the recovery. Pure."""

from __future__ import annotations

from datetime import timedelta

from rag_assets.operations.corpus_rules import CORPUS_RULES
from rag_assets.operations.dependency_rules import DEPENDENCY_RULES
from rag_assets.operations.findings import LEVELS, Finding, Rule, View
from rag_assets.operations.memory import Memory
from rag_assets.operations.queue_rules import QUEUE_RULES, action_of_no_use
from rag_assets.operations.snapshot import Snapshot
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
    found = find(View(snapshot, of_single_look(snapshot, thresholds), thresholds))
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def of_single_look(snapshot: Snapshot, thresholds: Thresholds) -> Memory:
    """What takes time to see, as far as one look can tell it.

    What fails is taken to have failed before; documents wait for as long as the oldest says, where
    no run is under way that may have its turn.
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
            if lane.claimable and not (lane.running or lane.runs) and lane.paused is None
        },
        limited_since=now if limited else None,
        failing_since={
            probe.name: now - INTERVAL
            for probe in snapshot.probes
            if not probe.ok and probe.name != "database"
        },
    )
