"""Compute a standby's lag from WAL positions, without special privileges on either server."""

from __future__ import annotations

from collections import deque

from rag_assets.postgres.database import Connection, one

_KEPT = 1000


def wal_position(connection: Connection) -> int | None:
    """Bytes of WAL written by a primary or replayed by a standby; ``None`` if unknown.

    A standby may already show more than this, so read the position before anything else.
    """
    (position,) = one(
        connection.execute(
            """
            SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                         ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint
            """
        )
    )
    return None if position is None else int(position)


class Positions:
    """A history of a primary's WAL positions, polled every second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    def add(self, at: float, position: int | None) -> None:
        """Record a position at a time, in seconds of a monotonic clock."""
        if position is not None:
            self._seen.append((at, position))

    def behind(self, position: int, now: float) -> float:
        """Minimum seconds by which a standby that has replayed up to ``position`` is behind."""
        seen = tuple(self._seen)  # another thread appends to it
        for at, reached in reversed(seen):
            if reached <= position:
                return max(0.0, now - at)
        return now - seen[0][0] if seen else 0.0
