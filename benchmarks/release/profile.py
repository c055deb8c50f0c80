"""What took how long, from the events that Dagster stored: each run's waits and steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC

from rag_assets.postgres.database import Connection

_NOTABLE = ("RUN_ENQUEUED", "RUN_STARTING", "RUN_START", "RUN_SUCCESS", "RUN_FAILURE",
            "STEP_START", "STEP_SUCCESS", "STEP_FAILURE")  # fmt: skip
_ENDS = {"STEP_SUCCESS", "STEP_FAILURE"}


@dataclass
class Span:
    """A part of the way.

    :param start_s: since the drop.
    :param lines: what it logged, with seconds since the drop.
    """

    what: str
    start_s: float
    seconds: float = 0.0
    lines: list[tuple[float, str]] = field(default_factory=list)


def spans_since(dagster: Connection, began: float) -> list[Span]:
    """Waits and steps of all runs created since, in the order in which they began.

    :param began: seconds since the epoch.
    """
    rows = dagster.execute(
        """
        SELECT e.run_id, r.pipeline_name, e.step_key, e.dagster_event_type, e.timestamp, e.event
          FROM event_logs e JOIN runs r ON r.run_id = e.run_id
         WHERE e.timestamp >= to_timestamp(%s) AT TIME ZONE 'UTC' ORDER BY e.timestamp, e.id
        """,
        (began,),
    ).fetchall()
    spans: list[Span] = []
    last: dict[str, Span] = {}  # of each run: the wait or step that is under way
    for run_id, job, step, kind, at, event in rows:
        now = at.replace(tzinfo=UTC).timestamp() - began
        name = f"{job} {run_id[:4]}"
        if kind in _NOTABLE:
            if run_id in last:
                last[run_id].seconds = now - last[run_id].start_s
            what = f"{name}: {step}" if kind == "STEP_START" else f"{name}: after {kind}"
            if kind in _ENDS:
                what = f"{name}: after {step}"
            last[run_id] = Span(what, now)
            if kind not in {"RUN_SUCCESS", "RUN_FAILURE"}:
                spans.append(last[run_id])
        elif kind is None and run_id in last:
            last[run_id].lines.append((now, json.loads(event).get("user_message", "")))
    return [span for span in spans if span.seconds >= 0.05]
