"""How an incident goes: noticed, recovering, closed; or a person is called. Pure."""

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

MOST_FACTS = 20


@dataclass(frozen=True)
class Step:
    """How an incident goes on.

    :param state: it is in now; ``None`` where that stays.
    :param cause: as it is known now, with its ``subject`` and ``facts``.
    :param known: identities of the findings that the facts tell of.
    :param began_at: of one that is opened.
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
    moving: bool,
    thresholds: Thresholds,
    *,
    now: datetime,
    stuck_since: datetime | None,
    exhausted: bool,
) -> tuple[Step | None, datetime | None]:
    """The next step, and since when work does not go on.

    :param moving: work goes on.
    :param stuck_since: work did not go on at the looks before.
    :param exhausted: a measure was held back because it was taken too often.
    """
    if incident is None:
        return _opened(troubles, now, exhausted=exhausted)
    opening = [trouble for trouble in troubles if trouble.opens]
    if any(_is_another(trouble, incident) for trouble in opening):
        return _refined(incident, (), "closed"), None
    waited_out = any(trouble.cause in WAITED_OUT for trouble in opening)
    # While we wait for what only ends by itself, the time in which work must go on has not begun.
    stuck = None if moving else now if waited_out else stuck_since or now
    state = _state(incident, moving, bool(opening), thresholds, now, stuck)
    if exhausted or (waited_out and now - incident.noticed_at >= thresholds.stagnation):
        state = "escalated"
    step = _refined(incident, troubles, None if state == incident.state else state)
    return (step if step.state or _differs(incident, step) else None), stuck


def lasts(incident: Incident, troubles: Sequence[Finding]) -> bool:
    """Whether what the incident is about is still seen, or again."""
    return any(
        trouble.cause == incident.cause
        and (trouble.cause != DEPENDENCY_DOWN or trouble.subject == incident.subject)
        for trouble in troubles
    )


def _is_another(trouble: Finding, incident: Incident) -> bool:
    """Whether it is no consequence of the incident: work had gone on, and then this began."""
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
    moving: bool,
    trouble: bool,
    thresholds: Thresholds,
    now: datetime,
    stuck: datetime | None,
) -> IncidentState:
    if incident.state != "recovering":
        if moving:
            return "recovering"
        late = stuck is not None and now - stuck >= thresholds.check
        return "escalated" if late else incident.state
    since = incident.recovering_at or now
    if moving:
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
    """The cause as it is known now: more telling evidence replaces it, until work goes on again."""
    cause, subject = incident.cause, incident.subject
    better = strongest(troubles)
    if better is not None and incident.state != "recovering" and rank(better.cause) < rank(cause):
        cause, subject = better.cause, better.subject
    facts, known = _with_news(incident.facts, incident.known, troubles)
    return Step(state, cause, subject, facts, known, incident.began_at)


def _with_news(
    facts: tuple[str, ...], known: tuple[str, ...], troubles: Iterable[Finding]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The facts of the troubles too that are not known yet, and what is known then."""
    new: dict[str, str] = {}
    for one in troubles:
        if one.identity not in known and one.fact not in facts:
            new.setdefault(one.identity, one.fact)
    return (*facts, *new.values())[:MOST_FACTS], (*known, *new)[:MOST_FACTS]


def _differs(incident: Incident, step: Step) -> bool:
    return (step.cause, step.subject, step.facts) != (
        incident.cause,
        incident.subject,
        incident.facts,
    )
