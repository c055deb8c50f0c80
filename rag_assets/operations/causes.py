"""Causes of incidents, and which of several explains the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rag_assets.operations.findings import Finding

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


def strongest(findings: Iterable[Finding]) -> Finding | None:
    """The one that explains the others; of two of a kind the one that began first."""
    return min(findings, key=lambda one: (rank(one.cause), one.began_at), default=None)


def rank(cause: str) -> int:
    """The lower the more telling."""
    return CAUSES.index(cause) if cause in CAUSES else len(CAUSES)
