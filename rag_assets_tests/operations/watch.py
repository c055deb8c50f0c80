"""A simulated system, checked repeatedly, with its incident as the database would store it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rag_assets.documents.sql.lanes import Pause
from rag_assets.operations.dependencies import DependencyProbe
from rag_assets.operations.findings import PlannedAction
from rag_assets.operations.incidents import Step
from rag_assets.operations.memory import Memory
from rag_assets.operations.recovery import RecoveryDecision, decide_recovery
from rag_assets.operations.snapshot import LaneState, Snapshot
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.thresholds import INTERVAL, Thresholds

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
LANE, LARGE = "rag_processing", "rag_large_docs"
SERVER_STARTED = START - timedelta(days=3)


def probe(name: str, ok: bool = True, detail: str = "") -> DependencyProbe:
    return DependencyProbe(name, ok, 0.01, detail or ("there" if ok else "gone"))


@dataclass
class Watch:
    """A series of checks, with the effects of their decisions on the stored state."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    now: datetime = START
    memory: Memory = field(default_factory=Memory)
    incident: Incident | None = None
    actions: list[RecoveryAction] = field(default_factory=list)
    paused: dict[str, Pause] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    server_started_at: datetime = SERVER_STARTED
    completed_at: datetime | None = None

    def check(
        self,
        *,
        waiting: int = 0,
        active: int = 0,
        completed: bool = False,
        runs: int | None = None,
        claimable: int | None = None,
        after: timedelta = INTERVAL,
        lane: str = LANE,
        **health: Any,
    ) -> RecoveryDecision:
        """Return the decision of a check half a minute later.

        :param completed: whether a document was completed since the last check.
        """
        self.now += after
        if completed:
            self.completed_at = self.now - timedelta(seconds=1)
        lanes = tuple(
            LaneState(
                name,
                waiting=waiting if name == lane else 0,
                claimable=(waiting if claimable is None else claimable) if name == lane else 0,
                running=active if name == lane else 0,
                oldest_waiting_s=3600.0 if waiting and name == lane else 0.0,
                runs_at_work=(int(active > 0) if runs is None else runs) if name == lane else 0,
                last_completed_at=self.completed_at if name == lane else None,
                paused=self.paused.get(name),
            )
            for name in (LANE, LARGE)
        )
        if "lanes" in health:
            lanes = tuple(
                replace(one, paused=self.paused.get(one.lane)) for one in health.pop("lanes")
            )
        held = tuple(
            LaneState(name, paused=pause)
            for name, pause in self.paused.items()
            if name not in (LANE, LARGE)
        )
        seen = Snapshot(
            self.now, server_started_at=self.server_started_at, lanes=(*lanes, *held), **health
        )
        recent = [one for one in self.actions if one.acted_at > self.now - timedelta(hours=1)]
        decision = decide_recovery(
            seen, self.memory, self.thresholds, incident=self.incident, recent=tuple(recent)
        )
        self.memory = Memory.from_cursor(decision.memory.to_cursor())
        for action in decision.actions:
            self._act(action)
        self._apply(decision)
        return decision

    def kinds(self, decision: RecoveryDecision) -> list[str]:
        return [action.kind for action in decision.actions]

    def _act(self, action: PlannedAction) -> None:
        self.actions.append(
            RecoveryAction(action.kind, action.subject, action.reason, True, "", self.now)
        )
        if action.kind == "pause_lane":
            self.paused[action.subject] = Pause(action.subject, action.reason, "recovery", self.now)
        elif action.kind == "resume_lane":
            del self.paused[action.subject]

    def _apply(self, decision: RecoveryDecision) -> None:
        for step in filter(None, (decision.step, decision.opened)):
            self._take(step)

    def _take(self, step: Step) -> None:
        if self.incident is None:
            self.incident = Incident(
                1, "open", step.cause, {}, step.began_at, self.now, None, None, None, 0, 0, 0, None
            )
        state = step.state or self.incident.state
        self.incident = replace(
            self.incident,
            state=state,
            cause=step.cause,
            evidence={
                "subject": step.subject,
                "facts": list(step.facts),
                "known": list(step.known),
            },
            recovering_at=self.now if step.state == "recovering" else self.incident.recovering_at,
            escalated_at=self.now if step.state == "escalated" else self.incident.escalated_at,
        )
        if step.state is not None:
            self.states.append(step.state)
        if step.state == "closed":
            self.incident = None


def steps(decisions: Sequence[RecoveryDecision]) -> list[str]:
    """Return the states that incidents went through."""
    return [one.step.state for one in decisions if one.step and one.step.state]
