"""What a finding is, and a rule by which a snapshot is judged. Pure.

The rules are in :mod:`.dependency_rules`, :mod:`.queue_rules` and :mod:`.corpus_rules`, the list of
all in :mod:`.diagnosis`.
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
"""Of an incident of failed jobs, which stands beside the queue's (:mod:`.job_failures`)."""
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
"""The most telling first: where two are found, it is the cause, and the other follows from it."""

WAITED_OUT = (DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED, SLOW_DOCUMENT)
"""Those that only end by themselves, or by a person: no measure of ours makes work go on."""

INDEPENDENT = (DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED)
"""Those that follow from no other: where one begins after work went on, it is another incident."""


@dataclass(frozen=True)
class PlannedAction:
    """What the recovery would do about a finding.

    :param subject: what it is bounded by: a lane, an endpoint, ``documents``.
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
    """One thing that is not as it should be.

    :param area: what it is about, for people: a dependency, a lane, ``release``.
    :param told: the evidence, a sentence.
    :param command: the fix, or what shows more.
    :param cause: that it is of an incident, one of :data:`CAUSES`; empty: of none.
    :param subject: of the incident: which dependency, key, run, document or class of error.
    :param fact: the evidence, where it is to say what it is about; else ``told`` does.
    :param opens: it is an incident by itself; otherwise it only explains one.
    :param key: what tells it from others of its rule and subject; else ``told`` does. For sentences
        whose figures change from look to look.
    :param follows: it follows from another finding, and is not shown by itself.
    :param rule: that found it.
    """

    area: str
    level: Level
    told: str
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
        """Two findings with the same are one, seen twice."""
        return " ".join((self.rule, self.subject, self.key or self.told))


@dataclass(frozen=True)
class View:
    """What a rule judges.

    :param memory: since when things are as they are, with this look in it.
    :param held_back: actions that were taken too often within the hour.
    """

    snapshot: Snapshot
    memory: Memory
    thresholds: Thresholds
    held_back: tuple[PlannedAction, ...] = ()


Find = Callable[[View], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule: what it finds, and how the page of findings explains it.

    :param name: of the function that applies it, with hyphens.
    :param condition: when it holds; ``fix``: for people.
    :param action: what the recovery does, and its bound; empty where it does nothing.
    :param over_time: only the recovery sees it: it takes more than one look.
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
            yield replace(found, rule=self.name, fact=found.fact or found.told)


def rule(
    *, condition: str, evidence: str, fix: str, action: str = "", over_time: bool = False
) -> Callable[[Find], Rule]:
    """Make a rule of a function that finds."""

    def make(find: Find) -> Rule:
        name = find.__name__.strip("_").replace("_", "-")
        return Rule(name, condition, evidence, fix, action, over_time, find)

    return make


def strongest(findings: Iterable[Finding]) -> Finding | None:
    """The one that explains the others; of two of a kind the one that began first."""
    return min(findings, key=lambda one: (rank(one.cause), one.began_at), default=None)


def rank(cause: str) -> int:
    """The lower the more telling."""
    return CAUSES.index(cause) if cause in CAUSES else len(CAUSES)


def span(seconds: float) -> str:
    """A stretch of time, for people: ``42 s``, ``7 min``, ``3.5 h``, ``12 d``."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
