"""The report of an incident: Markdown, and what is to be drawn of the queue meanwhile."""

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
from rag_assets.visible import visible

_AROUND = timedelta(minutes=10)
_MOST_ACTIONS = 50

PREVENTION = {
    findings.DEPENDENCY_DOWN: "Watch the dependency itself; give it a second server, or a restart "
    "by its supervisor. Nothing was lost here: documents wait for as long as it takes.",
    findings.OUT_OF_QUOTA: "Raise the provider's budget, or have it tell you before it is used up; "
    "keys of several organisations (`OPENAI_API_KEYS`) add quota.",
    findings.RATE_LIMITED: "Set `RAG_EMBEDDING_RATE_LIMIT` and `RAG_EMBEDDING_TOKEN_LIMIT` to what "
    "the provider allows, for all who use its keys together; or ask it for more.",
    findings.OUT_OF_MEMORY: "Lower `RAG_DOCUMENT_MEMORY_MB`, `RAG_DOCUMENT_RUNS` or "
    "`RAG_DOCUMENTS_PER_RUN`, or give the machine more memory; the system's log names the process.",
    findings.WORKER_LOST: "See the run's log in Dagster for the last line before it ended, and the "
    "system's for who ended it.",
    findings.SLOW_DOCUMENT: "Lower `RAG_LARGE_DOCUMENT_MB`, so that such documents have their own "
    "lane, raise `RAG_LARGE_DOCUMENT_RUNS`, or split the document.",
    findings.DAEMON_AWAY: "Let a supervisor start `rag-assets up` again whenever it ends.",
    findings.ERRORS: "Read the dead letters and what they say to do: `rag-assets documents dlq`.",
    findings.JOB_FAILED: "The evidence names the cause and what was to be done about it. Where it "
    "may come back, watch what the job depends on: `rag-assets doctor` says whether it is there.",
    findings.UNKNOWN: "The evidence did not tell. `rag-assets doctor` at such a time may, and the "
    "logs of the runs.",
}


@dataclass(frozen=True)
class Report:
    """What there is to read of one incident.

    :param seconds: from its beginning until work went on again, or until now.
    :param until: the end of that time.
    :param drawn: samples of the queue, from some time before to some time after.
    """

    incident: Incident
    until: datetime
    markdown: str
    drawn: tuple[QueueSample, ...]

    @property
    def seconds(self) -> float:
        return (self.until - self.incident.began_at).total_seconds()


def read_report(database: Database, name: str, *, run_id: str | None = None) -> Report:
    """The report of ``incident-0007`` as things stand.

    :param run_id: the run that keeps it, which is noted.
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
    """The report's eight fields, and the jobs that failed by it. Pure.

    :param failed: a sentence each.
    """
    until = incident.recovering_at or now
    subject = f" ({incident.subject})" if incident.subject else ""
    goes_on = "" if incident.recovering_at else ", and it goes on"
    nothing = "- nothing: it recovered automatically" if incident.recovering_at else "- nothing yet"
    if incident.cause in (findings.OUT_OF_MEMORY, findings.WORKER_LOST):
        nothing = "- nothing: Dagster itself starts such a run again"
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
    lines += ["| | |", "|---|---|", *(f"| {name} | {told} |" for name, told in rows.items()), ""]
    lines += ["### Evidence", "", *(f"- {fact}" for fact in incident.facts), ""]
    if failed:
        lines += ["### Jobs that failed by it", "", *(f"- {job}" for job in failed), ""]
    lines += ["### What was done", "", *(_done(actions) or [nothing]), ""]
    lines += ["### What prevents it", "", PREVENTION.get(incident.cause, PREVENTION["unknown"]), ""]
    return "\n".join(map(visible, lines))


def measure_taken(action: RecoveryAction) -> str:
    """What was done, and to what; an endpoint, which is a hash, says nothing to people. Pure."""
    what = action.action.replace("_", " ")
    return what if action.action.endswith("_share") else f"{what} {action.subject}"


def curves(
    drawn: Sequence[QueueSample], began_at: datetime
) -> tuple[list[float], list[int], list[int]]:
    """Over all lanes: minutes since then, documents waiting, and what was completed between two.

    There is one number less of the last. Pure.
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
    """A length of time, for people."""
    seconds = round(time.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _jobs_that_failed(connection: Connection, incident: Incident, now: datetime) -> tuple[str, ...]:
    """Which, and whether a later run has done their work; of an incident of the queue."""
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
        f"{jobs.which}, {told}; {jobs.why}"
        for runs, told in groups
        if runs
        for jobs in [FailedJobs(incident.cause, runs)]
    )


def _of_queue(incident: Incident) -> dict[str, str]:
    return {
        "Longest queue": f"{incident.longest_queue} documents",
        "Affected": f"{incident.documents_affected} documents waited or were at work",
    }


def _ended(incident: Incident) -> str:
    called = "; a person was called" if incident.escalated_at else ""
    if incident.ended_at:
        return f"closed {incident.ended_at:%Y-%m-%d %H:%M:%S}{called}"
    return f"{incident.state}{called}"


def _done(actions: Sequence[RecoveryAction]) -> list[str]:
    lines = [
        f"- {action.acted_at:%H:%M:%S} {measure_taken(action)}: {action.reason}"
        + ("" if action.done else f" (failed: {action.told})")
        for action in actions[:_MOST_ACTIONS]
    ]
    more = len(actions) - _MOST_ACTIONS
    return [*lines, f"- and {more} more"] if more > 0 else lines
