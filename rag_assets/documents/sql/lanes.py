"""What throttles lanes: pauses, and the usable share of the provider's limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all

PausedBy = Literal["recovery", "command"]


@dataclass(frozen=True)
class Pause:
    """A lane for which no runs are started, why, and who paused it."""

    lane: Lane
    reason: str
    paused_by: PausedBy
    paused_at: datetime

    @property
    def description(self) -> str:
        """Who paused it, and why."""
        return f"by {self.paused_by}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Share:
    """The usable share of batch size and concurrency at one endpoint, and since when."""

    endpoint: str
    share: float
    set_at: datetime | None


@dataclass(frozen=True)
class KeyState:
    """One API key at one endpoint.

    :param resting_s: remaining seconds of its cool-down; 0 without one.
    :param out_of_quota_s: seconds since it was last refused for lack of quota.
    """

    endpoint: str
    key_fingerprint: str
    resting_s: float
    out_of_quota_s: float | None


def paused_lanes(connection: Connection) -> dict[Lane, Pause]:
    """Return the paused lanes, a handful of rows."""
    pauses = fetch_all(
        connection,
        Pause,
        "SELECT lane, reason, paused_by, paused_at FROM paused_lanes ORDER BY lane",
    )
    return {pause.lane: pause for pause in pauses}


def pause_lane(connection: Connection, lane: Lane, reason: str, by: PausedBy) -> bool:
    """Pause a lane; return whether anything changed.

    A pause by command replaces one by the recovery, and is never replaced by it.
    """
    return bool(
        connection.execute(
            """
            INSERT INTO paused_lanes AS p (lane, reason, paused_by) VALUES (%s, %s, %s)
            ON CONFLICT (lane) DO UPDATE
               SET reason = EXCLUDED.reason, paused_by = EXCLUDED.paused_by, paused_at = now()
             WHERE EXCLUDED.paused_by = 'command'
            """,
            (lane, reason, by),
        ).rowcount
    )


def resume_lane(connection: Connection, lane: Lane, by: PausedBy) -> bool:
    """Resume a lane; return whether it was paused. The recovery only lifts its own pauses."""
    return bool(
        connection.execute(
            "DELETE FROM paused_lanes WHERE lane = %(lane)s"
            " AND (paused_by = %(by)s OR %(by)s = 'command')",
            {"lane": lane, "by": by},
        ).rowcount
    )


def provider_shares(connection: Connection) -> tuple[Share, ...]:
    """Return the shares of all endpoints, a handful of rows."""
    return fetch_all(
        connection,
        Share,
        "SELECT endpoint, share, share_set_at AS set_at FROM provider_limits ORDER BY endpoint",
    )


def set_share(connection: Connection, endpoint: str, share: float) -> None:
    """Set the usable share of batch size and concurrency, from the next request on."""
    connection.execute(
        "UPDATE provider_limits SET share = %s, share_set_at = now() WHERE endpoint = %s",
        (share, endpoint),
    )


def key_states(connection: Connection) -> tuple[KeyState, ...]:
    """Return all keys that were ever limited or refused, a handful of rows."""
    return fetch_all(
        connection,
        KeyState,
        """
        SELECT endpoint, key_fingerprint,
               greatest(0, coalesce(extract(epoch FROM nullif(resting_until, '-infinity')
                                            - clock_timestamp()), 0))::float8 AS resting_s,
               extract(epoch FROM clock_timestamp() - out_of_quota_at)::float8 AS out_of_quota_s
          FROM provider_keys ORDER BY endpoint, key_fingerprint
        """,
    )
