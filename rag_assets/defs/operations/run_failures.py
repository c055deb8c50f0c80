"""What Dagster's events say of a run that ended: its partition, its steps, and why it failed.

Classes and fields are read, not sentences: an error of this project names its class in the metadata
of its ``dg.Failure`` (:mod:`rag_assets.defs.failures`), any other is the exception's own.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import dagster as dg
from dagster import DagsterEvent, DagsterEventType

from rag_assets.defs.lanes import LANE_TAG
from rag_assets.defs.operations.under_way import PARTITION_TAG
from rag_assets.documents.rules import LANES
from rag_assets.errors import DocumentError, WorkerLostError
from rag_assets.store.dagster_state import EndedRun, Failure

WILL_RETRY = "dagster/will_retry"
_RANGE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_STEPS = {
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
}
_LONGEST = 1000  # characters of an error


def described(instance: dg.DagsterInstance, run: EndedRun) -> EndedRun:
    """The run with its partition and steps, and with why it failed where it did.

    :param run: with its fault, where its process ended by itself.
    """
    recorded = instance.get_run_by_id(run.run_id)
    if recorded is None:  # deleted meanwhile
        return run
    entries = instance.all_logs(run.run_id, of_type=_STEPS)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    done = {event.step_key for event in events if event.is_step_success}
    begun = {event.step_key for event in events if event.is_step_start or event.is_step_failure}
    failed = begun - done or {
        key.to_python_identifier() for key in recorded.asset_selection or () if not done
    }
    run = replace(run, partition=partition_of(recorded))
    if run.status != "FAILURE":
        return replace(run, done_steps=_sorted(done))
    failure = _failure(run, events, retried=recorded.tags.get(WILL_RETRY) == "true")
    if failure.error_class == DocumentError.__name__:  # the step has done its work on the others
        done |= failed
    return replace(run, done_steps=_sorted(done), failed_steps=_sorted(failed), failure=failure)


def _sorted(steps: Collection[str | None]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, steps)))


def partition_of(run: dg.DagsterRun) -> str:
    """The run's partition, the ends of its range, its lane of documents, or nothing."""
    first, last = (run.tags.get(name, "") for name in _RANGE)
    lane = run.tags.get(LANE_TAG, "")
    return (
        run.tags.get(PARTITION_TAG)
        or (f"{first}…{last}" if first else "")
        or (lane if lane in LANES else "")
    )


def _failure(run: EndedRun, events: Sequence[DagsterEvent], *, retried: bool) -> Failure:
    if run.fault is not None:
        told = f"its process ended by itself: {run.fault}"
        return Failure(WorkerLostError.__name__, told, transient=True, retried=retried)
    steps = [event for event in events if event.is_step_failure]
    if not steps:
        return Failure("RunFailure", _without_steps(events), retried=retried)
    data = steps[0].step_failure_data
    ours = data.user_failure_data
    if ours is not None:
        shown = ours.metadata
        return Failure(
            str(shown["error_class"].value) if "error_class" in shown else "Failure",
            _short(ours.description or ""),
            transient="may_pass_later" in shown and bool(shown["may_pass_later"].value),
            retried=retried,
        )
    error = data.error
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause  # Dagster wraps what a step raises
    if error is None:
        return Failure("StepFailure", f"step {steps[0].step_key} failed", retried=retried)
    name = error.cls_name or "Exception"
    said = re.sub(rf"^([\w.]+\.)?{re.escape(name)}: ", "", error.message)
    return Failure(name, _short(said), retried=retried)


def _without_steps(events: Sequence[DagsterEvent]) -> str:
    """What the run's own failure says, where none of its steps failed."""
    ends = [event for event in events if event.event_type == DagsterEventType.RUN_FAILURE]
    return _short(ends[-1].message or "") if ends else "it ended before its first step"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"
