"""What is wrong, by evidence: which dependency, key, run or document. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rag_assets.operations.health import Health
from rag_assets.operations.memory import Memory
from rag_assets.operations.rules import INTERVAL, Rules

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

_DAEMON_PATIENCE_S = 120.0
_DATABASE_ERRORS = ("DatabaseUnavailableError", "WorkerLostError")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong.

    :param cause: one of :data:`CAUSES`.
    :param subject: which dependency, key, run, document or class of error.
    :param fact: a sentence for people.
    :param opens: it is an incident by itself; otherwise it only explains one.
    :param figures_change: from look to look, and are no news then.
    """

    cause: str
    subject: str
    fact: str
    began_at: datetime
    opens: bool = True
    figures_change: bool = False

    @property
    def identity(self) -> str:
        """Two troubles with the same are one, seen twice."""
        told = "" if self.figures_change else self.fact
        return " ".join((self.cause, self.subject, told)).rstrip()


def strongest(troubles: Iterable[Trouble]) -> Trouble | None:
    """The one that explains the others; of two of a kind the one that began first."""
    return min(troubles, key=lambda one: (rank(one.cause), one.began_at), default=None)


def rank(cause: str) -> int:
    """The lower the more telling."""
    return CAUSES.index(cause) if cause in CAUSES else len(CAUSES)


def evidence(health: Health, memory: Memory, rules: Rules) -> tuple[Trouble, ...]:
    """All that can be told of why work does not go on as it should.

    :param memory: with this look in it.
    """
    return (
        *_dependencies(health, memory),
        *_restarted_database(health, memory, rules),
        *_quota(health, rules),
        *_rate_limit(health, memory, rules),
        *_ended_runs(health),
        *_silent_runs(health),
        *_slow_documents(health, rules),
        *_daemon(health, memory),
        *_errors(health),
    )


def limits_the_rate(health: Health, memory: Memory) -> bool:
    """Whether the provider does: it begins with a 429, and goes on for as long as a key rests."""
    resting = any(key.resting_s > 0 for key in health.keys)
    return bool(health.rate_limited) or (memory.limited_since is not None and resting)


def signs_of_outage(health: Health) -> tuple[str, ...]:
    """What work shows of a database that was away."""
    errors = tuple(name for name in _DATABASE_ERRORS if name in health.failures)
    left = f"{health.leases_over} documents left by their runs"
    return (*errors, left) if health.leases_over else errors


def _dependencies(health: Health, memory: Memory) -> Iterator[Trouble]:
    told = {probe.name: probe.told for probe in health.probes}
    for name, since in memory.failing_since.items():
        if name == "database":  # it was missed between two looks, and is back
            lasted = memory.told_away_at is not None or health.now - since > 1.5 * INTERVAL
            fact = f"the database could not be reached from {since:%H:%M:%S} on"
        else:
            lasted = health.now > since
            fact = f"{name}: {told.get(name, 'not there')}"
        yield Trouble(DEPENDENCY_DOWN, name, fact, since, opens=lasted)


def _restarted_database(health: Health, memory: Memory, rules: Rules) -> Iterator[Trouble]:
    gone, back = memory.database_gone_at, memory.database_back_at
    if gone is None or back is None or health.now - back > rules.check:
        return
    signs = signs_of_outage(health)
    cost = f": {', '.join(signs)}" if signs else ""
    yield Trouble(
        DEPENDENCY_DOWN,
        "database",
        f"PostgreSQL was away between {gone:%H:%M:%S} and {back:%H:%M:%S}{cost}",
        gone,
        opens=bool(signs),
        figures_change=True,
    )


