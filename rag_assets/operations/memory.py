"""What the recovery remembers between checks: the sensor's cursor. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rag_assets.operations.snapshot import Snapshot
from rag_assets.operations.thresholds import INTERVAL

_DATABASE_ERRORS = ("DatabaseUnavailableError", "WorkerLostError")
_KEYS = {"checked_at": "looked_at", "down_since": "away_since",
         "outage_reported_at": "told_away_at", "outage_escalated_at": "called_away_at"}  # fmt: skip
"""Fields with another key in the cursor, so that stored cursors stay readable."""
_FIELDS = {key: name for name, key in _KEYS.items()}


@dataclass(frozen=True)
class Memory:
    """Since when each condition has held; ``None`` if it does not hold.

    :param checked_at: the last check; ``watching_since``: the first of an unbroken series.
    :param gap_since: the last check, if it was too long ago for an unbroken series.
    :param server_started_at: PostgreSQL's start, as last seen.
    :param down_since: the database is unreachable; ``outage_reported_at``: when that was
        reported; ``outage_escalated_at``: when an operator was notified.
    :param database_gone_at: start of the database's last outage; ``database_back_at``: its end.
    :param idle_since: by lane: documents could be claimed, and no run did.
    :param unseen_since: by run: it counts as started, but had no database session at any check.
    :param limited_since: the provider limits the rate at every check; ``limited_at``: the last 429;
        ``answered_at``: the last answered request.
    :param failing_since: by dependency: it is down.
    :param incident_since: an incident is open or escalated; ``stuck_since``: work is stuck.
    :param slack_refused_since: Slack accepts no message; ``slack_tried_at``: the last attempt.
    """

    checked_at: datetime | None = None
    watching_since: datetime | None = None
    gap_since: datetime | None = None
    server_started_at: datetime | None = None
    down_since: datetime | None = None
    outage_reported_at: datetime | None = None
    outage_escalated_at: datetime | None = None
    database_gone_at: datetime | None = None
    database_back_at: datetime | None = None
    idle_since: Mapping[str, datetime] = field(default_factory=dict)
    unseen_since: Mapping[str, datetime] = field(default_factory=dict)
    limited_since: datetime | None = None
    limited_at: datetime | None = None
    answered_at: datetime | None = None
    failing_since: Mapping[str, datetime] = field(default_factory=dict)
    incident_since: datetime | None = None
    stuck_since: datetime | None = None
    slack_refused_since: datetime | None = None
    slack_tried_at: datetime | None = None

    def to_cursor(self) -> str:
        """Serialize, for :meth:`from_cursor`."""
        values = {_KEYS.get(name, name): one for name, one in dataclasses.asdict(self).items()}
        return json.dumps(values, default=datetime.isoformat)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Memory:
        """Deserialize; empty if another version of the project wrote the cursor."""
        try:
            values: dict[str, Any] = json.loads(cursor or "{}")
            return cls(**{_FIELDS.get(k, k): _time_or_times(one) for k, one in values.items()})
        except (TypeError, ValueError, AttributeError):
            return cls()


def remember(seen: Snapshot, memory: Memory) -> Memory:
    """Return the memory updated with this snapshot."""
    now = seen.now
    gap = memory.checked_at is not None and now - memory.checked_at > 3 * INTERVAL
    # After a gap in the checks a new server start is not an outage, unless work was lost.
    restarted = memory.server_started_at not in (None, seen.server_started_at) and (
        not gap or bool(signs_of_outage(seen))
    )
    gone = memory.down_since or (memory.checked_at if restarted else None)
    failing = {
        probe.name: memory.failing_since.get(probe.name, now)
        for probe in seen.probes
        if not probe.ok
    }
    if memory.down_since is not None:
        failing["database"] = memory.down_since
    return dataclasses.replace(
        memory,
        checked_at=now,
        watching_since=now if gap else memory.watching_since or now,
        gap_since=memory.checked_at if gap and memory.down_since is None else None,
        server_started_at=seen.server_started_at,
        down_since=None,
        outage_reported_at=memory.outage_reported_at if memory.down_since is not None else None,
        outage_escalated_at=None,
        database_gone_at=gone or memory.database_gone_at,
        database_back_at=now if gone else memory.database_back_at,
        idle_since={
            lane.lane: memory.idle_since.get(lane.lane, now)
            for lane in seen.document_lanes
            if lane.claimable and not lane.running and lane.paused is None
        },
        unseen_since={run: memory.unseen_since.get(run, now) for run in seen.unseen_runs},
        limited_since=(memory.limited_since or now) if _limits_rate(seen, memory) else None,
        limited_at=now if seen.rate_limited else memory.limited_at,
        answered_at=now if seen.answered else memory.answered_at,
        failing_since=failing,
    )


def remember_outage(memory: Memory, now: datetime) -> Memory:
    """Return the memory after a check that found the database unreachable."""
    return dataclasses.replace(memory, checked_at=now, down_since=memory.down_since or now)


def signs_of_outage(seen: Snapshot) -> tuple[str, ...]:
    """Return the signs of a database outage in the queue: errors and lost leases."""
    errors = tuple(name for name in _DATABASE_ERRORS if name in seen.failures)
    left = f"{seen.leases_over} documents left by their runs"
    return (*errors, left) if seen.leases_over else errors


def _limits_rate(seen: Snapshot, memory: Memory) -> bool:
    """Return whether the provider limits the rate: from the first 429 until no key cools down."""
    resting = any(key.resting_s > 0 for key in seen.keys)
    return bool(seen.rate_limited) or (memory.limited_since is not None and resting)


def _time_or_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: datetime.fromisoformat(one) for name, one in value.items()}
    return None if value is None else datetime.fromisoformat(value)
