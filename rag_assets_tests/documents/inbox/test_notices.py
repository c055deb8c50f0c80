"""Files that the kernel reports as complete are taken in without settling; others wait."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.inbox.notices import Complete, FolderNotices
from rag_assets.documents.sql import wake
from rag_assets.documents.sql.queue import give_back
from rag_assets_tests.documents.lane import Lane
from rag_assets_tests.documents.queued import take

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
LONG = 3600.0


@dataclass
class Watched:
    """A watched folder, and what was noticed."""

    notices: FolderNotices
    woken: threading.Event

    def complete(self, until: Callable[[Complete], bool]) -> Complete:
        """What is complete, once it fulfils a condition."""
        found = Complete()
        while not until(found):
            assert self.woken.wait(10), f"no notice came; so far {found}"
            self.woken.clear()
            found |= self.notices.take()
        return found


@pytest.fixture
def watched(lane: Lane) -> Iterator[Watched]:
    woken = threading.Event()
    notices = FolderNotices(lane.folder, woken.set)
    assert notices.watch()
    yield Watched(notices, woken)
    notices.stop()


def test_written_and_moved_files_are_taken_in_at_once_and_an_open_one_is_not(
    lane: Lane, watched: Watched, tmp_path: Path
) -> None:
    lane.dropped.drop("written.md", "# Written")
    (tmp_path / "beside.md").write_text("# Moved")
    (tmp_path / "beside.md").rename(lane.folder / "moved.md")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "below.md").write_text("# Below")
    (tmp_path / "folder").rename(lane.folder / "folder")
    with (lane.folder / "open.md").open("w") as unfinished:
        unfinished.write("# Unfini")
        unfinished.flush()
        lane.dropped.drop("last.md", "# Last")
        complete = watched.complete(lambda found: "last.md" in found)
        intake = take_in(
            lane.database,
            lane.dropped.inbox,
            lane.settings.model_copy(update={"rag_documents_settle_s": LONG}),
            complete=complete,
        )
    assert "open.md" not in complete
    assert (intake.added, intake.waiting, intake.settling) == (4, 1, 1)
    assert set(lane.dropped.states()) == {
        "written.md", "moved.md", "folder/deep/below.md", "last.md"
    }  # fmt: skip
    watched.complete(lambda found: "open.md" in found)


def test_a_folder_that_was_moved_in_is_watched(
    lane: Lane, watched: Watched, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "first.md").write_text("# First")
    (tmp_path / "folder").rename(lane.folder / "folder")
    watched.complete(lambda found: "folder/first.md" in found)
    assert watched.notices.watch()
    lane.dropped.drop("folder/second.md", "# Second")
    complete = watched.complete(lambda found: bool(found.files))
    assert complete.files == {"folder/second.md"}


def test_unfinished_names_are_no_notices_and_a_removal_wakes(lane: Lane, watched: Watched) -> None:
    lane.dropped.drop("film.mkv.part", "half")
    lane.dropped.drop(".hidden/a.md", "hidden")
    file = lane.dropped.drop("a.md", "# A")
    assert watched.complete(lambda found: "a.md" in found) == Complete(frozenset(["a.md"]))
    watched.woken.clear()
    file.unlink()
    assert watched.woken.wait(10)
    assert watched.notices.take() == Complete()


def test_a_missing_folder_is_watched_once_it_exists(tmp_path: Path) -> None:
    woken = threading.Event()
    notices = FolderNotices(tmp_path / "later", woken.set)
    assert not notices.watch()
    (tmp_path / "later").mkdir()
    try:
        assert notices.watch()
        assert woken.is_set(), "what came before the watch is scanned"
        assert notices.watch()
    finally:
        notices.stop()
    assert [thread for thread in threading.enumerate() if "otify" in type(thread).__name__] == []


def test_documents_that_wait_wake_whoever_listens(lane: Lane) -> None:
    with lane.database.connect(autocommit=True) as listening:
        wake.listen(listening)
        lane.drop(a="# A")
        assert wake.wait(listening, 5)
        take(lane.database)
        assert not wake.wait(listening, 0.1), "a claim is no news"
        with lane.database.connect() as connection:
            give_back(connection, "run", error_class=None, error=None, after_s=0)
        assert wake.wait(listening, 5)
