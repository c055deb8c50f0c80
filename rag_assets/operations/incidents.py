"""The states of an incident: open, recovering, closed, or escalated to an operator. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rag_assets.operations.findings import (
    DEPENDENCY_DOWN,
    INDEPENDENT,
    WAITED_OUT,
    Finding,
    rank,
    strongest,
)
from rag_assets.operations.sql.incidents import Incident, IncidentState
from rag_assets.operations.thresholds import Thresholds

MAX_FACTS = 20


@dataclass(frozen=True)
class Step:
    """An update of an incident.

    :param state: the new state; ``None`` if unchanged.
    :param cause: as known now, with its ``subject`` and ``facts``.
    :param known: identities of the findings that the facts cover.
    :param began_at: when an incident to be opened began.
    """

    state: IncidentState | None
    cause: str
    subject: str
    facts: tuple[str, ...]
    known: tuple[str, ...]
    began_at: datetime


def next_step(
    incident: Incident | None,
    troubles: Sequence[Finding],
    progressing: bool,
    thresholds: Thresholds,
    *,
    now: datetime,
    stuck_since: datetime | None,
    exhausted: bool,
) -> tuple[Step | None, datetime | None]:
    """Return the next step, and since when work has been stuck.

    :param progressing: whether work progresses.
    :param stuck_since: since when the earlier snapshots showed no progress.
    :param exhausted: whether an action reached its hourly limit.
    """
    if incident is None:
        return _opened(troubles, now, exhausted=exhausted)
    opening = [trouble for trouble in troubles if trouble.opens]
    if any(_is_another(trouble, incident) for trouble in opening):
        return _refined(incident, (), "closed"), None
    waited_out = any(trouble.cause in WAITED_OUT for trouble in opening)
    # While waiting for a cause that the recovery cannot fix, the time limit for progress is paused.
    stuck = None if progressing else now if waited_out else stuck_since or now
    state = _state(incident, progressing, bool(opening), thresholds, now, stuck)
    if exhausted or (waited_out and now - incident.noticed_at >= thresholds.stagnation):
        state = "escalated"
    step = _refined(incident, troubles, None if state == incident.state else state)
    return (step if step.state or _differs(incident, step) else None), stuck


def lasts(incident: Incident, troubles: Sequence[Finding]) -> bool:
    """Return whether the incident's cause is still, or again, among the findings."""
    return any(
        trouble.cause == incident.cause
        and (trouble.cause != DEPENDENCY_DOWN or trouble.subject == incident.subject)
        for trouble in troubles
    )


def _is_another(trouble: Finding, incident: Incident) -> bool:
    """Return whether it began after work had resumed, and so is not caused by the incident."""
    if incident.state != "recovering" or incident.recovering_at is None:
        return False
    other_dependency = trouble.cause == DEPENDENCY_DOWN and trouble.subject != incident.subject
    return (
        trouble.cause in INDEPENDENT
        and trouble.began_at > incident.recovering_at
        and (trouble.cause != incident.cause or other_dependency)
    )


def _state(
    incident: Incident,
    progressing: bool,
    trouble: bool,
    thresholds: Thresholds,
    now: datetime,
    stuck: datetime | None,
) -> IncidentState:
    if incident.state != "recovering":
        if progressing:
            return "recovering"
        late = stuck is not None and now - stuck >= thresholds.check
        return "escalated" if late else incident.state
    since = incident.recovering_at or now
    if progressing:
        return "closed" if now - since >= thresholds.steady else "recovering"
    if trouble:
        return "open"
    late = stuck is not None and now - stuck >= thresholds.check
    return "open" if late else "recovering"


def _opened(
    troubles: Sequence[Finding], now: datetime, *, exhausted: bool
) -> tuple[Step | None, datetime | None]:
    opening = [trouble for trouble in troubles if trouble.opens]
    if not opening:
        return None, None
    cause = strongest(troubles) or opening[0]
    began = min(trouble.began_at for trouble in opening)
    facts, known = _with_news((), (), sorted(troubles, key=lambda one: rank(one.cause)))
    state: IncidentState = "escalated" if exhausted else "open"
    return Step(state, cause.cause, cause.subject, facts, known, min(began, now)), now


def _refined(
    incident: Incident,
    troubles: Sequence[Finding],
    state: IncidentState | None,
) -> Step:
    """Update the cause: one of higher precedence replaces it, until work resumes."""
    cause, subject = incident.cause, incident.subject
    better = strongest(troubles)
    if better is not None and incident.state != "recovering" and rank(better.cause) < rank(cause):
        cause, subject = better.cause, better.subject
    facts, known = _with_news(incident.facts, incident.known, troubles)
    return Step(state, cause, subject, facts, known, incident.began_at)


def _with_news(
    facts: tuple[str, ...], known: tuple[str, ...], troubles: Iterable[Finding]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the facts of new findings; return all facts and all known identities."""
    new: dict[str, str] = {}
    for one in troubles:
        if one.identity not in known and one.fact not in facts:
            new.setdefault(one.identity, one.fact)
    return (*facts, *new.values())[:MAX_FACTS], (*known, *new)[:MAX_FACTS]


def _differs(incident: Incident, step: Step) -> bool:
    return (step.cause, step.subject, step.facts) != (
        incident.cause,
        incident.subject,
        incident.facts,
    )
