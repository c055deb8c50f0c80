"""The incidents of failed jobs: opened, told once, and closed when the jobs have succeeded."""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime

from rag_assets.errors import ConfigurationError
from rag_assets.operations import messages
from rag_assets.operations.causes import JOB_FAILED
from rag_assets.operations.job_failures import FailedJobs, by_cause, explained_by
from rag_assets.operations.rules import Rules
from rag_assets.settings import Settings
from rag_assets.store import incidents
from rag_assets.store.database import Connection, Database
from rag_assets.store.failed_runs import failing_runs, forget_failures
from rag_assets.store.incidents import Incident


def follow_failed_jobs(
    connection: Connection,
    settings: Settings,
    rules: Rules,
    *,
    now: datetime,
    busy: Set[str],
    queue_incident: Incident | None,
) -> None:
    """Bring the incidents of failed jobs up to date, and have new ones told.

    :param busy: jobs with runs that are queued or at work.
    :param queue_incident: the queue's that is not closed; what it explains opens no other.
    """
    failed = by_cause(failing_runs(connection))
    known = {incident.job_cause: incident for incident in incidents.job_incidents(connection)}
    with connection.transaction():
        for cause, incident in known.items():
            if cause not in failed:
                incidents.set_state(connection, incident.incident_id, "closed")
        for cause, jobs in failed.items():
            if cause not in known and explained_by(jobs, queue_incident):
                continue
            found = _recorded(connection, jobs, known.get(cause), settings.rag_public_url)
            # More partitions of a job at work may fail by the same cause: one message for them all.
            settled = not busy & jobs.jobs or now - jobs.began_at >= rules.stagnation
            if found is not None and settled:
                messages.tell_of_incident(connection, found, settings)


def _recorded(
    connection: Connection, jobs: FailedJobs, known: Incident | None, public_url: str
) -> Incident | None:
    """The incident of these failures as it is now; ``None`` where another process opens it."""
    facts = jobs.facts(public_url)
    if known is None:
        number = incidents.open_incident(
            connection,
            JOB_FAILED,
            jobs.subject,
            facts,
            began_at=jobs.began_at,
            job_cause=jobs.cause,
        )
    else:
        number = known.incident_id
        # The widest that it was: what has succeeded since stays in the report.
        if len(jobs.runs) >= known.failed_jobs and known.facts != facts:
            incidents.refine_incident(connection, number, JOB_FAILED, jobs.subject, facts)
    if number is None:
        return None
    incidents.count_failed_jobs(connection, number, len(jobs.runs))
    return incidents.find_incident(connection, number)


def close_job_incident(database: Database, name: str) -> Incident:
    """Close an incident of failed jobs though none has succeeded since; the incident.

    :param name: such as ``incident-0007``.
    :raises ConfigurationError: there is no such incident, or it is not to be closed by hand.
    """
    with database.connect() as connection:
        incident = incidents.named_incident(connection, name)
        if incident.job_cause is None:
            raise ConfigurationError(
                f"{name} is about the queue: the recovery closes it once work goes on"
            )
        if incident.state == "closed":
            raise ConfigurationError(f"{name} is closed already")
        forget_failures(connection, incident.job_cause)
        incidents.set_state(connection, incident.incident_id, "closed")
    return incident
