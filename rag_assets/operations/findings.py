"""Findings, and the rules that produce them from a snapshot. Pure.

The rules are in :mod:`.dependency_rules`, :mod:`.queue_rules` and :mod:`.corpus_rules`;
:mod:`.diagnosis` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from rag_assets.operations.memory import Memory
from rag_assets.operations.snapshot import Snapshot
from rag_assets.operations.thresholds import Thresholds

Level = Literal["problem", "warning", "information"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "information")
"""The worst first."""
RUNBOOK = "docs/operations/runbook-queue.md"
BOUND = "`RAG_RECOVERY_MAX_ACTIONS` an hour and lane"
ActionKind = Literal[
    "end_run",
    "collect_lost",
    "start_run",
    "lower_share",
    "raise_share",
    "pause_lane",
    "resume_lane",
]


DEPENDENCY_DOWN = "dependency-down"
OUT_OF_QUOTA = "out-of-quota"
RATE_LIMITED = "rate-limited"
OUT_OF_MEMORY = "worker-out-of-memory"
WORKER_LOST = "worker-lost"
SLOW_DOCUMENT = "slow-document"
DAEMON_AWAY = "daemon-away"
ERRORS = "errors"
UNKNOWN = "unknown"
JOB_FAILED = "job-failed"
"""Cause of incidents of failed jobs, which are separate from the queue's (:mod:`.job_failures`)."""
CAUSES = (
    DEPENDENCY_DOWN,
    OUT_OF_QUOTA,
    RATE_LIMITED,
    OUT_OF_MEMORY,
    WORKER_LOST,
    SLOW_DOCUMENT,
    DAEMON_AWAY,
    ERRORS,
    UNKNOWN,
)
"""In order of precedence: of two that are found, the first is the cause of the other."""

WAITED_OUT = (DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED, SLOW_DOCUMENT)
"""Causes that the recovery cannot fix: they pass, or an operator ends them."""

INDEPENDENT = (DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED)
"""Causes that never follow from another: one that begins after work resumed is a new incident."""


@dataclass(frozen=True)
class PlannedAction:
    """An action that the recovery would take on a finding.

    :param subject: what its rate limit applies to: a lane, an endpoint, ``documents``.
    :param target: the run to end.
    :param share: the share to set.
    """

    kind: ActionKind
    subject: str
    reason: str
    target: str = ""
    share: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :param area: what it concerns, as shown: a dependency, a lane, ``release``.
    :param evidence: what was found, as a sentence.
    :param command: the fix, or a command that shows more.
    :param cause: the cause of an incident that it supports, one of :data:`CAUSES`; or empty.
    :param subject: of the incident: a dependency, key, run, document or error class.
    :param fact: the evidence with its subject, for incidents; defaults to ``evidence``.
    :param opens: whether it opens an incident; otherwise it only explains one.
    :param key: distinguishes it within its rule and subject, for evidence whose figures change.
    :param follows: whether it follows from another finding, and is not shown on its own.
    :param rule: the name of the rule that found it.
    """

    area: str
    level: Level
    evidence: str
    command: str
    began_at: datetime
    actions: tuple[PlannedAction, ...] = ()
    cause: str = ""
    subject: str = ""
    fact: str = ""
    opens: bool = False
    key: str = ""
    follows: bool = False
    rule: str = ""

    @property
    def identity(self) -> str:
        """Key that is equal for two sightings of the same finding."""
        return " ".join((self.rule, self.subject, self.key or self.evidence))


@dataclass(frozen=True)
class View:
    """Input of a rule.

    :param memory: since when conditions have held, this snapshot included.
    :param held_back: actions that reached their limit for this hour.
    """

    snapshot: Snapshot
    memory: Memory
    thresholds: Thresholds
    held_back: tuple[PlannedAction, ...] = ()


Find = Callable[[View], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule, and its description for the page of findings.

    :param name: the name of its function, with hyphens.
    :param condition: when it holds; ``fix``: what an operator does.
    :param action: what the recovery does, and its limit; empty if it does nothing.
    :param over_time: whether it needs several snapshots, so that only the recovery can find it.
    """

    name: str
    condition: str
    evidence: str
    fix: str
    action: str
    over_time: bool
    find: Find

    def __call__(self, view: View) -> Iterator[Finding]:
        for found in self.find(view):
            yield replace(found, rule=self.name, fact=found.fact or found.evidence)


def rule(
    *, condition: str, evidence: str, fix: str, action: str = "", over_time: bool = False
) -> Callable[[Find], Rule]:
    """Turn a function that yields findings into a rule."""

    def make(find: Find) -> Rule:
        name = find.__name__.strip("_").replace("_", "-")
        return Rule(name, condition, evidence, fix, action, over_time, find)

    return make


def strongest(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding that explains the others; among equals, the one that began first."""
    return min(findings, key=lambda one: (rank(one.cause), one.began_at), default=None)


def rank(cause: str) -> int:
    """Return the precedence of a cause; lower comes first."""
    return CAUSES.index(cause) if cause in CAUSES else len(CAUSES)


def span(seconds: float) -> str:
    """Format a duration: ``42 s``, ``7 min``, ``4 h``, ``12 d``."""
    for unit, size, limit in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
