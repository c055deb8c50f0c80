"""From drop to run without waiting for ticks: documents are taken in when the kernel reports them,
and runs are started when documents wait.

Nothing depends on it but time: the sensors do the same every ten seconds, every minute for Bibles.
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

log = logging.getLogger("rag_assets.watch")
_GATHER_S = 0.2
"""Time in which notices are gathered, so that a drop of many files is not scanned many times."""
_WHILE_WAITING_S = 2.0
"""Time between evaluations of the queue's sensor while documents wait for the end of a run."""
_IDLE_S = 10.0
_LISTEN_S = 5.0


class Watch:
    """Wakes the inbox, the queue and the Bible's sensor.

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
        self._clock = clock
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._inbox = open_inbox(settings)
        self._documents: FolderNotices | None = None
        if isinstance(self._inbox, LocalInbox):
            self._documents = FolderNotices(Path(self._inbox.describe()), self._dropped)
        self._bibles = FolderNotices(settings.rag_bibles_dir, self._version_touched)
        self._complete = Complete()
        self._cursor: str | None = None
        self._scan_at: float | None = None
        self._count_at: float | None = None
        self._bible_at: float | None = None

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Watch until :meth:`stop`."""
        listener = threading.Thread(target=self._listen, name="listen", daemon=True)
        listener.start()
        try:
            while not self._stopping.is_set():
                self._keep_watching()
                self._woken.wait(self._pause())
                self._stopping.wait(_GATHER_S)
                self._woken.clear()
                self._attempt(self._scan)
                self._attempt(self._start_documents)
                self._attempt(self._start_bibles)
        finally:
            for notices in (self._documents, self._bibles):
                if notices is not None:
                    notices.stop()
            listener.join()

    def _pause(self) -> float:
        due = [at for at in (self._scan_at, self._count_at, self._bible_at) if at is not None]
        return max(0.0, min([_IDLE_S, *(at - self._clock() for at in due)]))

    def _attempt(self, work: Callable[[], object]) -> None:
        """Leave what fails to the sensors."""
        try:
            work()
        except (RagAssetsError, OSError) as error:
            log.warning("left to the sensors: %s", error)

    def _keep_watching(self) -> None:
        for notices in (self._documents, self._bibles):
            if notices is not None:
                self._attempt(notices.watch)

    def _dropped(self) -> None:
        self._scan_at = self._clock()
        self._woken.set()

    def _version_touched(self) -> None:
        self._bible_at = self._clock() + self._settings.rag_bible_settle_s + _GATHER_S
        self._woken.set()

    def _listen(self) -> None:
        """Wake when documents wait, whoever put them into the queue."""
        while not self._stopping.is_set():
            try:
                with self._database.connect(autocommit=True) as connection:
                    wake.listen(connection)
                    self._documents_wait()  # some may have come before
                    while not self._stopping.is_set():
                        if wake.wait(connection, _LISTEN_S):
                            self._documents_wait()
            except DatabaseUnavailableError as error:
                log.warning("notifications of the database are missed: %s", error)
                self._stopping.wait(_LISTEN_S)

    def _documents_wait(self) -> None:
        self._count_at = self._clock()
        self._woken.set()

    def _due(self, at: float | None) -> bool:
        return at is not None and at <= self._clock()

    def _scan(self) -> None:
        if not self._due(self._scan_at) or self._documents is None:
            return
        self._scan_at = None
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
            self._scan_at = self._clock() + self._settings.rag_documents_settle_s
        else:
            self._scan_at = self._clock()

    def _start_documents(self) -> None:
        if not self._due(self._count_at):
            return
        with self._database.connect(autocommit=True) as connection:
            waiting = sum(lane.claimable for lane in queue_counts(connection).values())
        self._count_at = self._clock() + _WHILE_WAITING_S if waiting else None
        if waiting:
            for run_id in self._ui.evaluate("document_queue"):
                log.info("%d documents wait: started run %s", waiting, run_id)

    def _start_bibles(self) -> None:
        if not self._due(self._bible_at):
            return
        self._bible_at = None
        for run_id in self._ui.evaluate("bible_version_folders"):
            log.info("a Bible version changed: started run %s", run_id)
