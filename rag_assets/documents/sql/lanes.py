"""What holds lanes back: pauses, and the share of the provider's limits that may be used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all

PausedBy = Literal["recovery", "command"]


@dataclass(frozen=True)
class Pause:
    """A lane from which no run is started, why, and by whom it was decided."""

    lane: Lane
    reason: str
    paused_by: PausedBy
    paused_at: datetime

    @property
    def told(self) -> str:
        """By whom and why, for people."""
        return f"by {self.paused_by}: {self.reason}"


@dataclass(frozen=True)
class Share:
    """What of batch size and concurrency may be used at one provider, and since when."""

    endpoint: str
    share: float
    set_at: datetime | None


@dataclass(frozen=True)
class KeyState:
    """One API key at one provider.

    :param resting_s: seconds that it still rests; 0 when it does not.
    :param out_of_quota_s: seconds since it was last refused for want of quota.
    """

    endpoint: str
    key_fingerprint: str
    resting_s: float
    out_of_quota_s: float | None


def paused_lanes(connection: Connection) -> dict[Lane, Pause]:
    """Every paused lane. There are as few as lanes."""
    pauses = fetch_all(
        connection,
        Pause,
        "SELECT lane, reason, paused_by, paused_at FROM paused_lanes ORDER BY lane",
    )
    return {pause.lane: pause for pause in pauses}


def pause_lane(connection: Connection, lane: Lane, reason: str, by: PausedBy) -> bool:
    """Start no run from a lane for now; whether anything changed.

    A person's word stands above the recovery's: it replaces it, and is never replaced by it.
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
    """Start runs from a lane again; whether it was paused. The recovery resumes its own only."""
    return bool(
        connection.execute(
            "DELETE FROM paused_lanes WHERE lane = %(lane)s"
            " AND (paused_by = %(by)s OR %(by)s = 'command')",
            {"lane": lane, "by": by},
        ).rowcount
    )


def provider_shares(connection: Connection) -> tuple[Share, ...]:
    """Every provider's. There are as few as endpoints."""
    return fetch_all(
        connection,
        Share,
        "SELECT endpoint, share, share_set_at AS set_at FROM provider_limits ORDER BY endpoint",
    )


def set_share(connection: Connection, endpoint: str, share: float) -> None:
    """Let this much of batch size and concurrency be used from the next request on."""
    connection.execute(
        "UPDATE provider_limits SET share = %s, share_set_at = now() WHERE endpoint = %s",
        (share, endpoint),
    )


def key_states(connection: Connection) -> tuple[KeyState, ...]:
    """Every key that was ever told to rest or refused. There are as few as keys."""
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
