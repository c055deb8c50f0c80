"""What is done about trouble, and how an incident goes on: from one look, to a decision. Pure.

Nothing is read or done here: :mod:`.health` looks, :mod:`.watching` acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from rag_assets.lanes import DOCUMENT_LANES, LANES, Lane
from rag_assets.operations.causes import UNKNOWN, Trouble, evidence
from rag_assets.operations.health import Health
from rag_assets.operations.incidents import Step, next_step
from rag_assets.operations.memory import Memory
from rag_assets.operations.rules import Rules
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.stagnation import idle_lanes, moves, remember, symptoms, vanished_runs

Kind = Literal[
    "end_run",
    "collect_lost",
    "start_run",
    "lower_share",
    "raise_share",
    "pause_lane",
    "resume_lane",
]
NEEDS: Mapping[str, Sequence[Lane]] = {
    "vectors": LANES,
    "provider": LANES,
    "inbox": DOCUMENT_LANES,
    "broker": LANES,
}
"""Lanes that cannot work without a dependency. Without the database nothing is started anyway; and
without workers runs wait for them.
"""

_UNBOUNDED = ("lower_share", "raise_share", "resume_lane")
"""They end by themselves: a share at its floor or at one, a lane when it goes on."""
_QUIET = timedelta(minutes=1)
_RAISE = 0.1


@dataclass(frozen=True)
class PlannedAction:
    """One action of the recovery, before it is taken.

    :param subject: what it is bounded by: a lane, an endpoint, ``documents``.
    :param target: the run to end.
    :param share: the share to set.
    """

    kind: Kind
    subject: str
    reason: str
    target: str = ""
    share: float = 1.0


@dataclass(frozen=True)
class RecoveryDecision:
    """What is to be done now.

    :param held_back: measures that were taken too often within the hour.
    :param step: how the incident goes on; ``opened``: the one that is opened in its place.
    :param memory: for the next look.
    :param troubles: all that is wrong, also what opens no incident by itself.
    """

    actions: tuple[PlannedAction, ...]
    held_back: tuple[PlannedAction, ...]
    step: Step | None
    memory: Memory
    troubles: tuple[Trouble, ...]
    opened: Step | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """For people."""
        return tuple(trouble.fact for trouble in self.troubles)


def decide_recovery(
    health: Health,
    memory: Memory,
    rules: Rules,
    *,
    incident: Incident | None = None,
    lately: Sequence[RecoveryAction] = (),
) -> RecoveryDecision:
    """From what is seen to what is done.

    :param memory: of the look before.
    :param incident: the one that is not closed.
    :param lately: measures of the last hour.
    """
    seen = remember(health, memory)
    actions, held_back = bounded(tuple(_measures(health, seen, rules)), lately, rules)
    troubles = (
        *evidence(health, seen, rules),
        *symptoms(health, seen, rules),
        *(_no_use(action, rules, health.now) for action in held_back),
    )
    step, stuck_since = next_step(
        incident,
        troubles,
        moves(health, troubles, rules),
        rules,
        now=health.now,
        stuck_since=seen.stuck_since,
        exhausted=bool(held_back),
    )
    opened = None
    if step is not None and step.state == "closed":
        opened, stuck_since = next_step(
            None,
            troubles,
            moving=False,
            rules=rules,
            now=health.now,
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
            seen,
            stuck_since=stuck_since,
            incident_since=(seen.incident_since or health.now) if lasts else None,
        ),
        troubles,
        opened,
    )


def bounded(
    wanted: Sequence[PlannedAction], lately: Sequence[RecoveryAction], rules: Rules
) -> tuple[tuple[PlannedAction, ...], tuple[PlannedAction, ...]]:
    """Split into what may be done, and what was done too often within the hour."""
    taken = Counter((action.action, action.subject) for action in lately)
    allowed, held_back = [], []
    for action in wanted:
        taken[action.kind, action.subject] += 1
        too_often = taken[action.kind, action.subject] > rules.max_actions
        if too_often and action.kind not in _UNBOUNDED:
            held_back.append(action)
        else:
            allowed.append(action)
    return tuple(allowed), tuple(held_back)


def _no_use(action: PlannedAction, rules: Rules, now: datetime) -> Trouble:
    return Trouble(
        UNKNOWN,
        action.subject,
        f"{action.kind} on {action.subject} was done {rules.max_actions} times within the hour and "
        "is not done again",
        now,
    )


def _measures(health: Health, memory: Memory, rules: Rules) -> Iterator[PlannedAction]:
    yield from _pauses(health, memory)
    yield from _shares(health, memory, rules)
    for lane, run_ids in health.silent_runs.items():
        for run_id in run_ids:
            yield PlannedAction(
                "end_run", lane, "started, and no sign of life: its place is free", run_id
            )
    for run_id, started_in in vanished_runs(health, memory, rules):
        yield PlannedAction(
            "end_run", started_in, "started, and nothing was seen of it: its place is free", run_id
        )
    if health.leases_over:
        yield PlannedAction(
            "collect_lost", "documents", f"{health.leases_over} documents were left by their runs"
        )
    down = {name for name in memory.failing_since if name in NEEDS}
    for idle in idle_lanes(health, memory, rules):
        if not idle.runs and not down:
            told = f"{idle.documents.claimable} documents wait, and no run is under way"
            yield PlannedAction("start_run", idle.lane, told)


def _pauses(health: Health, memory: Memory) -> Iterator[PlannedAction]:
    """What fails at two looks pauses the lanes that need it; the first at which it is back resumes
    them."""
    told = {probe.name: probe.told for probe in health.probes}
    failing = {lane: name for name in memory.failing_since for lane in NEEDS.get(name, ())}
    for lane, name in failing.items():
        if lane not in health.paused and memory.failing_since[name] < health.now:
            yield PlannedAction("pause_lane", lane, f"{name}: {told.get(name, 'not there')}")
    for lane, pause in health.paused.items():
        if pause.paused_by == "recovery" and lane not in failing:
            yield PlannedAction("resume_lane", lane, "what it needs is there again")


def _shares(health: Health, memory: Memory, rules: Rules) -> Iterator[PlannedAction]:
    """Half of it at each look with a 429; a tenth more after each quiet minute."""
    limited = sum(health.rate_limited.values())
    for share in health.shares:
        if limited and share.share > rules.throttle_floor:
            lower = max(rules.throttle_floor, round(share.share / 2, 3))
            told = f"{limited} answers of 429; {_of_all(lower)}"
            yield PlannedAction("lower_share", share.endpoint, told, share=lower)
        elif share.share < 1 and _quiet(memory.limited_at, share.set_at, now=health.now):
            higher = min(1.0, round(share.share + _RAISE, 3))
            told = f"no 429 for a minute; {_of_all(higher)}"
            yield PlannedAction("raise_share", share.endpoint, told, share=higher)


def _of_all(share: float) -> str:
    return f"{share:.0%} of batch size and concurrency from now on"


def _quiet(*times: datetime | None, now: datetime) -> bool:
    return all(time is None or now - time >= _QUIET for time in times)
