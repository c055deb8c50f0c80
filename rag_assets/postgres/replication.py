"""How far a server is, so that a standby's lag can be told without any right on either."""

from __future__ import annotations

from collections import deque

from rag_assets.postgres.database import Connection, one

_KEPT = 1000


def wal_position(connection: Connection) -> int | None:
    """Bytes of WAL ever written by a primary, or replayed by a standby; ``None`` if not told.

    Of a standby: what it shows at least, so asked for before anything is read from it.
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
    """Where a primary was when, as seen by one who looks each second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    def add(self, at: float, position: int | None) -> None:
        """Keep where it is at a time, in seconds of a clock that never goes back."""
        if position is not None:
            self._seen.append((at, position))

    def behind(self, position: int, now: float) -> float:
        """Seconds by which a standby that has replayed so far is behind, at least."""
        seen = tuple(self._seen)  # another thread adds to it
        for at, reached in reversed(seen):
            if reached <= position:
                return max(0.0, now - at)
        return now - seen[0][0] if seen else 0.0
