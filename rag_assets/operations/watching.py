"""The recovery's check, every 30 s: record ended runs, take a snapshot, decide, act, notify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from rag_assets.documents.sql import attempts as document_attempts
from rag_assets.documents.sql import lanes as lane_control
from rag_assets.documents.sql.documents import LaneCounts, queue_counts
from rag_assets.documents.sql.leases import collect_lost, end_stuck
from rag_assets.documents.sql.queue import living_runs
from rag_assets.errors import DatabaseUnavailableError, reason_of
from rag_assets.lanes import DOCUMENT_LANES, LANES, DocumentLane, Lane, known_lane
from rag_assets.operations import messages
from rag_assets.operations.findings import PlannedAction
from rag_assets.operations.following import follow_failed_jobs, job_message_sent_at
from rag_assets.operations.incidents import Step, lasts
from rag_assets.operations.job_failures import by_work, cause_of, split_explained
from rag_assets.operations.memory import Memory, remember_outage
from rag_assets.operations.recovery import RecoveryDecision, decide_recovery
from rag_assets.operations.snapshot import Snapshot
from rag_assets.operations.sql import dagster_state, failed_runs, incidents
from rag_assets.operations.sql.dagster_state import EndedRun, RunCount
from rag_assets.operations.sql.failed_runs import Failing
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.survey import probe_needed, survey_queue
from rag_assets.operations.thresholds import Thresholds
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.run_sessions import runs_with_sessions
from rag_assets.settings.model import Settings

_OVERLAP = timedelta(hours=1)
_PATIENCE = 2  # number of leases after which a run without any document counts as dead
_HOUR = timedelta(hours=1)


class Runs(Protocol):
    """What the recovery needs of Dagster's runs."""

    def under_way(self) -> Sequence[RunCount]:
        """Count the runs queued or in progress."""

    def ended_since(self, since: datetime) -> Sequence[EndedRun]:
        """Return the runs that ended since then."""

    def describe(self, run: EndedRun) -> EndedRun:
        """Return the same run with its partition, its steps, and why it failed."""

    def silent(self, lane: Lane, living: frozenset[str], patience_s: float) -> tuple[str, ...]:
        """Return runs of a lane that count as started for longer, and are not in ``living``."""

    def started(self) -> Mapping[str, str]:
        """Map the ids of runs that count as started to their lane, or to their job without one."""

    def end(self, run_id: str, message: str) -> None:
        """Mark the run as failed."""

    def heartbeats(self) -> Mapping[str, datetime]:
        """Return the last heartbeat of each part of the daemon."""


@dataclass(frozen=True)
class Watched:
    """Result of a check.

    :param start: lanes to start a run for.
    :param reports: incidents to write a report for.
    :param summary: the state in one line.
    """

    memory: Memory
    start: tuple[DocumentLane, ...]
    reports: tuple[Incident, ...]
    summary: str


def watch(
    database: Database, settings: Settings, memory: Memory, runs: Runs, *, log: messages.Log
) -> Watched:
    """Check once, and act on the result.

    :raises DatabaseUnavailableError: the database is down: call :func:`missed`.
    """
    new_runs = _record_ended(database, runs)
    for run in new_runs:
        if run.fault:
            log(f"unexpected end: run {run.run_id} of {run.job}: {run.fault}")
    seen = _take_snapshot(database, settings, memory, runs, new_runs)
    thresholds = Thresholds.from_settings(settings)
    with database.connect(autocommit=True) as connection:
        incident = incidents.current_incident(connection)
        recent = incidents.actions_since(connection, seen.now - _HOUR)
        decision = decide_recovery(seen, memory, thresholds, incident=incident, recent=recent)
        incident_id = incident.incident_id if incident and not decision.opened else None
        for action in decision.actions:
            _act(connection, settings, action, runs, incident_id, log)
        changed = _apply_step(connection, decision.step, incident, seen)
        if decision.opened is not None:
            changed = _apply_step(connection, decision.opened, None, seen)
        last = decision.opened or decision.step
        lasting = incidents.current_incident(connection)
        if lasting is not None:
            over = not lasts(lasting, decision.troubles)
            incidents.mark_over(connection, lasting.incident_id, over=over)
        failing = failed_runs.failing(connection)
        if changed is not None and last and last.state in ("open", "escalated"):
            _notify(connection, settings, changed, failing, sent_at=memory.outage_reported_at)
        follow_failed_jobs(
            connection,
            settings,
            thresholds,
            failing,
            busy={count.job for count in runs.under_way()},
            troubles=decision.troubles,
        )
        reports = incidents.unreported_incidents(connection)
    return Watched(
        messages.deliver(database, settings, decision.memory, seen.now, log=log),
        tuple(
            known_lane(action.subject, DOCUMENT_LANES)
            for action in decision.actions
            if action.kind == "start_run"
        ),
        reports,
        _summary(seen, decision, changed or incident),
    )


