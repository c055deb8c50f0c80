"""Failed jobs: which failures are reported, what equal ones have in common, and what to do. Pure.

What the queue of documents makes good without an operator is not reported here: a run of the lane
that was killed or met a transient error is followed by another, a document that cannot be processed
is a dead letter, and a provider that refuses while documents wait is the queue's own incident.

What failed because a dependency was away belongs to the incident of that outage, until what runs
automatically has had its chance to do the work. What is still not done then is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from rag_assets.lanes import DOCUMENT_LANES
from rag_assets.operations.findings import DEPENDENCY_DOWN, OUT_OF_QUOTA, RATE_LIMITED, Finding
from rag_assets.operations.sql.dagster_state import RUN_FAILURE, EndedRun
from rag_assets.operations.sql.failed_runs import FailedRun, Failing
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.thresholds import INTERVAL, Thresholds

RETRY_CHANCE = timedelta(minutes=30)
"""In which what runs automatically comes again after an outage: the slowest of it, the documents'
index and release, decides each quarter of an hour."""

_SHARED = frozenset(
    (
        "AuthenticationError",
        "QuotaExceededError",
        "RateLimitedError",
        "ProviderUnavailableError",
        "DatabaseUnavailableError",
        "DatabaseUnusableError",
        "BrokerUnavailableError",
        "InboxUnavailableError",
    )
)
"""Errors of what all jobs depend on: one cause, whichever job met it."""

_DATABASE = frozenset(("DatabaseUnavailableError", "DatabaseUnusableError"))
_ENDED_EARLY = frozenset(("WorkerLostError", RUN_FAILURE))
"""They say nothing of the cause. A run that could not even report its error may owe that to what
was away meanwhile."""
_BY_OUTAGE: Mapping[str, frozenset[str]] = {
    "database": _DATABASE | _ENDED_EARLY,
    "vectors": _DATABASE,
    "provider": frozenset(("AuthenticationError", "ProviderUnavailableError", "RateLimitedError")),
    "inbox": frozenset(("InboxUnavailableError",)),
    "broker": frozenset(("BrokerUnavailableError",)) | _ENDED_EARLY,
    "workers": _ENDED_EARLY,
}
_BY_CAUSE: Mapping[str, frozenset[str]] = {
    OUT_OF_QUOTA: frozenset(("QuotaExceededError",)),
    RATE_LIMITED: frozenset(("RateLimitedError", "ProviderUnavailableError")),
}
"""Errors by which jobs fail in an incident of the queue: by what is away, or by its cause."""

_HANDLED_BY_QUEUE = ("AuthenticationError", "QuotaExceededError", "DocumentError")

_DOCUMENT_STEP = "document_lane"
"""Also of runs of chosen documents, which have no lane: what they leave, the queue takes up."""

_REMEDIES: Mapping[str, str] = {
    "AuthenticationError": "correct OPENAI_API_KEY in .env and start again what uses it",
    "QuotaExceededError": "pay, or add a key to OPENAI_API_KEYS",
    "RateLimitedError": "lower RAG_EMBEDDING_RATE_LIMIT to what the provider allows",
    "ProviderUnavailableError": "wait until `rag-assets doctor` says that the provider answers",
    "DatabaseUnavailableError": "wait until `rag-assets doctor` says that the database answers",
    RUN_FAILURE: "the run's page in Dagster has its events and output, `RAG_HOME/up.log` the rest",
    "BudgetExceededError": "change the setting that the message names, or embed less at a time",
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
        return "; ".join(by_work(self.runs))

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


@dataclass(frozen=True)
class Standing:
    """Failures that stand.

    :param reported: by cause, those that are incidents of their own.
    :param explained: those that belong to an incident of the queue, with it.
    """

    reported: Mapping[str, FailedJobs]
    explained: tuple[tuple[Incident, FailedJobs], ...]


def cause_of(run: EndedRun) -> str | None:
    """What the run's failure has in common with equal ones; ``None`` where it is not reported.

    A failure after which Dagster starts the run again is not, nor one that the queue handles. A run
    that an operator cancelled has not failed.
    """
    failure = run.failure
    if failure is None or failure.retried:
        return None
    of_queue = run.lane in DOCUMENT_LANES or _DOCUMENT_STEP in run.failed_steps
    if of_queue and (failure.transient or failure.error_class in _HANDLED_BY_QUEUE):
        return None
    if failure.error_class in _SHARED:
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


def by_work(runs: Sequence[FailedRun]) -> tuple[str, ...]:
    """Each job with its partitions, a sentence each."""
    works = groupby(sorted(runs, key=_place), key=lambda run: run.work)
    return tuple(_named(work, [run.partition for run in failed]) for work, failed in works)


def split_explained(failing: Failing) -> Standing:
    """Split what stands into what is reported, and what the queue's incidents explain."""
    reported = list(failing.runs)
    explained = []
    for incident in failing.incidents:
        runs = tuple(run for run in reported if _explains(incident, run, failing.at))
        if runs:
            explained.append((incident, FailedJobs(incident.cause, runs)))
            reported = [run for run in reported if run not in runs]
    return Standing(by_cause(reported), tuple(explained))


