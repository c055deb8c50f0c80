"""Failed jobs: which failures are reported, how they are grouped by cause, and what to do. Pure.

Failures that the document queue repairs without an operator are not reported: another run follows
a lane's run that was killed or met a transient error, a document that cannot be processed becomes
a dead letter, and a provider that refuses requests while documents wait is a queue incident.

A failure during an outage belongs to the incident of that outage until automatic runs have had
:data:`RETRY_CHANCE` to do the work. If it is still not done then, the failure is reported.
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
"""Time within which automatic runs retry after an outage. The slowest of them, the documents' index
and release, are evaluated every quarter of an hour."""

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
"""Errors of shared dependencies: one cause, whichever job met it."""

_DATABASE = frozenset(("DatabaseUnavailableError", "DatabaseUnusableError"))
_ENDED_EARLY = frozenset(("WorkerLostError", RUN_FAILURE))
"""Errors without a cause: a run may have failed to report its error because of the outage."""
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
"""Errors with which jobs fail in a queue incident: by dependency that is down, or by cause."""

_HANDLED_BY_QUEUE = ("AuthenticationError", "QuotaExceededError", "DocumentError")

_DOCUMENT_STEP = "document_lane"
"""Also the step of runs of selected documents, which have no lane; the queue takes up the rest."""

_REMEDIES: Mapping[str, str] = {
    "AuthenticationError": "correct OPENAI_API_KEY in .env and restart whatever uses it",
    "QuotaExceededError": "raise the quota, or add a key to OPENAI_API_KEYS",
    "RateLimitedError": "lower RAG_EMBEDDING_RATE_LIMIT to what the provider allows",
    "ProviderUnavailableError": "wait until `rag-assets doctor` reports that the provider answers",
    "DatabaseUnavailableError": "wait until `rag-assets doctor` reports that the database answers",
    RUN_FAILURE: "the run's page in Dagster has its events and output, `RAG_HOME/up.log` the rest",
    "BudgetExceededError": "change the setting that the message names, or embed less at a time",
    "CorpusError": "correct the file that the message names",
    "PolicyError": "correct the version's version.toml, if its licence allows it",
    "IndexBuildError": "change the setting that the message names",
    "GateRefusedError": "run the commands that it names; `rag-assets release gate` shows the rest",
    "DagsterAssetCheckFailedError": "the failed checks are on the asset's page, with their figures",
    "WorkerLostError": "the system log shows what ended the process, often a lack of memory",
}
_OTHERWISE = "the run's log has the traceback"
_PARTITIONS = 40
"""Maximum number of partitions named in a sentence."""


@dataclass(frozen=True)
class FailedJobs:
    """Failures with one cause, oldest first; never empty."""

    cause: str
    runs: tuple[FailedRun, ...]

    @property
    def subject(self) -> str:
        """The names of the jobs."""
        return ", ".join(sorted({run.work for run in self.runs}))

    @property
    def began_at(self) -> datetime:
        return self.runs[0].ended_at

    @property
    def jobs(self) -> frozenset[str]:
        """The jobs' names in Dagster."""
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
        """Return what to do, and the page where the last run can be re-executed."""
        last = self.runs[-1]
        first_step = _REMEDIES.get(last.error_class, _OTHERWISE)
        return f"{first_step}; then re-execute {public_url}/runs/{last.run_id}"

    def facts(self, public_url: str) -> tuple[str, ...]:
        """Return which jobs failed, why, and what to do, one sentence each."""
        return self.which, self.why, f"to do: {self.remedy(public_url)}"


@dataclass(frozen=True)
class SplitFailures:
    """Unresolved failures.

    :param reported: those that are incidents of their own, by cause.
    :param explained: those that a queue incident explains, with the incident.
    """

    reported: Mapping[str, FailedJobs]
    explained: tuple[tuple[Incident, FailedJobs], ...]


def cause_of(run: EndedRun) -> str | None:
    """Return the key that groups equal failures; ``None`` if the failure is not reported.

    Failures that Dagster retries or the queue handles are not reported. A run that an operator
    cancelled has not failed.
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
    """Group unresolved failures by cause.

    :param failing: oldest first.
    """
    causes = dict.fromkeys(run.cause for run in failing)
    return {
        cause: FailedJobs(cause, tuple(run for run in failing if run.cause == cause))
        for cause in causes
    }


def by_work(runs: Sequence[FailedRun]) -> tuple[str, ...]:
    """Return one sentence per job, with its partitions."""
    works = groupby(sorted(runs, key=_place), key=lambda run: run.work)
    return tuple(_named(work, [run.partition for run in failed]) for work, failed in works)


def split_explained(failing: Failing) -> SplitFailures:
    """Split unresolved failures into those reported and those that queue incidents explain."""
    reported = list(failing.runs)
    explained = []
    for incident in failing.incidents:
        runs = tuple(run for run in reported if _explains(incident, run, failing.at))
        if runs:
            explained.append((incident, FailedJobs(incident.cause, runs)))
            reported = [run for run in reported if run not in runs]
    return SplitFailures(by_cause(reported), tuple(explained))


def belongs_to(incident: Incident, run: FailedRun, at: datetime) -> bool:
    """Return whether a queue incident's cause made the run fail.

    A run that ended long after the incident did not, however early it had started.
    """
    until = _over(incident, at)
    return (
        run.error_class in _errors_in(incident.cause, incident.subject)
        and run.ended_at >= incident.began_at - unnoticed(incident)
        and (run.started_at or run.ended_at) <= until
        and run.ended_at - until < RETRY_CHANCE
    )


def unnoticed(incident: Incident) -> timedelta:
    """Return how long an outage may have lasted before its incident began.

    The provider is probed only while documents wait; other dependencies at each check.
    """
    watched = incident.cause == DEPENDENCY_DOWN and incident.subject != "provider"
    return 2 * INTERVAL if watched else RETRY_CHANCE


def is_expected(
    jobs: FailedJobs, troubles: Sequence[Finding], thresholds: Thresholds, at: datetime
) -> bool:
    """Return whether an outage that may soon become an incident explains the failures.

    A dependency must fail two checks in a row, and the damage of a restart of PostgreSQL shows only
    once leases expire.
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
    """Return when the incident's cause ended; now if it has not."""
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
