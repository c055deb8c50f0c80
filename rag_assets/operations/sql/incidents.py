"""Incidents, and the recovery's actions.

At any time at most one incident of the queue is open, and one per cause of failed jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection, fetch_all

IncidentState = Literal["open", "recovering", "escalated", "closed"]


@dataclass(frozen=True)
class Incident:
    """One row of ``incidents``.

    :param cause: its kind, such as ``dependency-down``.
    :param evidence: ``subject``: the dependency, key, run or document; ``facts``: sentences;
        ``known``: identities of their findings; ``over_at``: when the cause was last seen to end.
    :param began_at: the earliest time in the evidence.
    :param recovering_at: when work resumed.
    :param escalated_at: when an operator was notified; kept if it recovers after all.
    :param documents_affected: those in processing; ``documents_waited``: those that merely waited.
    :param failed_jobs: attempts or runs that failed; without those of ``retries``, the documents
        that operators put back meanwhile, of whose attempts ``retries_failed`` failed.
    :param job_cause: the cause that failed jobs share; ``None`` for a queue incident.
    """

    incident_id: int
    state: IncidentState
    cause: str
    evidence: dict[str, Any]
    began_at: datetime
    noticed_at: datetime
    recovering_at: datetime | None
    escalated_at: datetime | None
    ended_at: datetime | None
    longest_queue: int
    documents_affected: int
    failed_jobs: int
    reported_run: str | None
    job_cause: str | None = None
    documents_waited: int = 0
    retries: int = 0
    retries_failed: int = 0

    @property
    def name(self) -> str:
        """Its name and the partition of its report: ``incident-0007``."""
        return f"incident-{self.incident_id:04}"

    @property
    def subject(self) -> str:
        return str(self.evidence.get("subject", ""))

    @property
    def facts(self) -> tuple[str, ...]:
        return tuple(self.evidence.get("facts", ()))

    @property
    def known(self) -> tuple[str, ...]:
        return tuple(self.evidence.get("known", ()))

    @property
    def over_at(self) -> datetime | None:
        """When its cause ended; work need not have resumed yet."""
        at = self.evidence.get("over_at")
        return datetime.fromisoformat(at) if at else None


@dataclass(frozen=True)
class RecoveryAction:
    """An action of the recovery; ``detail`` is its target, or the error if it failed."""

    action: str
    subject: str
    reason: str
    done: bool
    detail: str
    acted_at: datetime
    incident_id: int | None = None


def current_incident(connection: Connection) -> Incident | None:
    """Return the queue's incident that is not closed. Uses the index that makes it unique."""
    found = _incidents(connection, sql.SQL("state <> 'closed' AND job_cause IS NULL"))
    return found[0] if found else None


def job_incidents(connection: Connection) -> tuple[Incident, ...]:
    """Return the incidents of failed jobs that are not closed. Uses the index of those."""
    which = sql.SQL("state <> 'closed' AND job_cause IS NOT NULL")
    return _incidents(connection, which, limit=1000)


def recent_incidents(connection: Connection) -> tuple[Incident, ...]:
    """Return queue incidents that are open or ended within a day. Scans the (few) incidents."""
    which = sql.SQL(
        "job_cause IS NULL AND (state <> 'closed' OR ended_at > now() - interval '1 day')"
    )
    return _incidents(connection, which, limit=1000)


def find_incident(connection: Connection, incident_id: int) -> Incident | None:
    """Return an incident. Uses the primary key."""
    found = _incidents(connection, sql.SQL("incident_id = %(id)s"), id=incident_id)
    return found[0] if found else None


def named_incident(connection: Connection, name: str) -> Incident:
    """Return an incident by name, such as ``incident-0007``. Uses the primary key.

    :raises ConfigurationError: there is no such incident.
    """
    prefix, _, number = name.rpartition("-")
    known = prefix == "incident" and number.isdigit()
    incident = find_incident(connection, int(number)) if known else None
    if incident is None:
        raise ConfigurationError(
            f"there is no incident {name}: `rag-assets incidents list` lists them"
        )
    return incident


def last_incidents(connection: Connection, *, limit: int) -> tuple[Incident, ...]:
    """Return the latest incidents, newest first. Uses the primary key."""
    return _incidents(connection, sql.SQL("true"), limit=limit)


