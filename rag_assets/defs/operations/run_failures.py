"""Read an ended run's partition, its steps, and why it failed from Dagster's events.

Based on classes and fields rather than messages: errors of this project name their class in the
metadata of ``dg.Failure`` (:mod:`rag_assets.defs.failures`); others are read from the exception.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster_shared.error import SerializableErrorInfo

from rag_assets import errors
from rag_assets.defs.dagster_private import PARTITION_TAG, RANGE_TAGS, WILL_RETRY_TAG
from rag_assets.errors import (
    DatabaseUnavailableError,
    DocumentError,
    RagAssetsError,
    TransientError,
    WorkerLostError,
)
from rag_assets.lanes import DOCUMENT_LANES, LANE_TAG
from rag_assets.operations.sql.dagster_state import RUN_FAILURE, EndedRun, Failure
from rag_assets.postgres.database import CONNECTION_ERRORS
from rag_assets.secrecy import masked
from rag_assets.visible import visible

_EVENTS = {
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.ENGINE_EVENT,
    DagsterEventType.RESOURCE_INIT_FAILURE,
}
_ENGINE = (DagsterEventType.ENGINE_EVENT, DagsterEventType.RESOURCE_INIT_FAILURE)
_NO_ERROR = "The run ended outside of any step, and Dagster recorded no error."
_LONGEST = 1000  # characters of an error


def describe(instance: dg.DagsterInstance, run: EndedRun) -> EndedRun:
    """Return the run with its partition and steps and, if it failed, the reason.

    :param run: with its fault, if its process ended unexpectedly.
    """
    recorded = instance.get_run_by_id(run.run_id)
    if recorded is None:  # deleted meanwhile
        return run
    entries = instance.all_logs(run.run_id, of_type=_EVENTS)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    done = {event.step_key for event in events if event.is_step_success}
    begun = {event.step_key for event in events if event.is_step_start or event.is_step_failure}
    failed = begun - done or {
        key.to_python_identifier() for key in recorded.asset_selection or () if not done
    }
    run = replace(run, partition=partition_of(recorded))
    if run.status != "FAILURE":
        return replace(run, done_steps=_sorted(done))
    failure = _failure(run, events, retried=recorded.tags.get(WILL_RETRY_TAG) == "true")
    if failure.error_class == DocumentError.__name__:  # the step has processed the other documents
        done |= failed
    return replace(run, done_steps=_sorted(done), failed_steps=_sorted(failed), failure=failure)


def _sorted(steps: Collection[str | None]) -> tuple[str, ...]:
    return tuple(sorted(filter(None, steps)))


def partition_of(run: dg.DagsterRun) -> str:
    """Return the run's partition, the ends of its range, its document lane, or nothing."""
    first, last = (run.tags.get(name, "") for name in RANGE_TAGS)
    lane = run.tags.get(LANE_TAG, "")
    return (
        run.tags.get(PARTITION_TAG)
        or (f"{first}…{last}" if first else "")
        or (lane if lane in DOCUMENT_LANES else "")
    )


def _failure(run: EndedRun, events: Sequence[DagsterEvent], *, retried: bool) -> Failure:
    if run.fault is not None:
        text = f"its process died: {run.fault}"
        return Failure(WorkerLostError.__name__, text, transient=True, retried=retried)
    return replace(_reason(events), retried=retried)


def _reason(events: Sequence[DagsterEvent]) -> Failure:
    """Return the failure of the first failed step, or of the run if no step failed."""
    step = next((event for event in events if event.is_step_failure), None)
    if step is None:
        error = _outside_of_steps(events)
        return _by_error(error) if error else Failure(RUN_FAILURE, _without_error(events))
    data = step.step_failure_data
    ours = data.user_failure_data
    if ours is not None and "error_class" in ours.metadata:
        name = str(ours.metadata["error_class"].value)
        shown = ours.metadata.get("may_pass_later")
        transient = shown is not None and bool(shown.value)
        if transient or _class_of_ours(name) is not None:
            return Failure(name, _short(ours.description or ""), transient=transient)
        if data.error is not None and data.error.cause is not None:  # data.error is the dg.Failure
            return _by_error(data.error.cause, name)
    if ours is not None:
        return Failure(dg.Failure.__name__, _short(ours.description or ""))
    if data.error is not None:
        return _by_error(data.error)
    return Failure("StepFailure", f"step {step.step_key} failed, and Dagster recorded no error")


