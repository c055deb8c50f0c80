"""Rules about the document queue and its runs. The recovery acts on most of them. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime

from rag_assets.operations.dependencies import DAEMON_PATIENCE_S
from rag_assets.operations.dependency_rules import NEEDS
from rag_assets.operations.findings import (
    BOUND,
    DAEMON_AWAY,
    ERRORS,
    OUT_OF_MEMORY,
    RUNBOOK,
    SLOW_DOCUMENT,
    UNKNOWN,
    WORKER_LOST,
    Finding,
    PlannedAction,
    View,
    rule,
    span,
)
from rag_assets.visible import count

_RUN_PAGE = "the run's page in Dagster; the system's log says what ended the process"


@rule(
    condition="A run's process died, and the run is restarted.",
    evidence="the signal or exit code, from Dagster's event",
    fix="the system's log says what ended it: often the out-of-memory killer",
    over_time=True,
)
def run_ended_by_itself(view: View) -> Iterator[Finding]:
    for run in view.snapshot.faults:
        killed = run.fault is not None and run.fault.signal == signal.SIGKILL
        yield Finding(
            "runs",
            "problem",
            f"run {run.run_id} of {run.job}: {run.fault}"
            + (", as the system does when memory runs out" if killed else ""),
            _RUN_PAGE,
            run.ended_at,
            cause=OUT_OF_MEMORY if killed else WORKER_LOST,
            subject=run.run_id,
            opens=True,
        )


@rule(
    condition="A run counts as started, but has held no document for the length of two leases "
    "while some could be claimed.",
    evidence="the run and its lane",
    fix="the recovery ends it, and another run takes its place",
    action=f"`end_run`, {BOUND}",
    over_time=True,
)
def run_silent(view: View) -> Iterator[Finding]:
    for lane, run_ids in view.snapshot.silent_runs.items():
        for run_id in run_ids:
            yield _dead_run(
                run_id,
                f"run {run_id} counts as started in {lane}, but shows no activity",
                view.snapshot.now,
                PlannedAction(
                    "end_run", lane, "started, but shows no activity: its slot is freed", run_id
                ),
            )


@rule(
    condition="A run of any lane counts as started, but has had no database session for "
    "`RAG_STAGNATION_S`.",
    evidence="the run and its lane",
    fix="the recovery ends it, and Dagster restarts it",
    action=f"`end_run`, {BOUND}",
    over_time=True,
)
def run_vanished(view: View) -> Iterator[Finding]:
    # Every run connects to the database again and again.
    seen, since = view.snapshot, view.memory.unseen_since
    for run_id, lane in seen.unseen_runs.items():
        if seen.now - since[run_id] >= view.thresholds.stagnation:
            reason = "started, but has no database session: its slot is freed"
            yield _dead_run(
                run_id,
                f"run {run_id} counts as started in {lane}, but has no database session",
                since[run_id],
                PlannedAction("end_run", lane, reason, run_id),
            )


@rule(
    condition="Documents are held by a run that no longer extends their leases.",
    evidence="the number of documents",
    fix="the recovery puts them back into the queue",
    action="`collect_lost`, `RAG_RECOVERY_MAX_ACTIONS` an hour",
)
def documents_left(view: View) -> Iterator[Finding]:
    left = view.snapshot.leases_over
    if left:
        evidence = f"{count(left, 'document')} left behind by lost runs"
        yield Finding(
            "documents",
            "warning",
            evidence,
            "wait: the recovery puts them back into the queue",
            view.snapshot.now,
            (PlannedAction("collect_lost", "documents", evidence),),
        )


@rule(
    condition="One document has been processed for longer than `RAG_SLOW_DOCUMENT_S` while "
    "others in its lane wait, and none of them was completed meanwhile.",
    evidence="the document, and how many are waiting",
    fix="`rag-assets documents show KEY`, then withdraw it or wait",
)
def slow_document(view: View) -> Iterator[Finding]:
    now = view.snapshot.now
    for lane in view.snapshot.wanted:
        if lane.longest is None or not lane.claimable:
            continue
        key, began = lane.longest.key, lane.longest.started_at
        others_go_on = lane.last_completed_at is not None and lane.last_completed_at > began
        if now - began >= view.thresholds.slow_document and not others_go_on:
            others = "1 document waits" if lane.claimable == 1 else f"{lane.claimable} wait"
            yield Finding(
                lane.lane,
                "warning",
                f"{key} has been worked on for {(now - began).total_seconds():.0f} s, and {others} "
                f"for it in {lane.lane}",
                f"`rag-assets documents show {key}`",
                began,
                cause=SLOW_DOCUMENT,
                subject=key,
                opens=True,
                key="figures",
            )


@rule(
    condition="The queue was not checked for 90 seconds while documents were waiting, or the "
    "part of the daemon that starts runs sends no heartbeat.",
    evidence="since when",
    fix="`rag-assets up`",
    over_time=True,
)
def daemon_away(view: View) -> Iterator[Finding]:
    seen, gap = view.snapshot, view.memory.gap_since
    if gap is not None and any(lane.claimable for lane in seen.wanted):
        yield Finding(
            "daemon",
            "problem",
            f"the queue was not checked between {gap:%H:%M:%S} and {seen.now:%H:%M:%S}: "
            "Dagster's daemon was down",
            RUNBOOK,
            gap,
            cause=DAEMON_AWAY,
            subject="daemon",
            opens=True,
        )
    part = "QUEUED_RUN_COORDINATOR"
    age_s = seen.heartbeats.get(part, 0.0)
    if age_s > DAEMON_PATIENCE_S:
        yield Finding(
            "daemon",
            "problem",
            f"the daemon's {part} has sent no heartbeat for {age_s:.0f} s: runs are not started",
            RUNBOOK,
            seen.now,
            cause=DAEMON_AWAY,
            subject=part,
            key="figures",
        )


@rule(
    condition="Attempts failed since the last check.",
    evidence="the most frequent error class",
    fix="`rag-assets documents dlq`",
    over_time=True,
)
def attempts_failed(view: View) -> Iterator[Finding]:
    failures = view.snapshot.failures
    if failures:
        name = max(failures, key=lambda one: (failures[one], one))
        yield Finding(
            "documents",
            "information",
            f"{count(failures[name], 'attempt')} recently ended with {name}",
            "`rag-assets documents dlq`",
            view.snapshot.now,
            cause=ERRORS,
            subject=name,
            key="figures",
        )


@rule(
    condition="More than `RAG_STAGNATION_QUEUE` documents are waiting, the oldest for "
    "`RAG_STAGNATION_S`, and none was completed in that time.",
    evidence="how many are waiting, and since when none was completed",
    fix=f"[the runbook]({RUNBOOK.removeprefix('docs/operations/')})",
)
def stagnation(view: View) -> Iterator[Finding]:
    seen, limits = view.snapshot, view.thresholds
    waiting = sum(lane.waiting for lane in seen.wanted)
    oldest_s = max((lane.oldest_waiting_s for lane in seen.wanted), default=0.0)
    last, watching = seen.last_completed_at, view.memory.watching_since or seen.now
    if (
        waiting > limits.stagnation_queue
        and oldest_s >= limits.stagnation.total_seconds()
        and seen.now - watching >= limits.stagnation
        and (last is None or seen.now - last >= limits.stagnation)
    ):
        yield Finding(
            "queue",
            "problem",
            f"{count(waiting, 'document')} waiting, and none was completed for "
            f"{limits.stagnation.total_seconds():.0f} s",
            RUNBOOK,
            last or seen.now - limits.stagnation,
            cause=UNKNOWN,
            subject="queue",
            opens=True,
            key="figures",
        )


@rule(
    condition="Documents could be claimed, and no run is processing any. An incident after "
    "`RAG_NO_WORKER_S`, unless `RAG_MAX_CONCURRENT_JOBS` is reached.",
    evidence="how many, for how long, and the runs under way",
    fix="`rag-assets up`; if the daemon runs, *Automation* in Dagster's UI",
    action=f"`start_run`, if none is under way and the lane's dependencies answer, {BOUND}",
)
def documents_idle(view: View) -> Iterator[Finding]:
    seen, limits = view.snapshot, view.thresholds
    down = any(name in NEEDS for name in view.memory.failing_since)
    alive = bool(seen.heartbeats) or any(p.name == "daemon" and p.ok for p in seen.probes)
    command = (
        "wait half a minute for a run; if none comes, see *Automation* in Dagster's UI"
        if alive
        else "start the daemon: `rag-assets up`"
    )
    for lane in seen.document_lanes:
        since = view.memory.idle_since.get(lane.lane)
        if since is None:
            continue
        late = seen.now - since >= limits.no_worker and seen.active < limits.max_active
        if late:
            claimable = count(lane.claimable, "document")
            start = f"{claimable} waiting, and no run is under way"
            yield Finding(
                lane.lane,
                "problem",
                f"{claimable} could be claimed in {lane.lane}, but none was for "
                f"{(seen.now - since).total_seconds():.0f} s, with {count(lane.runs, 'run')} under "
                "way",
                command,
                since,
                () if lane.runs or down else (PlannedAction("start_run", lane.lane, start),),
                cause=UNKNOWN,
                subject=lane.lane,
                opens=True,
                key="figures",
            )
        elif not lane.runs and seen.active < limits.max_active:
            yield Finding(
                lane.lane,
                "warning",
                f"{count(lane.claimable, 'document')} waiting, the oldest for "
                f"{span(lane.oldest_waiting_s)}, and no run is active or requested",
                command,
                since,
            )


@rule(
    condition="An action was taken `RAG_RECOVERY_MAX_ACTIONS` times within an hour.",
    evidence="the action and its subject",
    fix=f"[the runbook]({RUNBOOK.removeprefix('docs/operations/')}): repeating the action does not "
    "help",
    action="no more actions of this kind within the hour; an operator is notified",
    over_time=True,
)
def action_of_no_use(view: View) -> Iterator[Finding]:
    for action in view.held_back:
        yield Finding(
            action.subject,
            "problem",
            f"{action.kind} on {action.subject} was done {view.thresholds.max_actions} times "
            "within the hour and will not be repeated",
            RUNBOOK,
            view.snapshot.now,
            cause=UNKNOWN,
            subject=action.subject,
            opens=True,
        )


QUEUE_RULES = (
    run_ended_by_itself,
    run_silent,
    run_vanished,
    documents_left,
    slow_document,
    daemon_away,
    attempts_failed,
    stagnation,
    documents_idle,
)


def _dead_run(run_id: str, evidence: str, began_at: datetime, end: PlannedAction) -> Finding:
    return Finding(
        "runs",
        "problem",
        evidence,
        "wait: the recovery ends it",
        began_at,
        (end,),
        cause=WORKER_LOST,
        subject=run_id,
        opens=True,
    )