def _quota(health: Health, rules: Rules) -> Iterator[Trouble]:
    refused = {
        key.key_fingerprint: key.out_of_quota_s
        for key in health.keys
        if key.out_of_quota_s is not None
        and key.key_fingerprint in rules.keys
        and key.out_of_quota_s < rules.stagnation.total_seconds()
    }
    if not refused:
        return
    last = health.last_completed_at
    working = last is not None and (health.now - last).total_seconds() < min(refused.values())
    yield Trouble(
        OUT_OF_QUOTA,
        ", ".join(sorted(refused)),
        f"out of quota: {', '.join(f'key {name}' for name in sorted(refused))}",
        last or health.now - INTERVAL,
        opens=len(refused) == len(rules.keys) and not working and _work(health),
    )


def _rate_limit(health: Health, memory: Memory, rules: Rules) -> Iterator[Trouble]:
    since = memory.limited_since
    if since is None:
        return
    met = sorted(health.rate_limited) or sorted(
        key.key_fingerprint for key in health.keys if key.resting_s > 0
    )
    unanswered_since = max(since, memory.answered_at or since)
    yield Trouble(
        RATE_LIMITED,
        ", ".join(met),
        f"the provider limits the rate of {', '.join(f'key {name}' for name in met)}",
        since,
        opens=health.now - unanswered_since >= rules.no_worker and _work(health),
    )


def _ended_runs(health: Health) -> Iterator[Trouble]:
    for run in health.faults:
        killed = run.fault is not None and run.fault.signal == signal.SIGKILL
        yield Trouble(
            OUT_OF_MEMORY if killed else WORKER_LOST,
            run.run_id,
            f"run {run.run_id} of {run.job}: {run.fault}"
            + (", as the system does where memory runs out" if killed else ""),
            run.ended_at,
        )


def _silent_runs(health: Health) -> Iterator[Trouble]:
    for lane, run_ids in health.silent_runs.items():
        for run_id in run_ids:
            yield Trouble(
                WORKER_LOST,
                run_id,
                f"run {run_id} counts as started in {lane} and shows no sign of life",
                health.now,
            )


def _slow_documents(health: Health, rules: Rules) -> Iterator[Trouble]:
    for lane in health.wanted:
        if lane.longest is None or not lane.documents.claimable:
            continue
        began = lane.longest.started_at
        others_go_on = lane.last_completed_at is not None and lane.last_completed_at > began
        if health.now - began >= rules.slow_document and not others_go_on:
            others = (
                "1 document waits"
                if lane.documents.claimable == 1
                else f"{lane.documents.claimable} wait"
            )
            yield Trouble(
                SLOW_DOCUMENT,
                lane.longest.key,
                f"{lane.longest.key} has been worked on for "
                f"{(health.now - began).total_seconds():.0f} s, and {others} for it in {lane.lane}",
                began,
                figures_change=True,
            )


def _daemon(health: Health, memory: Memory) -> Iterator[Trouble]:
    if memory.gap_since is not None and any(lane.documents.claimable for lane in health.wanted):
        yield Trouble(
            DAEMON_AWAY,
            "daemon",
            f"nothing looked after the queue between {memory.gap_since:%H:%M:%S} and "
            f"{health.now:%H:%M:%S}: Dagster's daemon was away",
            memory.gap_since,
        )
    for part, age_s in health.heartbeats.items():
        if age_s > _DAEMON_PATIENCE_S and part == "QUEUED_RUN_COORDINATOR":
            yield Trouble(
                DAEMON_AWAY,
                part,
                f"the daemon's {part} has shown no sign of life for {age_s:.0f} s: runs only queue",
                health.now,
                opens=False,
                figures_change=True,
            )


def _errors(health: Health) -> Iterator[Trouble]:
    if health.failures:
        name = max(health.failures, key=lambda one: (health.failures[one], one))
        yield Trouble(
            ERRORS,
            name,
            f"{health.failures[name]} attempts ended with {name} lately",
            health.now,
            opens=False,
            figures_change=True,
        )


def _work(health: Health) -> bool:
    return any(lane.documents.claimable or lane.documents.running for lane in health.wanted)
