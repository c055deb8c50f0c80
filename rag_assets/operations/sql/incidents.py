"""Incidents, and what the recovery did about them.

At a time there is one of the queue, and one for each cause of failed jobs.
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
    :param evidence: ``subject``, which dependency, key, run or document; ``facts``, sentences;
        ``known``, what they tell of; ``over_at``, since when it is no longer seen.
    :param began_at: as far as the evidence goes back.
    :param recovering_at: when work went on again.
    :param escalated_at: when a person was called; stays when it recovers after all.
    :param job_cause: what the failed jobs have in common; ``None`` for an incident of the queue.
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

    @property
    def name(self) -> str:
        """``incident-0007``: the partition of its report."""
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
        """Since when what it is about is over; work need not go on yet."""
        at = self.evidence.get("over_at")
        return datetime.fromisoformat(at) if at else None


@dataclass(frozen=True)
class RecoveryAction:
    """Something that the recovery did, or tried; ``told`` says how that went."""

    action: str
    subject: str
    reason: str
    done: bool
    told: str
    acted_at: datetime
    incident_id: int | None = None


def current_incident(connection: Connection) -> Incident | None:
    """The queue's that is not closed. By the unique index that lets there be one only."""
    found = _incidents(connection, sql.SQL("state <> 'closed' AND job_cause IS NULL"))
    return found[0] if found else None


def job_incidents(connection: Connection) -> tuple[Incident, ...]:
    """Those of failed jobs that are not closed. By the index of the ones that are not."""
    which = sql.SQL("state <> 'closed' AND job_cause IS NOT NULL")
    return _incidents(connection, which, limit=1000)


def incidents_lately(connection: Connection) -> tuple[Incident, ...]:
    """The queue's that are not closed, or were within the last day. By a pass over the incidents:
    they are few."""
    which = sql.SQL(
        "job_cause IS NULL AND (state <> 'closed' OR ended_at > now() - interval '1 day')"
    )
    return _incidents(connection, which, limit=1000)


def find_incident(connection: Connection, incident_id: int) -> Incident | None:
    """By primary key."""
    found = _incidents(connection, sql.SQL("incident_id = %(id)s"), id=incident_id)
    return found[0] if found else None