def unreported_incidents(connection: Connection) -> tuple[Incident, ...]:
    """Return the (few) incidents that were closed or escalated and have no report of that yet."""
    return _incidents(
        connection, sql.SQL("state IN ('closed', 'escalated') AND reported_run IS NULL")
    )


def open_incident(
    connection: Connection,
    cause: str,
    subject: str,
    facts: Sequence[str],
    *,
    known: Sequence[str] = (),
    began_at: datetime,
    longest_queue: int = 0,
    job_cause: str | None = None,
) -> int | None:
    """Open an incident and return its id; ``None`` if another of its kind is not closed yet.

    :param job_cause: for failed jobs; ``None`` for the queue.
    """
    row = connection.execute(
        """
        INSERT INTO incidents (state, cause, evidence, began_at, longest_queue, job_cause)
        SELECT 'open', %(cause)s, %(evidence)s, least(%(began_at)s, now()), %(queue)s, %(job)s
         WHERE NOT EXISTS (SELECT FROM incidents WHERE state <> 'closed'
                            AND coalesce(job_cause, '') = coalesce(%(job)s::text, ''))
        ON CONFLICT DO NOTHING RETURNING incident_id
        """,  # without NOT EXISTS, each conflict would consume an incident number
        {
            "cause": cause,
            "evidence": _evidence(subject, facts, known),
            "began_at": began_at,
            "queue": longest_queue,
            "job": job_cause,
        },
    ).fetchone()
    return int(row[0]) if row else None


def refine_incident(
    connection: Connection,
    incident_id: int,
    cause: str,
    subject: str,
    facts: Sequence[str],
    known: Sequence[str] = (),
) -> None:
    """Update the cause and its evidence."""
    connection.execute(
        "UPDATE incidents SET cause = %s, evidence = evidence || %s WHERE incident_id = %s",
        (cause, _evidence(subject, facts, known), incident_id),
    )


def mark_over(connection: Connection, incident_id: int, *, over: bool) -> None:
    """Record when the cause ended, or clear that if the cause has returned."""
    change = "evidence || jsonb_build_object('over_at', now())" if over else "evidence - 'over_at'"
    connection.execute(
        sql.SQL(
            "UPDATE incidents SET evidence = {} WHERE incident_id = %s"
            " AND (evidence ->> 'over_at' IS NULL) = %s"
        ).format(sql.SQL(change)),
        (incident_id, over),
    )


def set_state(connection: Connection, incident_id: int, state: IncidentState) -> None:
    """Change the state, with its timestamp. Closing or escalating requires a new report."""
    connection.execute(
        """
        UPDATE incidents
           SET state = %(state)s,
               recovering_at = CASE %(state)s WHEN 'recovering' THEN now()
                                              WHEN 'closed' THEN coalesce(recovering_at, now()) END,
               escalated_at = CASE %(state)s WHEN 'escalated' THEN coalesce(escalated_at, now())
                                             ELSE escalated_at END,
               ended_at = CASE %(state)s WHEN 'closed' THEN now() END,
               reported_run = CASE WHEN %(state)s IN ('closed', 'escalated') THEN NULL
                                   ELSE reported_run END
         WHERE incident_id = %(id)s
        """,
        {"state": state, "id": incident_id},
    )


