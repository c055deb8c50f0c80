"""The report of an incident: Markdown, and samples of the queue to plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from rag_assets.operations import findings
from rag_assets.operations.job_failures import RETRY_CHANCE, FailedJobs, belongs_to, unnoticed
from rag_assets.operations.sql import failed_runs, incidents, samples
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.operations.sql.samples import QueueSample
from rag_assets.postgres.database import Connection, Database
from rag_assets.visible import count, visible

_AROUND = timedelta(minutes=10)
_MAX_ACTIONS = 50

PREVENTION = {
    findings.DEPENDENCY_DOWN: "Watch the dependency itself; give it a second server, or a restart "
    "by its supervisor. Nothing was lost: documents wait until it is back.",
    findings.OUT_OF_QUOTA: "Raise the provider's budget, or have it warn you before it is used up; "
    "keys of several organisations (`OPENAI_API_KEYS`) add quota.",
    findings.RATE_LIMITED: "Set `RAG_EMBEDDING_RATE_LIMIT` and `RAG_EMBEDDING_TOKEN_LIMIT` to what "
    "the provider allows for all users of its keys combined, or ask it for more.",
    findings.OUT_OF_MEMORY: "Lower `RAG_DOCUMENT_MEMORY_MB`, `RAG_DOCUMENT_RUNS` or "
    "`RAG_DOCUMENTS_PER_RUN`, or give the machine more memory; the system's log names the process.",
    findings.WORKER_LOST: "See the run's log in Dagster for the last line before it ended, and the "
    "system's log for what ended it.",
    findings.SLOW_DOCUMENT: "Lower `RAG_LARGE_DOCUMENT_MB`, so that such documents have their own "
    "lane, raise `RAG_LARGE_DOCUMENT_RUNS`, or split the document.",
    findings.DAEMON_AWAY: "Let a supervisor restart `rag-assets up` whenever it ends.",
    findings.ERRORS: "Read the dead letters and the fixes they name: `rag-assets documents dlq`.",
    findings.JOB_FAILED: "The evidence names the cause and the fix. If it may recur, monitor what "
    "the job depends on: `rag-assets doctor` reports whether it answers.",
    findings.UNKNOWN: "The evidence does not show the cause. `rag-assets doctor` during such an "
    "incident, or the logs of the runs, may.",
}

EXPLAIN = (
    "`rag-assets explain 'WORDS OF IT' --expect KEY` names the stage at which it stopped, and the "
    "next command"
)


@dataclass(frozen=True)
class Report:
    """The report of one incident.

    :param until: when work resumed, or now.
    :param drawn: samples of the queue, from ten minutes before to ten minutes after.
    """

    incident: Incident
    until: datetime
    markdown: str
    drawn: tuple[QueueSample, ...]

    @property
    def seconds(self) -> float:
        """Duration of the incident."""
        return (self.until - self.incident.began_at).total_seconds()


def read_report(database: Database, name: str, *, run_id: str | None = None) -> Report:
    """Write the current report of an incident, such as ``incident-0007``.

    :param run_id: the run that stores the report, to be recorded.
    :raises ConfigurationError: there is no such incident.
    """
    with database.connect() as connection:
        incident = incidents.named_incident(connection, name)
        actions = incidents.actions_of(connection, incident.incident_id)
        now = incident.ended_at or datetime.now(incident.began_at.tzinfo)
        drawn = samples.queue_samples(connection, incident.began_at - _AROUND, now + _AROUND)
        failed = _jobs_that_failed(connection, incident, now)
        if run_id is not None:
            incidents.mark_reported(connection, incident.incident_id, run_id)
    until = incident.recovering_at or now
    return Report(incident, until, write(incident, actions, now=now, failed=failed), drawn)


def write(
    incident: Incident,
    actions: Sequence[RecoveryAction],
    *,
    now: datetime,
    failed: Sequence[str] = (),
) -> str:
    """Write the report's eight fields, the jobs that failed because of the incident, and how to
    find out about a document. Pure.

    :param failed: one sentence per job.
    """
    until = incident.recovering_at or now
    subject = f" ({incident.subject})" if incident.subject else ""
    goes_on = "" if incident.recovering_at else ", ongoing"
    nothing = "- nothing: it recovered automatically" if incident.recovering_at else "- nothing yet"
    if incident.cause in (findings.OUT_OF_MEMORY, findings.WORKER_LOST):
        nothing = "- nothing: Dagster restarts such a run"
    if incident.job_cause is not None:
        nothing = "- the job was run again" if incident.recovering_at else nothing
    began = f"{incident.began_at:%Y-%m-%d %H:%M:%S %Z}"
    rows = {
        "Began": f"{began}; noticed {incident.noticed_at:%H:%M:%S}",
        "Lasted": f"{span(until - incident.began_at)}{goes_on}; {_ended(incident)}",
        **(_of_queue(incident) if incident.job_cause is None else {}),
        "Failed jobs": f"{incident.failed_jobs}",
        "Root cause": f"{incident.cause}{subject}",
    }
    lines = [f"## Incident {incident.incident_id}: {incident.cause}{subject}", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()), ""]
    lines += ["### Evidence", "", *(f"- {fact}" for fact in incident.facts), ""]
    if failed:
        lines += ["### Jobs that failed because of it", "", *(f"- {job}" for job in failed), ""]
    lines += ["### What was done", "", *(_done(actions) or [nothing]), ""]
    if incident.job_cause is None:
        lines += ["### A document that is still not found", "", f"- {EXPLAIN}", ""]
    lines += ["### What prevents it", "", PREVENTION.get(incident.cause, PREVENTION["unknown"]), ""]
    return "\n".join(map(visible, lines))


def measure_taken(action: RecoveryAction) -> str:
    """Return the action and its subject, except for an endpoint, which is a hash. Pure."""
    what = action.action.replace("_", " ")
    return what if action.action.endswith("_share") else f"{what} {action.subject}"


def curves(
    drawn: Sequence[QueueSample], began_at: datetime
) -> tuple[list[float], list[int], list[int]]:
    """Sum over all lanes: minutes since ``began_at``, documents waiting, and completed in between.

    The last list counts between samples, and is one shorter. Pure.
    """
    sums = [
        (
            (at - began_at).total_seconds() / 60,
            sum(one.waiting for one in lanes),
            sum(one.succeeded for one in lanes),
        )
        for at, group in groupby(drawn, key=lambda sample: sample.sampled_at)
        for lanes in [list(group)]
    ]
    completed = [after[2] - before[2] for before, after in pairwise(sums)]
    return [one[0] for one in sums], [one[1] for one in sums], completed


def span(time: timedelta) -> str:
    """Format a duration: ``2 h 5 min``, ``3 min 10 s``, ``8 s``."""
    seconds = round(time.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _jobs_that_failed(connection: Connection, incident: Incident, now: datetime) -> tuple[str, ...]:
    """Return the jobs that a queue incident made fail, and whether a later run did their work."""
    if incident.job_cause is not None:
        return ()
    ended = failed_runs.failures_between(
        connection, incident.began_at - unnoticed(incident), now + RETRY_CHANCE
    )
    last = {run.what: run for run in ended if belongs_to(incident, run, now)}
    standing = {run.what for run in failed_runs.failing_runs(connection)}
    left = tuple(run for what, run in last.items() if what in standing)
    done = tuple(run for what, run in last.items() if what not in standing)
    groups = ((done, "a later run has done its work"), (left, "its work is not done yet"))
    return tuple(
        f"{jobs.which}, {state}; {jobs.why}"
        for runs, state in groups
        if runs
        for jobs in [FailedJobs(incident.cause, runs)]
    )


def _of_queue(incident: Incident) -> dict[str, str]:
    return {
        "Longest queue": count(incident.longest_queue, "document"),
        "In processing": count(incident.documents_affected, "document"),
        "Merely waited": count(incident.documents_waited, "document"),
        **_of_operators(incident),
    }


def _of_operators(incident: Incident) -> dict[str, str]:
    if not incident.retries:
        return {}
    failed = f"{count(incident.retries_failed, 'attempt')} at them failed"
    return {"Retried by an operator": f"{count(incident.retries, 'document')}; {failed}"}


def _ended(incident: Incident) -> str:
    called = "; an operator was notified" if incident.escalated_at else ""
    if incident.ended_at:
        return f"closed {incident.ended_at:%Y-%m-%d %H:%M:%S}{called}"
    return f"{incident.state}{called}"


def _done(actions: Sequence[RecoveryAction]) -> list[str]:
    lines = [
        f"- {action.acted_at:%H:%M:%S} {measure_taken(action)}: {action.reason}"
        + ("" if action.done else f" (failed: {action.detail})")
        for action in actions[:_MAX_ACTIONS]
    ]
    more = len(actions) - _MAX_ACTIONS
    return [*lines, f"- and {more} more"] if more > 0 else lines
