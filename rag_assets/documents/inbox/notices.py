"""Notices of the kernel (inotify) about a local folder: which files are complete.

A file is complete when the program that wrote it closes it, or moves it in. A file without a notice
is found by a scan, once it has been unchanged for ``RAG_DOCUMENTS_SETTLE_S``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver

from rag_assets.documents.inbox.files import is_ignored

_DRAIN_S = 1.0
"""Time after which an observer has passed on all that it had received; it holds events for half a
second, to pair the two of a move."""
_WATCHED = [
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
]


@dataclass(frozen=True)
class Complete:
    """Files that are complete: by path, and all below some folders that were moved in."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = field(default=frozenset())

    def __contains__(self, path: object) -> bool:
        return path in self.files or any(
            str(path).startswith(f"{folder}/") for folder in self.folders
        )

    def __or__(self, other: Complete) -> Complete:
        return Complete(self.files | other.files, self.folders | other.folders)


class FolderNotices(FileSystemEventHandler):
    """Watches ``folder`` with all below it.

    :param wake: called from another thread when something has happened.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        wake: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = os.path.realpath(folder)
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._complete = Complete()
        self._observer: BaseObserver | None = None
        self._former: list[tuple[float, BaseObserver]] = []
        self._unwatched = threading.Event()

    def watch(self) -> bool:
        """Start watching unless it does already; return false where that is not possible.

        To be called again and again: the folder may be replaced, and the observer does not follow
        into folders that were moved in.

        :raises OSError: the kernel refuses, for example because it watches too many folders.
        """
        self._stop_former(self._clock() - _DRAIN_S)
        watching = self._observer is not None and any(
            one.is_alive() for one in self._observer.emitters
        )
        if watching and not self._unwatched.is_set():
            return True
        if sys.platform != "linux" or not Path(self.folder).is_dir():
            return False
        from watchdog.observers.inotify import InotifyObserver  # noqa: PLC0415 -- Linux alone

        self._unwatched.clear()
        observer: BaseObserver = InotifyObserver(generate_full_events=True)
        observer.schedule(self, self.folder, recursive=True, event_filter=_WATCHED)
        observer.start()
        if self._observer is not None:
            self._former.append((self._clock(), self._observer))
        self._observer = observer
        self._wake()  # for what came before
        return True

    def stop(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._former.append((float("-inf"), self._observer))
            self._observer = None
        self._stop_former(float("inf"))

    def _stop_former(self, until: float) -> None:
        """Stop the observers that were replaced before this time."""
        due = [observer for at, observer in self._former if at <= until]
        self._former = [(at, observer) for at, observer in self._former if at > until]
        for observer in due:
            observer.stop()
            observer.join()

    def take(self) -> Complete:
        """Return what is complete since the last call."""
        with self._lock:
            taken, self._complete = self._complete, Complete()
        return taken

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread."""
        if isinstance(event, FileClosedEvent):
            self._note(event.src_path, folder=False)
        elif isinstance(event, FileMovedEvent | DirMovedEvent) and event.dest_path:
            if event.is_directory and not event.src_path:
                self._unwatched.set()
            self._note(event.dest_path, folder=event.is_directory)
        else:
            self._wake()

    def _note(self, place: bytes | str, *, folder: bool) -> None:
        path = os.path.relpath(os.fsdecode(place), self.folder)
        if any(is_ignored(part) for part in path.split("/")):
            return
        found = frozenset([path])
        with self._lock:
            self._complete |= Complete(folders=found) if folder else Complete(found)
        self._wake()