def count_incident(connection: Connection, incident_id: int, queue: int) -> None:
    """Update its figures: longest queue, documents in processing and waiting, failed attempts.

    What happened after work resumed does not belong to it, nor do retries that an operator typed
    meanwhile, which are counted apart. Scans the documents, 45 ms for 100,000; attempts use the
    index on ended_at.

    :param queue: the number of documents waiting now.
    """
    connection.execute(
        """
        WITH period AS (
            SELECT began_at AS since, coalesce(recovering_at, now()) AS until
              FROM incidents WHERE incident_id = %(id)s
        ), attempts AS (
            SELECT a.document_id, a.outcome IN ('failed', 'dead', 'lost') AS failed,
                   coalesce(a.retried_at >= p.since, false) AS typed
              FROM document_attempts a, period p
             WHERE a.ended_at >= p.since AND a.started_at <= p.until
        ), counted AS (
            SELECT d.document_id, d.retried_at IS NULL OR d.retried_at < p.since AS own,
                   d.dropped_at <= p.until
                       AND (d.state IN ('waiting', 'running') OR d.ended_at >= p.since) AS there,
                   d.state = 'running' AND d.started_at <= p.until AS at_work,
                   d.retried_at BETWEEN p.since AND p.until AS retried,
                   -- waiting when the incident began
                   d.dropped_at <= p.since AND d.state <> 'withdrawn'
                       AND (d.state = 'waiting' OR d.started_at > p.since) AS was_waiting
              FROM documents d, period p
        ), processed AS (
            SELECT document_id FROM attempts WHERE NOT typed
             UNION SELECT document_id FROM counted WHERE at_work AND own
        )
        UPDATE incidents
           SET longest_queue = greatest(
                   longest_queue, %(queue)s, (SELECT count(*) FROM counted WHERE was_waiting)),
               documents_affected = (SELECT count(*) FROM processed),
               documents_waited = (
                   SELECT count(*) FROM counted c
                    WHERE there AND own
                      AND NOT EXISTS (SELECT FROM processed p WHERE p.document_id = c.document_id)),
               failed_jobs = (SELECT count(*) FROM attempts WHERE failed AND NOT typed),
               retries = (SELECT count(*) FROM counted WHERE retried),
               retries_failed = (SELECT count(*) FROM attempts WHERE failed AND typed)
         WHERE incident_id = %(id)s
        """,
        {"id": incident_id, "queue": queue},
    )


def count_failed_jobs(connection: Connection, incident_id: int, failed: int) -> None:
    """Record the maximum number of jobs that its cause has made fail."""
    connection.execute(
        "UPDATE incidents SET failed_jobs = greatest(failed_jobs, %s) WHERE incident_id = %s",
        (failed, incident_id),
    )


def mark_reported(connection: Connection, incident_id: int, run_id: str) -> None:
    """Record the run that wrote its report."""
    connection.execute(
        "UPDATE incidents SET reported_run = %s WHERE incident_id = %s", (run_id, incident_id)
    )


def record_action(
    connection: Connection,
    action: str,
    subject: str,
    reason: str,
    *,
    incident_id: int | None,
    done: bool = True,
    detail: str = "",
) -> None:
    """Record an action, with its target, or its error if it failed."""
    connection.execute(
        """
        INSERT INTO recovery_actions (incident_id, action, subject, reason, done, told)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (incident_id, action, subject, reason, done, detail),
    )


def adopt_actions(connection: Connection, incident_id: int) -> None:
    """Assign actions since it began to it, including those from before it was noticed.

    Uses the index on acted_at.
    """
    connection.execute(
        """
        UPDATE recovery_actions a SET incident_id = i.incident_id
          FROM incidents i
         WHERE i.incident_id = %s AND a.incident_id IS NULL AND a.acted_at >= i.began_at
        """,
        (incident_id,),
    )


def actions_since(connection: Connection, since: datetime) -> tuple[RecoveryAction, ...]:
    """Return the actions since then, in order. Uses the index on acted_at."""
    return _actions(connection, sql.SQL("acted_at >= %s"), since)


def actions_of(connection: Connection, incident_id: int) -> tuple[RecoveryAction, ...]:
    """Return the actions of one incident, in order. Scans the (few) actions."""
    return _actions(connection, sql.SQL("incident_id = %s"), incident_id)


def _incidents(
    connection: Connection, which: sql.SQL, *, limit: int = 10, **values: object
) -> tuple[Incident, ...]:
    """Return matching incidents, newest first."""
    query = sql.SQL(
        """
        SELECT incident_id, state, cause, evidence, began_at, noticed_at, recovering_at,
               escalated_at, ended_at, longest_queue, documents_affected, failed_jobs, reported_run,
               job_cause, documents_waited, retries, retries_failed
          FROM incidents WHERE {} ORDER BY incident_id DESC LIMIT %(limit)s
        """
    ).format(which)
    return fetch_all(connection, Incident, query, {"limit": limit, **values})


def _actions(connection: Connection, which: sql.SQL, value: object) -> tuple[RecoveryAction, ...]:
    query = sql.SQL(
        """
        SELECT action, subject, reason, done, told AS detail, acted_at, incident_id
          FROM recovery_actions WHERE {} ORDER BY action_id
        """
    ).format(which)
    return fetch_all(connection, RecoveryAction, query, (value,))


def _evidence(subject: str, facts: Sequence[str], known: Sequence[str]) -> Jsonb:
    return Jsonb({"subject": subject, "facts": list(facts), "known": list(known)})
