"""Incidents of failed jobs: opened, reported once, and closed when the jobs have succeeded."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime

from rag_assets.errors import ConfigurationError
from rag_assets.operations import messages
from rag_assets.operations.findings import JOB_FAILED, Finding
from rag_assets.operations.job_failures import (
    FailedJobs,
    belongs_to,
    is_expected,
    split_explained,
    unnoticed,
)
from rag_assets.operations.sql import incidents
from rag_assets.operations.sql import messages as stored_messages
from rag_assets.operations.sql.failed_runs import Failing, forget_failures
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.thresholds import Thresholds
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings


def follow_failed_jobs(
    connection: Connection,
    settings: Settings,
    thresholds: Thresholds,
    failing: Failing,
    *,
    busy: Set[str],
    troubles: Sequence[Finding],
) -> None:
    """Update the incidents of failed jobs, and queue messages about new ones.

    A failure that a queue incident explains, or is about to explain, opens none.

    :param busy: jobs with runs queued or in progress.
    :param troubles: current findings of the recovery.
    """
    standing = {run.cause for run in failing.runs}
    known = {incident.job_cause: incident for incident in incidents.job_incidents(connection)}
    with connection.transaction():
        for cause, incident in known.items():
            if cause not in standing:
                incidents.set_state(connection, incident.incident_id, "closed")
        for cause, jobs in split_explained(failing).reported.items():
            if cause not in known and is_expected(jobs, troubles, thresholds, failing.at):
                continue
            found = _recorded(connection, jobs, known.get(cause), settings.rag_public_url)
            if found is None:
                continue
            # More partitions of a running job may fail for the same reason: send one message.
            late = failing.at - found.noticed_at >= thresholds.stagnation
            if late or not busy & jobs.jobs:
                messages.notify_of_incident(connection, found, settings)


def job_message_sent_at(
    connection: Connection, incident: Incident, failing: Failing
) -> datetime | None:
    """Return when a message about failed jobs already reported the cause of this queue incident.

    An unsent message of that kind is withdrawn in favour of the incident's own.
    """
    causes = {run.cause for run in failing.runs if belongs_to(incident, run, failing.at)}
    sent = [
        stored_messages.withdraw(connection, messages.message_subject(known))
        for known in incidents.job_incidents(connection)
        if known.job_cause in causes
    ]
    # An older message was about another outage.
    since = incident.began_at - unnoticed(incident)
    return max((at for at in sent if at is not None and at >= since), default=None)


def _recorded(
    connection: Connection, jobs: FailedJobs, known: Incident | None, public_url: str
) -> Incident | None:
    """Store and return the incident of these failures; ``None`` if another process opens it."""
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
        # Keep the largest set of failures: jobs that succeeded since stay in the report.
        if len(jobs.runs) >= known.failed_jobs and known.facts != facts:
            incidents.refine_incident(connection, number, JOB_FAILED, jobs.subject, facts)
    if number is None:
        return None
    incidents.count_failed_jobs(connection, number, len(jobs.runs))
    return incidents.find_incident(connection, number)


def close_job_incident(database: Database, name: str) -> Incident:
    """Close and return an incident of failed jobs although none has succeeded since.

    :param name: such as ``incident-0007``.
    :raises ConfigurationError: there is no such incident, or it cannot be closed by hand.
    """
    with database.connect() as connection:
        incident = incidents.named_incident(connection, name)
        if incident.job_cause is None:
            raise ConfigurationError(
                f"{name} is about the queue: the recovery closes it once work resumes"
            )
        if incident.state == "closed":
            raise ConfigurationError(f"{name} is already closed")
        forget_failures(connection, incident.job_cause)
        incidents.set_state(connection, incident.incident_id, "closed")
    return incident
