"""Failed jobs: which failures are reported, what equal ones have in common, and what to do. Pure.

What the queue of documents makes good without an operator is not reported here: a run of the lane
that was killed or met a transient error is followed by another, a document that cannot be processed
is a dead letter, and a provider that refuses while documents wait is the queue's own incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from rag_assets.documents.rules import LANES
from rag_assets.operations.causes import DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED
from rag_assets.store.dagster_state import EndedRun
from rag_assets.store.failed_runs import FailedRun
from rag_assets.store.incidents import Incident

DEPENDENCIES: Mapping[str, str] = {
    "AuthenticationError": "provider",
    "QuotaExceededError": "provider",
    "RateLimitedError": "provider",
    "ProviderUnavailableError": "provider",
    "DatabaseUnavailableError": "database",
    "DatabaseUnusableError": "database",
    "BrokerUnavailableError": "broker",
    "InboxUnavailableError": "inbox",
}
"""Errors of what all jobs depend on: one cause, whichever job met it."""

_HANDLED_BY_QUEUE = ("AuthenticationError", "QuotaExceededError", "DocumentError")

_DOCUMENT_STEP = "document_lane"
"""Also of runs of chosen documents, which have no lane: what they leave, the queue takes up."""

_REMEDIES: Mapping[str, str] = {
    "AuthenticationError": "correct OPENAI_API_KEY in .env and start again what uses it",
    "QuotaExceededError": "pay, or add a key to OPENAI_API_KEYS",
    "RateLimitedError": "lower RAG_EMBEDDING_RATE_LIMIT to what the provider allows",
    "ProviderUnavailableError": "wait until `rag-assets doctor` says that the provider answers",
    "DatabaseUnavailableError": "wait until `rag-assets doctor` says that the database answers",
    "BudgetExceededError": "raise RAG_MAX_RUN_COST_USD, or embed less at a time",
    "CorpusError": "correct the file that the message names",
    "PolicyError": "correct the version's version.toml, if its licence allows it",
    "IndexBuildError": "change the setting that the message names",
    "GateRefusedError": "`rag-assets release gate` lists each reason with its fix",
    "DagsterAssetCheckFailedError": "the failed checks are on the asset's page, with their figures",
    "WorkerLostError": "the system's log says what ended the process, often a lack of memory",
}
_OTHERWISE = "the run's log has the trace"
_PARTITIONS = 40
"""Partitions named in a sentence."""


@dataclass(frozen=True)
class FailedJobs:
    """Failures of one cause, the oldest first; there is at least one."""

    cause: str
    runs: tuple[FailedRun, ...]

    @property
    def subject(self) -> str:
        """The jobs."""
        return ", ".join(sorted({run.work for run in self.runs}))

    @property
    def began_at(self) -> datetime:
        return self.runs[0].ended_at

    @property
    def jobs(self) -> frozenset[str]:
        """By their names in Dagster."""
        return frozenset(run.job for run in self.runs)

    @property
    def which(self) -> str:
        """Each job with its partitions."""
        works = groupby(sorted(self.runs, key=_place), key=lambda run: run.work)
        return "; ".join(_named(work, [run.partition for run in runs]) for work, runs in works)

    @property
    def why(self) -> str:
        last = self.runs[-1]
        return f"{last.error_class}: {last.error}"

    def remedy(self, public_url: str) -> str:
        """What to do, and where the last of the runs can be started again."""
        last = self.runs[-1]
        first_step = _REMEDIES.get(last.error_class, _OTHERWISE)
        return f"{first_step}; then re-execute {public_url}/runs/{last.run_id}"

    def facts(self, public_url: str) -> tuple[str, ...]:
        """Which, why, and what to do, a sentence each."""
        return self.which, self.why, f"to do: {self.remedy(public_url)}"


def cause_of(run: EndedRun) -> str | None:
    """What the run's failure has in common with equal ones; ``None`` where it is not reported.

    A failure after which Dagster starts the run again is not, nor one that the queue handles. A run
    that an operator cancelled has not failed.
    """
    failure = run.failure
    if failure is None or failure.retried:
        return None
    of_queue = run.lane in LANES or _DOCUMENT_STEP in run.failed_steps
    if of_queue and (failure.transient or failure.error_class in _HANDLED_BY_QUEUE):
        return None
    if failure.error_class in DEPENDENCIES:
        return failure.error_class
    work = ", ".join(run.failed_steps) if run.job.startswith("__") else run.job
    return f"{work}: {failure.error_class}"


def by_cause(failing: Sequence[FailedRun]) -> dict[str, FailedJobs]:
    """Failures that stand, by what they have in common.

    :param failing: the oldest first.
    """
    causes = dict.fromkeys(run.cause for run in failing)
    return {
        cause: FailedJobs(cause, tuple(run for run in failing if run.cause == cause))
        for cause in causes
    }


def explained_by(failed: FailedJobs, incident: Incident | None) -> bool:
    """Whether the queue's incident is of the same cause: one message is enough for both."""
    if incident is None:
        return False
    dependency = DEPENDENCIES.get(failed.runs[-1].error_class)
    if incident.cause in (OUT_OF_QUOTA, RATE_LIMITED):
        return dependency == "provider"
    return incident.cause == DEPENDENCY_DOWN and incident.subject == dependency


def _place(run: FailedRun) -> tuple[str, str]:
    return run.work, run.partition


def _named(work: str, partitions: Sequence[str]) -> str:
    keys = [key for key in partitions if key]
    if not keys:
        return f"{work} failed"
    more = f" and {len(keys) - _PARTITIONS} more" if len(keys) > _PARTITIONS else ""
    count = f"{len(keys)} partitions: " if len(keys) > 1 else ""
    return f"{work} failed for {count}{', '.join(keys[:_PARTITIONS])}{more}"
