"""Decide which actions to take on a snapshot's findings, and how the incident continues. Pure.

:mod:`.survey` takes the snapshot, :mod:`.watching` carries out the decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag_assets.lanes import LARGE
from rag_assets.operations import diagnosis
from rag_assets.operations.findings import Finding, PlannedAction, View
from rag_assets.operations.incidents import Step, next_step
from rag_assets.operations.memory import Memory, remember
from rag_assets.operations.queue_rules import action_of_no_use
from rag_assets.operations.snapshot import LaneState, Snapshot
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.thresholds import Thresholds

_UNBOUNDED = ("lower_share", "raise_share", "resume_lane")
"""Actions without an hourly limit: they end at the share's floor or at one, or with the pause."""


@dataclass(frozen=True)
class RecoveryDecision:
    """What to do now.

    :param held_back: actions that reached their hourly limit.
    :param step: the update of the incident; ``opened``: the one opened in its place.
    :param memory: for the next check.
    :param troubles: findings that open an incident, or explain one.
    """

    actions: tuple[PlannedAction, ...]
    held_back: tuple[PlannedAction, ...]
    step: Step | None
    memory: Memory
    troubles: tuple[Finding, ...]
    opened: Step | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The facts that the decision is based on, for messages."""
        return tuple(trouble.fact for trouble in self.troubles)


def decide_recovery(
    seen: Snapshot,
    memory: Memory,
    thresholds: Thresholds,
    *,
    incident: Incident | None = None,
    recent: Sequence[RecoveryAction] = (),
) -> RecoveryDecision:
    """Decide what to do about a snapshot.

    :param memory: from the last check.
    :param incident: the current incident, if one is not closed.
    :param recent: actions of the last hour.
    """
    view = View(seen, remember(seen, memory), thresholds)
    found = diagnosis.find(view)
    # Two dependencies may ask to pause the same lane.
    wanted = {(a.kind, a.subject, a.target): a for one in found for a in one.actions}
    actions, held_back = bounded(tuple(wanted.values()), recent, thresholds)
    found += tuple(action_of_no_use(replace(view, held_back=held_back)))
    troubles = tuple(one for one in found if one.cause)
    step, stuck_since = next_step(
        incident,
        troubles,
        is_progressing(seen, troubles, thresholds),
        thresholds,
        now=seen.now,
        stuck_since=view.memory.stuck_since,
        exhausted=bool(held_back),
    )
    opened = None
    if step is not None and step.state == "closed":
        opened, stuck_since = next_step(
            None,
            troubles,
            progressing=False,
            thresholds=thresholds,
            now=seen.now,
            stuck_since=None,
            exhausted=bool(held_back),
        )
    last = opened or step
    state = (last and last.state) or (incident and incident.state)
    lasts = state in ("open", "escalated")
    return RecoveryDecision(
        actions,
        held_back,
        step,
        replace(
            view.memory,
            stuck_since=stuck_since,
            incident_since=(view.memory.incident_since or seen.now) if lasts else None,
        ),
        troubles,
        opened,
    )


def bounded(
    wanted: Sequence[PlannedAction], recent: Sequence[RecoveryAction], thresholds: Thresholds
) -> tuple[tuple[PlannedAction, ...], tuple[PlannedAction, ...]]:
    """Split actions into those allowed and those that reached their hourly limit."""
    taken = Counter((action.action, action.subject) for action in recent)
    allowed, held_back = [], []
    for action in wanted:
        taken[action.kind, action.subject] += 1
        too_often = taken[action.kind, action.subject] > thresholds.max_actions
        if too_often and action.kind not in _UNBOUNDED:
            held_back.append(action)
        else:
            allowed.append(action)
    return tuple(allowed), tuple(held_back)


def is_progressing(seen: Snapshot, troubles: Sequence[Finding], thresholds: Thresholds) -> bool:
    """Return whether every lane progresses: nothing is claimable, or documents are completed."""
    if any(trouble.opens for trouble in troubles):
        return False
    if any(lane.paused is not None and not lane.paused_by_operator for lane in seen.document_lanes):
        return False
    return all(_progresses(lane, seen, thresholds) for lane in seen.wanted if lane.claimable)


def _progresses(lane: LaneState, seen: Snapshot, thresholds: Thresholds) -> bool:
    if not lane.running and seen.active < thresholds.max_active:
        return False
    # One large document may take longer than that; if it takes too long, that is its own finding.
    last = lane.last_completed_at
    return lane.lane == LARGE or (last is not None and seen.now - last <= thresholds.check)
