"""The active release as a running service sees it, at most a second after a switch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rag_assets.errors import NotReleasedError, reason_of
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.replication import Positions, wal_position
from rag_assets.retrieval.released import Served, recounted, served_now, warm
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import listen, release_state, wait_for_notice

_COUNT_EVERY_S = 10.0
"""Documents change constantly. Their counts only decide how a filtered search reads the table."""


class CurrentRelease:
    """Follows releases and policy in its own thread, on its own connection.

    It listens for notifications and also polls every second: none arrive behind a transaction
    pooler or on a standby, and withdrawing a licence sends none.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        changed: Callable[[Served], None],
        warn: Callable[[str], None],
        poll_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._changed = changed
        self._warn = warn
        self._look_every_s = poll_every_s
        self._clock = clock
        self._counted_at = clock()
        self._served: Served | None = None
        self._missing = "the active release has not been read yet: `rag-assets doctor`"
        self._state: tuple[object, ...] = ()
        self._polled_at: float | None = None
        self._position: int | None = None
        self._positions = Positions()
        self._stop = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="release", daemon=True)

    def __enter__(self) -> CurrentRelease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def served(self) -> Served:
        """What is served now; while the database is unreachable, what was served last.

        :raises NotReleasedError: nothing is released yet.
        """
        if self._served is None:
            raise NotReleasedError(self._missing)
        return self._served

    def wait_until_read(self, timeout_s: float) -> bool:
        """Wait for the first poll, successful or not; whether it ended in time."""
        return self._tried.wait(timeout_s)

    @property
    def following(self) -> bool:
        """Whether the server answered a poll recently enough."""
        patience_s = self._settings.rag_database_read_patience_s
        return self._polled_at is not None and self._clock() - self._polled_at < patience_s

    def behind(self, primary: CurrentRelease) -> float:
        """Seconds by which this server lags behind another; 0 if that is unknown."""
        if self._position is None or not primary.following:
            return 0.0
        return primary._positions.behind(self._position, self._clock())

    def refresh(self, connection: Connection) -> None:
        """Read the active release if it or the policy changed, or what is missing for one."""
        state = release_state(connection)
        if state == self._state and self._served is not None:
            self._recount(connection)
            return
        try:
            self._served = served_now(connection, self._settings)
            self._changed(self._served)
            warm(connection, self._served)
        except NotReleasedError as error:
            self._served, self._missing = None, str(error)
        self._state = state

    def _recount(self, connection: Connection) -> None:
        now = self._clock()
        if self._served is not None and now - self._counted_at >= _COUNT_EVERY_S:
            self._served = recounted(connection, self._served)
            self._counted_at = now

    def _poll(self, connection: Connection) -> None:
        now = self._clock()
        self._position = wal_position(connection)
        self._positions.add(now, self._position)
        self.refresh(connection)
        self._polled_at = self._clock()

    def _follow(self) -> None:
        unreachable = False
        while not self._stop.is_set():
            try:
                with self._database.connect(autocommit=True) as connection:
                    listen(connection)
                    unreachable = False
                    while not self._stop.is_set():
                        self._poll(connection)
                        self._tried.set()
                        wait_for_notice(connection, self._look_every_s)
            except Exception as error:  # any error: a thread that ends would leave the API stale
                if not unreachable:
                    self._warn(f"releases cannot be followed: {reason_of(error)}")
                unreachable = True
                self._polled_at = None
                self._tried.set()
                self._stop.wait(self._look_every_s)
