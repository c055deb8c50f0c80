"""Files swapped during processing: only the hashed content is read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rag_assets_tests.documents.lane import Lane, markdown
from rag_assets_tests.inotify import CLOSED_UNCHANGED, OPENED, watching

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

SECRET = markdown("password")
Swap = Callable[[Path, Path], None]


def for_a_link(file: Path, secret: Path) -> None:
    """Replace the file with a link to the secret, atomically."""
    link = file.with_name(".swap")
    link.symlink_to(secret)
    link.replace(file)


def for_a_hard_link(file: Path, secret: Path) -> None:
    """As :func:`for_a_link`, with a second name of the secret."""
    link = file.with_name(".swap")
    link.hardlink_to(secret)
    link.replace(file)


def for_a_linked_folder(file: Path, secret: Path) -> None:
    """Replace the file's folder with a link to the secret's."""
    file.parent.rename(file.parent.with_name(".moved"))
    file.parent.symlink_to(secret.parent)


def for_other_content(file: Path, secret: Path) -> None:
    """Overwrite the file in place."""
    file.write_bytes(secret.read_bytes())


@contextmanager
def swapping(file: Path, moment: int, swap: Callable[[], None]) -> Iterator[threading.Event]:
    """Swap as soon as this happens to the file; report whether it did."""
    swapped = threading.Event()

    def attack(events: Callable[[], list[object]]) -> None:
        while all(getattr(event, "name", "") != file.name for event in events()):
            pass
        swap()
        swapped.set()

    with watching(file.parent, moment) as events:
        attacker = threading.Thread(target=attack, args=(events,))
        attacker.start()
        yield swapped
        attacker.join()


@pytest.mark.parametrize("moment", [OPENED, CLOSED_UNCHANGED])
@pytest.mark.parametrize(
    "swap", [for_a_link, for_a_hard_link, for_a_linked_folder, for_other_content]
)
def test_a_swapped_file_makes_nothing_searchable_that_was_not_hashed(
    swap: Swap, moment: int, lane: Lane, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    secret = tmp_path / "elsewhere" / "a.md"
    secret.write_text(SECRET)
    file = lane.dropped.drop("sub/a.md", markdown("river"))
    lane.dropped.scan()

    with swapping(file, moment, lambda: swap(file, secret)) as swapped:
        lane.process()

    assert swapped.is_set()
    assert lane.sql("SELECT text FROM document_chunks WHERE text ILIKE '%password%'") == []
    if swap is not for_other_content or moment == CLOSED_UNCHANGED:
        assert lane.states() == {"a": "ready"}  # of the file that was opened, and of no other
    assert secret.stat().st_size == len(SECRET)


def test_a_document_keeps_what_it_has_while_its_file_has_several_hard_links(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("sea"))
    lane.process()
    for name in ("a.md", "b.md"):
        (lane.folder.parent / name).hardlink_to(lane.folder / name)
    intake = lane.dropped.scan()
    assert (intake.withdrawn, intake.updated) == (0, 0)
    assert [remark.split(",")[0] for remark in intake.remarks] == [
        "a.md: has 2 hard links", "b.md: has 2 hard links",
    ]  # fmt: skip
    assert lane.states() == {"a": "ready", "b": "ready"}
    (lane.folder / "a.md").unlink()
    assert lane.dropped.scan().withdrawn == 1
