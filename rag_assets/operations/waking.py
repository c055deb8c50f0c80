"""From drop to run without waiting for ticks: documents are taken in when the kernel reports them,
and runs are started when documents wait or a Bible version's folder has changed.

Nothing depends on it but time: the sensors do the same every ten seconds.
See decision 0031.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.inbox.local import LocalInbox
from rag_assets.documents.inbox.notices import Complete, FolderNotices
from rag_assets.documents.sql import wake
from rag_assets.documents.sql.documents import queue_counts
from rag_assets.errors import DatabaseUnavailableError, RagAssetsError
from rag_assets.operations.dagster_ui import DagsterUi
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.visible import count

QUEUE_SENSOR, BIBLE_SENSOR = "document_queue", "bible_version_folders"
log = logging.getLogger("rag_assets.watch")
_GATHER_S = 0.2
"""Time in which notices are gathered, so that a drop of many files is not scanned many times."""
_AGAIN_S = 2.0
"""Time until the next evaluation of the queue's sensor while documents wait; doubled each time, up
to the sensor's own interval, until a run is started."""
_IDLE_S = 10.0
_LISTEN_S = 5.0


class Plan:
    """When each kind of work is due. Threads may set it while the work is being done.

    :param clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}

    def within(self, work: str, seconds: float) -> None:
        """Do it in this time, or earlier if that is planned."""
        with self._lock:
            at = self._clock() + seconds
            self._due[work] = min(at, self._due.get(work, at))

    def after(self, work: str, seconds: float) -> None:
        """Do it in this time, not earlier."""
        with self._lock:
            self._due[work] = self._clock() + seconds

    def take(self, work: str) -> bool:
        """Whether it is due; then it is planned no more."""
        with self._lock:
            if self._due.get(work, float("inf")) > self._clock():
                return False
            del self._due[work]
            return True

    def pause(self, maximum_s: float) -> float:
        """Seconds until the next work."""
        with self._lock:
            return max(0.0, min([maximum_s, *(at - self._clock() for at in self._due.values())]))


class Watch:
    """Wakes the inbox, the queue and the Bible's sensor.

    While it runs, it touches the file ``watch.alive`` in RAG_HOME at least every minute.

    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        ui: DagsterUi,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._ui = ui
        self._plan = Plan(clock)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._inbox = open_inbox(settings)
        self._documents: FolderNotices | None = None
        if isinstance(self._inbox, LocalInbox):
            self._documents = FolderNotices(Path(self._inbox.describe()), self._dropped)
        self._bibles = FolderNotices(settings.rag_bibles_dir, self._version_touched)
        self._complete = Complete()
        self._cursor: str | None = None
        self._pause_s = _AGAIN_S
        self._said: dict[str, str] = {}

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Watch until :meth:`stop`."""
        folders = [one for one in (self._documents, self._bibles) if one is not None]
        work = {"inbox": self._scan, "queue": self._start_documents, "Bibles": self._start_bibles}
        listener = threading.Thread(target=self._listen, name="listen", daemon=True)
        listener.start()
        try:
            while not self._stopping.is_set():
                self._attempt("watch.alive", (self._settings.rag_home / "watch.alive").touch)
                for notices in folders:
                    self._attempt(notices.folder, notices.watch)
                self._woken.wait(self._plan.pause(_IDLE_S))
                self._stopping.wait(_GATHER_S)
                self._woken.clear()
                for what, do in work.items():
                    if self._plan.take(what) and not self._attempt(what, do):
                        self._plan.within(what, _IDLE_S)
        finally:
            for notices in folders:
                notices.stop()
            listener.join()

    def _attempt(self, what: str, work: Callable[[], object]) -> bool:
        """Leave what fails to the sensors, and log it once until it changes."""
        said = ""
        try:
            work()
        except (RagAssetsError, OSError) as error:
            said = str(error)
            if self._said.get(what) != said:
                log.warning("%s: left to the sensors: %s", what, said)
        self._said[what] = said
        return not said

    def _dropped(self) -> None:
        self._plan.within("inbox", 0)
        self._woken.set()

    def _version_touched(self) -> None:
        self._plan.after("Bibles", self._settings.rag_bible_settle_s + _GATHER_S)
        self._woken.set()

    def _documents_wait(self) -> None:
        self._pause_s = _AGAIN_S
        self._plan.within("queue", 0)
        self._woken.set()

    def _listen(self) -> None:
        """Wake when documents wait, whoever put them into the queue."""
        while not self._stopping.is_set():
            try:
                with wake.listener(self._database).connect(autocommit=True) as connection:
                    wake.listen(connection)
                    self._documents_wait()  # some may have come before
                    while not self._stopping.is_set():
                        if wake.wait(connection, _LISTEN_S):
                            self._documents_wait()
            except DatabaseUnavailableError as error:
                log.warning("notifications of the database are missed: %s", error)
                self._stopping.wait(_AGAIN_S)

    def _scan(self) -> None:
        if self._documents is None:
            return
        self._complete |= self._documents.take()
        intake = take_in(
            self._database,
            self._inbox,
            self._settings,
            cursor=self._cursor,
            complete=self._complete,
        )
        self._cursor = intake.cursor
        if intake.changed:
            log.info("inbox: %s", intake)
        if not intake.waiting:
            self._complete = Complete()
        elif intake.settling == intake.waiting:
            self._plan.within("inbox", self._settings.rag_documents_settle_s)
        else:
            self._plan.within("inbox", 0)

    def _start_documents(self) -> None:
        with self._database.connect(autocommit=True) as connection:
            waiting = sum(lane.claimable for lane in queue_counts(connection).values())
        if not waiting:
            return
        for run_id in self._ui.evaluate(QUEUE_SENSOR):
            self._pause_s = _AGAIN_S
            log.info("%s: started run %s", count(waiting, "waiting document"), run_id)
        self._plan.within("queue", self._pause_s)
        self._pause_s = min(2 * self._pause_s, _IDLE_S)

    def _start_bibles(self) -> None:
        for run_id in self._ui.evaluate(BIBLE_SENSOR):
            log.info("a Bible version changed: started run %s", run_id)