def _outside_of_steps(events: Sequence[DagsterEvent]) -> SerializableErrorInfo | None:
    """Return the error of the run's failure, or the last error of Dagster's engine.

    A resource that cannot be initialized fails the run before its first step, with the error as a
    cause of Dagster's. If the run's process reports the failure, the error is in the event before.
    """
    ends = [event.job_failure_data for event in events if event.is_job_failure]
    engine = [event.engine_event_data for event in events if event.event_type in _ENGINE]
    of_runs = [data.error for data in ends if data]  # a run that was ended from outside has no data
    of_engine = [data.error for data in engine if data]
    return next(filter(None, (*reversed(of_runs), *reversed(of_engine))), None)


def _without_error(events: Sequence[DagsterEvent]) -> str:
    ends = [event.message for event in events if event.is_job_failure]
    said = next((message for message in ends if message), "")
    return _short(f"{said} {_NO_ERROR}".strip())


def _by_error(error: SerializableErrorInfo, name: str | None = None) -> Failure:
    """Unwrap the error from Dagster's, or find the lost database connection that caused it.

    :param name: its class, if known otherwise: errors with secrets are stored as another class.
    """
    errors = tuple(_causes(error))
    raised = next((one for one in errors if not _wraps(one)), errors[-1])
    known = _ours(raised)
    if known is not None:
        transient = issubclass(known, TransientError)
        return Failure(known.__name__, _message(raised), transient=transient)
    # SQLAlchemy's message contains the statement and its values; the driver's, the last, does not.
    lost = [one for one in errors if _is_of_database(one)]
    if lost or name in CONNECTION_ERRORS:
        text = f"{lost[-1].cls_name if lost else name}: {_message(lost[-1] if lost else error)}"
        return Failure(DatabaseUnavailableError.__name__, text, transient=True)
    while error.cause and _wraps(error):  # causes only, not contexts
        error = error.cause
    return Failure(name or error.cls_name or "Exception", _message(error))


def _wraps(error: SerializableErrorInfo) -> bool:
    return (error.cls_name or "").startswith("Dagster")


def _is_of_database(error: SerializableErrorInfo) -> bool:
    return error.cls_name in CONNECTION_ERRORS or _ours(error) is DatabaseUnavailableError


def _causes(error: SerializableErrorInfo) -> Iterator[SerializableErrorInfo]:
    """Yield the error, and its chain of causes or contexts."""
    found: SerializableErrorInfo | None = error
    while found is not None:
        yield found
        found = found.cause or found.context


def _class_of_ours(name: str | None) -> type[RagAssetsError] | None:
    """Return this project's error class of that name."""
    found = getattr(errors, name or "", None)
    return found if isinstance(found, type) and issubclass(found, RagAssetsError) else None


def _ours(error: SerializableErrorInfo) -> type[RagAssetsError] | None:
    """Return the error's class if it is this project's: providers use the same class names."""
    known = _class_of_ours(error.cls_name)
    return known if known and error.message.startswith(f"{known.__module__}.") else None


def _message(error: SerializableErrorInfo) -> str:
    """Return the first line of the message, and the next one if the first ends with a colon."""
    name = re.escape(error.cls_name or "Exception")
    said = re.sub(rf"^([\w.]+\.)?{name}(: |$)", "", error.message.strip())
    lines = [line for line in map(str.strip, said.splitlines()) if line]
    return _short(" ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]))


def _short(text: str) -> str:
    line = visible(masked(" ".join(text.split())))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"
