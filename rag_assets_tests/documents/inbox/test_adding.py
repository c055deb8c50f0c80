"""Files added by an operator: folders are read without following links."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rag_assets.documents.inbox.adding import add_files
from rag_assets.progress import Silent
from rag_assets_tests.documents.lane import Lane


@dataclass
class SwappingOnce(Silent):
    """Replaces a file with a link after its folder was listed and before it is copied."""

    file: Path
    target: Path

    def start(self, task: str, total: int) -> None:  # noqa: ARG002
        self.file.unlink()
        self.file.symlink_to(self.target)


def test_a_file_that_becomes_a_link_while_its_folder_is_added_is_refused(
    lane: Lane, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    papers = tmp_path / "papers"
    papers.mkdir()
    for name in ("a.md", "b.md"):
        (papers / name).write_text(name)
    progress = SwappingOnce(papers / "a.md", secret)
    added = add_files(lane.database, lane.dropped.inbox, lane.settings, [papers], progress=progress)
    assert set(added.keys) == {"papers/b.md"}
    assert added.refused == {str(papers / "a.md"): "is a link, which is not followed"}


def test_special_files_in_an_added_folder_are_reported(lane: Lane, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    os.mkfifo(papers / "pipe.md")
    (papers / "a.md").write_text("a")
    (tmp_path / "again.md").hardlink_to(papers / "a.md")
    (papers / "b.md").write_text("b")
    (tmp_path / "link").symlink_to(papers)  # a link that is named is followed
    added = add_files(
        lane.database, lane.dropped.inbox, lane.settings, [tmp_path / "link"], progress=Silent()
    )
    assert set(added.keys) == {"papers/b.md"}
    reasons = {Path(path).name: reason for path, reason in added.refused.items()}
    assert reasons["pipe.md"] == "is neither a file nor a folder"
    assert reasons["a.md"].startswith("has 2 hard links")