def named_incident(connection: Connection, name: str) -> Incident:
    """By its name, such as ``incident-0007``; by primary key.

    :raises ConfigurationError: there is none of this name.
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
    """The latest first. By primary key."""
    return _incidents(connection, sql.SQL("true"), limit=limit)


def unreported_incidents(connection: Connection) -> tuple[Incident, ...]:
    """Those that were closed or escalated and have no report of that yet. There are few."""
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
    """Open one; ``None`` where another of its kind is not closed yet.

    :param job_cause: of failed jobs; ``None`` for the queue's.
    """
    row = connection.execute(
        """
        INSERT INTO incidents (state, cause, evidence, began_at, longest_queue, job_cause)
        SELECT 'open', %(cause)s, %(evidence)s, least(%(began_at)s, now()), %(queue)s, %(job)s
         WHERE NOT EXISTS (SELECT FROM incidents WHERE state <> 'closed'
                            AND coalesce(job_cause, '') = coalesce(%(job)s::text, ''))
        ON CONFLICT DO NOTHING RETURNING incident_id
        """,  # a conflict at each tick would leave a gap in the incidents' numbers
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
    """Its cause is better known now."""
    connection.execute(
        "UPDATE incidents SET cause = %s, evidence = evidence || %s WHERE incident_id = %s",
        (cause, _evidence(subject, facts, known), incident_id),
    )


def mark_over(connection: Connection, incident_id: int, *, over: bool) -> None:
    """Note since when what it is about is over; forget that where it has come again."""
    change = "evidence || jsonb_build_object('over_at', now())" if over else "evidence - 'over_at'"
    connection.execute(
        sql.SQL(
            "UPDATE incidents SET evidence = {} WHERE incident_id = %s"
            " AND (evidence ->> 'over_at' IS NULL) = %s"
        ).format(sql.SQL(change)),
        (incident_id, over),
    )


def set_state(connection: Connection, incident_id: int, state: IncidentState) -> None:
    """Move it on, with the time at which that was. Closed or escalated, it wants a new report."""
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
    """Bring its figures up to date: the queue, documents that it met, jobs that failed in it.

    Documents: in the queue or at work at any time of it; a pass over the documents, 45 ms for
    100,000. Jobs: by the index of ended_at.

    :param queue: documents that wait now.
    """
    connection.execute(
        """
        UPDATE incidents i
           SET longest_queue = greatest(longest_queue, %(queue)s, (
                   SELECT count(*) FROM documents d  -- that waited when it began
                    WHERE d.dropped_at <= i.began_at AND d.state <> 'withdrawn'
                      AND (d.state = 'waiting' OR d.started_at > i.began_at))),
               documents_affected = (
                   SELECT count(*) FROM documents d
                    WHERE d.dropped_at <= coalesce(i.recovering_at, now())
                      AND (d.state IN ('waiting', 'running') OR d.ended_at >= i.began_at)),
               failed_jobs = (
                   SELECT count(*) FROM document_attempts a
                    WHERE a.ended_at >= i.began_at AND a.outcome IN ('failed', 'dead', 'lost'))
         WHERE incident_id = %(id)s
        """,
        {"id": incident_id, "queue": queue},
    )


def count_failed_jobs(connection: Connection, incident_id: int, failed: int) -> None:
    """How many jobs have failed by its cause, at the most."""
    connection.execute(
        "UPDATE incidents SET failed_jobs = greatest(failed_jobs, %s) WHERE incident_id = %s",
        (failed, incident_id),
    )


def mark_reported(connection: Connection, incident_id: int, run_id: str) -> None:
    """Its report was written by this run."""
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
    told: str = "",
) -> None:
    """Note what was done."""
    connection.execute(
        """
        INSERT INTO recovery_actions (incident_id, action, subject, reason, done, told)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (incident_id, action, subject, reason, done, told),
    )


def adopt_actions(connection: Connection, incident_id: int) -> None:
    """Actions since it began belong to it, also those from before it was noticed.

    Uses the index of acted_at.
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
    """What was done since then, in order. Uses the index of acted_at."""
    return _actions(connection, sql.SQL("acted_at >= %s"), since)


def actions_of(connection: Connection, incident_id: int) -> tuple[RecoveryAction, ...]:
    """What was done about one incident, in order. A pass over the actions: they are few."""
    return _actions(connection, sql.SQL("incident_id = %s"), incident_id)


def _incidents(
    connection: Connection, which: sql.SQL, *, limit: int = 10, **values: object
) -> tuple[Incident, ...]:
    """The latest first."""
    query = sql.SQL(
        """
        SELECT incident_id, state, cause, evidence, began_at, noticed_at, recovering_at,
               escalated_at, ended_at, longest_queue, documents_affected, failed_jobs, reported_run,
               job_cause
          FROM incidents WHERE {} ORDER BY incident_id DESC LIMIT %(limit)s
        """
    ).format(which)
    return fetch_all(connection, Incident, query, {"limit": limit, **values})


def _actions(connection: Connection, which: sql.SQL, value: object) -> tuple[RecoveryAction, ...]:
    query = sql.SQL(
        """
        SELECT action, subject, reason, done, told, acted_at, incident_id FROM recovery_actions
         WHERE {} ORDER BY action_id
        """
    ).format(which)
    return fetch_all(connection, RecoveryAction, query, (value,))


def _evidence(subject: str, facts: Sequence[str], known: Sequence[str]) -> Jsonb:
    return Jsonb({"subject": subject, "facts": list(facts), "known": list(known)})
