"""What the recovery remembers from one look to the next: the sensor's cursor. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Memory:
    """Since when things are as they are; ``None`` where they are not so.

    :param looked_at: the look before; ``watching_since`` the first of an unbroken row of looks.
    :param gap_since: the look before, where it was too long ago for an unbroken row.
    :param server_started_at: of PostgreSQL, as last seen.
    :param away_since: the database could not be reached; ``told_away_at``: people were told;
        ``called_away_at``: a person was called.
    :param database_back_at: when it was there again, and ``database_gone_at`` when it was missed.
    :param idle_since: by lane: documents could be taken, and no run took them.
    :param unseen_since: by run: it counts as started, and was at the database at none of the looks.
    :param limited_since: the provider limits the rate at each look; ``limited_at``: the last 429;
        ``answered_at``: the last request that it answered.
    :param failing_since: by dependency.
    :param incident_since: an incident is open or escalated; ``stuck_since``: work does not go on.
    :param slack_refused_since: Slack has taken no message; ``slack_tried_at``: the last try.
    """

    looked_at: datetime | None = None
    watching_since: datetime | None = None
    gap_since: datetime | None = None
    server_started_at: datetime | None = None
    away_since: datetime | None = None
    told_away_at: datetime | None = None
    called_away_at: datetime | None = None
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
        """As text, which :meth:`from_cursor` reads."""
        return json.dumps(dataclasses.asdict(self), default=datetime.isoformat)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Memory:
        """What was remembered; nothing where the text is of another time of this project."""
        try:
            values: dict[str, Any] = json.loads(cursor or "{}")
            return cls(**{name: _time_or_times(value) for name, value in values.items()})
        except (TypeError, ValueError, AttributeError):
            return cls()


def _time_or_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: datetime.fromisoformat(one) for name, one in value.items()}
    return None if value is None else datetime.fromisoformat(value)