def missed(settings: Settings, memory: Memory, now: datetime, *, log: messages.Log) -> Watched:
    """Handle a check that found the database down: remember it, and report it after a while.

    An outage during an open incident is not reported again. It is escalated to an operator, at any
    hour, once it has lasted for RAG_STAGNATION_S.
    """
    memory = remember_outage(memory, now)
    since = memory.down_since or now
    lasts_s = (now - since).total_seconds()
    reported = memory.outage_reported_at is not None or memory.incident_since is not None
    escalate = lasts_s >= settings.rag_stagnation_s and memory.outage_escalated_at is None
    report = lasts_s >= settings.rag_no_worker_s and not reported
    if (escalate or report) and messages.is_due(settings, memory, now, urgent=escalate):
        head = (
            ":rotating_light: Incident: the database is still down: an operator is needed"
            if escalate
            else ":warning: Incident"
        )
        text = (
            f"{head}: *dependency-down* (database), since {since:%Y-%m-%d %H:%M:%S %Z}. Documents "
            "wait until it is back. `rag-assets doctor` says more"
        )
        log(text)
        memory, refusal = messages.post(text, settings, memory, now)
        if refusal is not None:
            log(f"that message will be retried: {refusal}")
        else:
            memory = replace(
                memory,
                outage_reported_at=memory.outage_reported_at or now,
                outage_escalated_at=now if escalate else memory.outage_escalated_at,
            )
    return Watched(memory, (), (), f"the database has been down since {since:%H:%M:%S}")


def _record_ended(database: Database, runs: Runs) -> tuple[EndedRun, ...]:
    """Store the runs and attempts that ended since the last check."""
    with database.connect(autocommit=True) as connection:
        document_attempts.count_attempts(connection)
        ended = runs.ended_since(dagster_state.last_kept(connection) - _OVERLAP)
        new = dagster_state.unknown_runs(connection, ended)
        described = [runs.describe(run) for run in new]
        return dagster_state.keep_ended_runs(
            connection, [replace(run, cause=cause_of(run)) for run in described]
        )


def _take_snapshot(
    database: Database,
    settings: Settings,
    memory: Memory,
    runs: Runs,
    new_runs: Sequence[EndedRun],
) -> Snapshot:
    with database.connect(autocommit=True) as connection:
        counts = queue_counts(connection)
        silent = _silent(connection, settings, counts, runs)
        started, living = runs.started(), runs_with_sessions(connection)
        paused = lane_control.paused_lanes(connection)
        trouble = incidents.current_incident(connection) is not None
    busy = any(lane.claimable or lane.running for lane in counts.values())
    probes = probe_needed(
        database, settings, provider=busy or trouble or bool(paused or memory.failing_since)
    )
    with database.connect() as connection:
        return survey_queue(
            connection,
            settings,
            since=memory.checked_at,
            runs=runs.under_way(),
            new_runs=new_runs,
            silent_runs=silent,
            unseen_runs={run: lane for run, lane in started.items() if run not in living},
            heartbeats=runs.heartbeats(),
            probes=probes,
        )