def belongs_to(incident: Incident, run: FailedRun, at: datetime) -> bool:
    """Whether a run failed by what an incident of the queue is about, while it lasted.

    A run that ended long after it did not fail by it, however early it had started.
    """
    until = _over(incident, at)
    return (
        run.error_class in _errors_in(incident.cause, incident.subject)
        and run.ended_at >= incident.began_at - unnoticed(incident)
        and (run.started_at or run.ended_at) <= until
        and run.ended_at - until < RETRY_CHANCE
    )


def unnoticed(incident: Incident) -> timedelta:
    """For how long the outage may have lasted before its incident began.

    The provider is asked only while documents wait; all else at each look.
    """
    watched = incident.cause == DEPENDENCY_DOWN and incident.subject != "provider"
    return 2 * INTERVAL if watched else RETRY_CHANCE


def is_expected(
    jobs: FailedJobs, troubles: Sequence[Finding], thresholds: Thresholds, at: datetime
) -> bool:
    """Whether an outage that explains them is seen, and may become an incident at the next looks.

    One look at a dependency is not enough for that; and what a restart of PostgreSQL cost shows
    once leases are over.
    """
    seen = (one for one in troubles if one.cause == DEPENDENCY_DOWN)
    last = jobs.runs[-1]
    return at - last.ended_at < 2 * thresholds.check and any(
        last.error_class in _errors_in(one.cause, one.subject) for one in seen
    )


def _explains(incident: Incident, run: FailedRun, at: datetime) -> bool:
    over = max(_over(incident, at), run.ended_at)
    return belongs_to(incident, run, at) and at - over < RETRY_CHANCE


def _over(incident: Incident, at: datetime) -> datetime:
    """When what the incident is about was over; now, while it lasts."""
    return incident.over_at or incident.recovering_at or incident.ended_at or at


def _errors_in(cause: str, subject: str) -> frozenset[str]:
    found = _BY_OUTAGE if cause == DEPENDENCY_DOWN else _BY_CAUSE
    return found.get(subject if cause == DEPENDENCY_DOWN else cause, frozenset())


def _place(run: FailedRun) -> tuple[str, str]:
    return run.work, run.partition


def _named(work: str, partitions: Sequence[str]) -> str:
    keys = [key for key in partitions if key]
    if not keys:
        return f"{work} failed"
    more = f" and {len(keys) - _PARTITIONS} more" if len(keys) > _PARTITIONS else ""
    count = f"{len(keys)} partitions: " if len(keys) > 1 else ""
    return f"{work} failed for {count}{', '.join(keys[:_PARTITIONS])}{more}"