def _silent(
    connection: Connection, settings: Settings, counts: Mapping[Lane, LaneCounts], runs: Runs
) -> dict[Lane, tuple[str, ...]]:
    """Return runs that have held no document for long while some were claimable, by lane.

    A run whose process was killed together with Dagster's own would otherwise keep its slot for
    ever. While RAG_MAX_CONCURRENT_JOBS is reached, even a healthy run holds nothing.
    """
    if sum(lane.running for lane in counts.values()) >= settings.rag_max_concurrent_jobs:
        return {}
    living = living_runs(connection)
    patience_s = _PATIENCE * settings.rag_document_lease_s
    found = {
        name: runs.silent(name, living, patience_s)
        for name, lane in counts.items()
        if lane.claimable
    }
    return {name: run_ids for name, run_ids in found.items() if run_ids}


def _act(
    connection: Connection,
    settings: Settings,
    action: PlannedAction,
    runs: Runs,
    incident_id: int | None,
    log: messages.Log,
) -> None:
    """Carry out an action, and record its result."""
    done, error_text = True, ""
    try:
        _do(connection, settings, action, runs)
    except DatabaseUnavailableError:
        raise
    except Exception as error:  # a failed action must not prevent the others
        done, error_text = False, reason_of(error)
    failed = "" if done else f" (failed: {error_text})"
    log(f"recovery: {action.kind} {action.target or action.subject}: {action.reason}{failed}")
    incidents.record_action(
        connection,
        action.kind,
        action.subject,
        action.reason,
        incident_id=incident_id,
        done=done,
        detail=error_text or action.target,
    )


def _do(connection: Connection, settings: Settings, action: PlannedAction, runs: Runs) -> None:
    match action.kind:
        case "end_run":
            runs.end(action.target, f"ended by the recovery: {action.reason}")
        case "collect_lost":
            with connection.transaction():
                collect_lost(connection, settings.rag_document_max_attempts)
                end_stuck(connection, settings.rag_document_lease_s)
        case "lower_share" | "raise_share":
            lane_control.set_share(connection, action.subject, action.share)
        case "pause_lane":
            lane = known_lane(action.subject, LANES)
            lane_control.pause_lane(connection, lane, action.reason, "recovery")
        case "resume_lane":
            lane_control.resume_lane(connection, known_lane(action.subject, LANES), "recovery")
        case "start_run":
            pass  # requested in the sensor's result


def _apply_step(
    connection: Connection, step: Step | None, incident: Incident | None, seen: Snapshot
) -> Incident | None:
    """Store the incident's next step; return the incident if it changed."""
    if step is None:
        if incident is not None and seen.queue > incident.longest_queue:
            incidents.count_incident(connection, incident.incident_id, seen.queue)
        return None
    with connection.transaction():
        if incident is None:
            number = incidents.open_incident(
                connection,
                step.cause,
                step.subject,
                step.facts,
                known=step.known,
                began_at=step.began_at,
                longest_queue=seen.queue,
            )
            if number is None:
                return None
            incidents.adopt_actions(connection, number)
            if step.state == "escalated":
                incidents.set_state(connection, number, "escalated")
        else:
            number = incident.incident_id
            incidents.refine_incident(
                connection, number, step.cause, step.subject, step.facts, step.known
            )
            if step.state is not None:
                incidents.set_state(connection, number, step.state)
        incidents.count_incident(connection, number, seen.queue)
        return incidents.find_incident(connection, number)


def _notify(
    connection: Connection,
    settings: Settings,
    incident: Incident,
    failing: Failing,
    *,
    sent_at: datetime | None,
) -> None:
    """Queue the message about a queue incident, with the jobs that failed because of it."""
    by_jobs = (
        job_message_sent_at(connection, incident, failing) if incident.state == "open" else None
    )
    failed = [
        one
        for found, jobs in split_explained(failing).explained
        if found.incident_id == incident.incident_id
        for one in by_work(jobs.runs)
    ]
    messages.notify_of_incident(
        connection, incident, settings, sent_at=sent_at or by_jobs, failed=failed
    )


def _summary(seen: Snapshot, decision: RecoveryDecision, incident: Incident | None) -> str:
    lanes = "; ".join(
        f"{lane.lane}: {lane.waiting} waiting, {lane.running} running"
        for lane in seen.document_lanes
    )
    if incident is None:
        return lanes
    reasons = "; ".join(decision.reasons) or "work progresses"
    return (
        f"{lanes}; incident {incident.incident_id} ({incident.cause}, {incident.state}): {reasons}"
    )
