"""Local and remote inboxes behave alike: what they list, read, accept and refuse."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from rag_assets.documents.inbox.inbox import Inbox, open_inbox, put, read_pieces
from rag_assets.documents.inbox.local import LocalInbox
from rag_assets.documents.inbox.remote import RemoteInbox
from rag_assets.errors import (
    ConfigurationError,
    DocumentTooLargeError,
    InboxUnavailableError,
    RequestError,
)
from rag_assets.settings.model import Settings
from rag_assets_tests.inotify import CREATED, MOVED_TO, watching

MB = 2**20


class Place:
    """An inbox, and a way to put files there."""

    def __init__(self, inbox: Inbox, write: Callable[[str, bytes], None]) -> None:
        self.inbox = inbox
        self.write = write

    def paths(self) -> list[str]:
        """The listed paths."""
        return [file.path for file in self.inbox.listing().files]


@pytest.fixture(params=["local", "memory", "local files by fsspec"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A folder, an in-memory storage, and the folder accessed as a storage."""
    folder = tmp_path / "inbox"

    def write(path: str, content: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)

    if request.param == "local":
        yield Place(LocalInbox(folder), write)
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        name = f"inbox-{uuid.uuid4().hex}"
        yield Place(
            open_inbox(Settings(rag_documents_url=f"memory://{name}")),
            lambda path, content: memory.pipe_file(f"/{name}/{path}", content),
        )
        if memory.exists(f"/{name}"):
            memory.rm(f"/{name}", recursive=True)
    else:
        yield Place(RemoteInbox(LocalFileSystem(), str(folder), "here"), write)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is an inbox, with one document."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.md").write_text("# A")
    return tmp_path / "inbox"


def test_files_are_listed_by_path_with_size_and_age(place: Place) -> None:
    assert place.inbox.listing().files == ()
    place.write("b/ü c.md", b"twelve bytes")
    place.write("a.md", b"")
    place.write("b/deep/er/x", b"1")
    files = place.inbox.listing().files
    assert [(file.path, file.bytes) for file in files] == [
        ("a.md", 0), ("b/deep/er/x", 1), ("b/ü c.md", 12),
    ]  # fmt: skip
    assert all(file.modified and -1 < file.age_s < 60 for file in files)
    assert place.inbox.find("a.md") is not None
    assert place.inbox.find("a.md").modified == files[0].modified  # type: ignore[union-attr]
    assert place.inbox.find("b") is None
    assert place.inbox.find("none.md") is None


def test_one_file_is_removed_and_one_that_is_not_there_is_a_sentence(place: Place) -> None:
    place.write("a.md", b"stays")
    place.write("b/c.md", b"goes")
    place.inbox.remove("b/c.md")
    assert place.paths() == ["a.md"]
    with pytest.raises(InboxUnavailableError, match="inbox"):
        place.inbox.remove("b/c.md")


IGNORED = [
    ".hidden.md", ".git/config.md", "a/.cache/x.md", "r.pdf.part", "x.crdownload", "~$minutes.docx",
    "y.TMP", "z.partial", "Thumbs.db", "a/desktop.ini", "m.filepart",
]  # fmt: skip


def test_hidden_unfinished_and_system_files_are_ignored(place: Place) -> None:
    for path in IGNORED:
        place.write(path, b"x")
    place.write("a/seen.md", b"x")
    place.write("partial.md", b"x")
    assert place.paths() == ["a/seen.md", "partial.md"]


def test_a_change_is_visible_in_the_storages_metadata(place: Place) -> None:
    place.write("a.md", b"one")
    before = place.inbox.listing().files[0]
    assert place.inbox.listing().files[0].modified == before.modified
    place.write("a.md", b"two")
    after = place.inbox.listing().files[0]
    assert after.modified != before.modified


def test_content_is_fetched_and_hashed(place: Place) -> None:
    content = os.urandom(3 * MB + 7)
    place.write("sub/a b.bin", content)
    with place.inbox.fetch("sub/a b.bin") as file:
        assert file.read() == content
    assert place.inbox.content_hash("sub/a b.bin") == hashlib.sha256(content).digest()


def test_a_missing_file_is_a_transient_error(place: Place) -> None:
    for path in (
        "none.md",
        "a/../../etc/passwd",
        "/etc/passwd",
        "..",
        "",
        "a//b",
        "a\0b",
        "\udcff",
    ):
        with pytest.raises(InboxUnavailableError), place.inbox.fetch(path):
            pass
        with pytest.raises(InboxUnavailableError):
            place.inbox.content_hash(path)


def test_an_upload_becomes_visible_only_when_it_is_complete(place: Place) -> None:
    pieces = [os.urandom(MB) for _ in range(3)]
    seen = []

    def watched() -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            seen.append(place.paths())

    stored = put(place.inbox, "reports/2026/ä.pdf", watched(), max_bytes=4 * MB)
    assert seen == [[], [], []]
    assert (stored.path, stored.size, stored.how) == ("reports/2026/ä.pdf", 3 * MB, "added")
    assert stored.content_hash == place.inbox.content_hash("reports/2026/ä.pdf")
    assert place.paths() == ["reports/2026/ä.pdf"]


def test_an_interrupted_upload_leaves_nothing(place: Place) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put(place.inbox, "a.md", breaking(), max_bytes=MB)
    with pytest.raises(DocumentTooLargeError, match=r"a\.md: is larger than 1 MB.*DOCUMENTS_MAX"):
        put(place.inbox, "a.md", [bytes(MB), b"x"], max_bytes=MB)
    assert place.paths() == []
    assert put(place.inbox, "a.md", [bytes(MB)], max_bytes=MB).how == "added"


def test_a_taken_name_is_replaced_only_on_request(place: Place) -> None:
    put(place.inbox, "a.md", [b"one"], max_bytes=MB)
    assert put(place.inbox, "a.md", [b"o", b"ne"], max_bytes=MB).how == "unchanged"
    with pytest.raises(RequestError, match="with different content") as caught:
        put(place.inbox, "a.md", [b"two"], max_bytes=MB)
    assert caught.value.kind == "name-taken"
    with place.inbox.fetch("a.md") as file:
        assert file.read() == b"one"
    assert put(place.inbox, "a.md", [b"two"], max_bytes=MB, replace=True).how == "replaced"
    with place.inbox.fetch("a.md") as file:
        assert file.read() == b"two"
    assert place.paths() == ["a.md"]


def test_names_of_folders_and_below_files_are_refused_even_with_replace(place: Place) -> None:
    put(place.inbox, "a.md", [b"one"], max_bytes=MB)
    put(place.inbox, "sub/b.md", [b"two"], max_bytes=MB)
    reasons = {
        "a.md/c.md": "a.md is a(?: link or a)? file, not a folder",
        "a.md/c/d.md": "a.md is a(?: link or a)? file, not a folder",
        "sub": "it is a folder",
    }
    for name, reason in reasons.items():
        for replace in (False, True):
            with pytest.raises(RequestError, match=f"{reason}.*: choose another name") as caught:
                put(place.inbox, name, [b"x"], max_bytes=MB, replace=replace)
            assert caught.value.kind == "name-taken"
    assert place.paths() == ["a.md", "sub/b.md"]


BAD_NAMES = [
    "", ".", "..", "../a.md", "a/../b.md", "/etc/passwd", "a//b", "a/", ".hidden", "a/.git/b",
    "x.part", "~$a.docx", "a\nb", "a\0b", "a\x1b[31m", "a\\b", "\udcff.md", "x" * 201, "é" * 101,
    "a/" * 500 + "b",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_outside_or_would_be_ignored_is_refused(place: Place, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        put(place.inbox, name, [b"x"], max_bytes=MB)
    assert caught.value.kind == "bad-name"
    str(caught.value).encode()  # can be shown and stored
    assert place.paths() == []


def test_one_of_two_concurrent_uploads_of_a_name_wins(folder: Path) -> None:
    inbox = LocalInbox(folder)
    gate = threading.Barrier(8)
    outcomes: list[str] = []

    def upload(number: int) -> None:
        with inbox.upload("same.md", max_bytes=MB) as file:
            file.write(str(number).encode())
            gate.wait()
            try:
                outcomes.append(file.finish(replace=False).how)
            except RequestError as error:
                outcomes.append(error.kind)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] + 7 * ["name-taken"]
    assert len((folder / "same.md").read_text()) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["a.md", "same.md"]


def test_no_link_is_followed_wherever_it_leads(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / "s.md").write_text("secret")
    (folder / "to-file.md").symlink_to(secret / "s.md")
    (folder / "to-folder").symlink_to(secret, target_is_directory=True)
    (folder / "inside.md").symlink_to("a.md")
    (folder / "dangling.md").symlink_to("nowhere")
    (folder / "round").symlink_to(folder, target_is_directory=True)
    inbox = LocalInbox(folder)
    listing = inbox.listing()
    assert [file.path for file in listing.files] == ["a.md"]
    assert sorted(trouble.path for trouble in listing.troubles) == [
        "dangling.md", "inside.md", "round", "to-file.md", "to-folder",
    ]  # fmt: skip
    assert "put the file itself there" in str(listing.troubles[0])
    for path in ("to-file.md", "to-folder/s.md", "round/a.md", "inside.md"):
        with pytest.raises(InboxUnavailableError), inbox.fetch(path):
            pass
        assert inbox.find(path) is None
    for name in ("to-folder/new.md", "round/new.md", "a.md/new.md"):
        with pytest.raises(RequestError, match="is a link or a file, not a folder"):
            put(inbox, name, [b"x"], max_bytes=MB)
    assert [path.name for path in secret.iterdir()] == ["s.md"]
    with pytest.raises(RequestError):  # the link's name is taken; what it leads to is not touched
        put(inbox, "to-file.md", [b"x"], max_bytes=MB)
    put(inbox, "to-file.md", [b"x"], max_bytes=MB, replace=True)
    assert (secret / "s.md").read_text() == "secret"
    assert not (folder / "to-file.md").is_symlink()


def test_a_folder_that_became_a_link_after_it_was_listed_is_not_followed(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b.md").write_text("b")
    inbox = LocalInbox(folder)
    assert [file.path for file in inbox.listing().files] == ["a.md", "sub/b.md"]
    (folder / "sub").rename(folder.parent / "moved")
    (folder / "sub").symlink_to(folder.parent / "moved")
    with pytest.raises(InboxUnavailableError, match="not in the inbox"):
        inbox.content_hash("sub/b.md")


def test_the_inbox_itself_may_be_reached_by_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert [file.path for file in LocalInbox(link).listing().files] == ["a.md"]


def test_special_files_are_reported_without_blocking(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    inbox = LocalInbox(folder)
    (trouble,) = inbox.listing().troubles
    assert str(trouble) == "pipe.md: is neither a file nor a folder: remove it"
    with pytest.raises(InboxUnavailableError), inbox.fetch("pipe.md"):
        pass
    with pytest.raises(InboxUnavailableError, match="not a regular file"):
        inbox.content_hash("pipe.md")


def test_sockets_and_devices_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "socket.md"))
    names = ["socket.md"]
    if os.geteuid() == 0:
        os.mknod(folder / "zeros.md", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        names.append("zeros.md")
    inbox = LocalInbox(folder)
    listing = inbox.listing()
    assert [file.path for file in listing.files] == ["a.md"]
    assert sorted(trouble.path for trouble in listing.troubles) == names
    for name in names:
        with pytest.raises(InboxUnavailableError, match=f"{name} is not in the inbox .*regular"):
            inbox.content_hash(name)


def test_a_file_with_several_hard_links_is_refused_by_name(folder: Path) -> None:
    (folder.parent / "secret").write_text("hidden")
    (folder / "b.md").hardlink_to(folder.parent / "secret")
    inbox = LocalInbox(folder)
    listing = inbox.listing()
    assert [file.path for file in listing.files] == ["a.md"]
    assert listing.refused == ("b.md",)
    assert [str(trouble) for trouble in listing.troubles] == [
        "b.md: has 2 hard links, one of which may be a file elsewhere: put a copy in its place"
    ]
    for read in (inbox.content_hash, inbox.find, lambda path: inbox.fetch(path).__enter__()):
        with pytest.raises(InboxUnavailableError, match=r"^b\.md has 2 hard links"):
            read("b.md")
    (folder.parent / "secret").unlink()
    assert [file.path for file in inbox.listing().files] == ["a.md", "b.md"]


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_an_upload_never_has_two_names(folder: Path) -> None:
    with watching(folder, CREATED | MOVED_TO) as events:
        assert put(LocalInbox(folder), "b.md", [b"x"], max_bytes=MB).how == "added"
        seen = [event for event in events() if event.name == "b.md"]
    assert [event.mask for event in seen] == [MOVED_TO]  # a link would have been created


def test_a_remote_document_is_copied_to_a_file_without_a_name(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("a.md", b"text")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with place.inbox.fetch("a.md") as file:
        assert list(scratch.iterdir()) == []
        assert file.read() == b"text"


def test_names_unfit_for_databases_or_terminals_are_reported(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/latin\xe9.md")).write_text("x")
    (folder / "esc\x1b[31m.md").write_text("x")
    (folder / "two\nlines").mkdir()
    deep = folder
    for _ in range(6):
        deep /= "d" * 200
    deep.mkdir(parents=True)
    (deep / "x.md").write_text("x")
    listing = LocalInbox(folder).listing()
    assert [file.path for file in listing.files] == ["a.md"]
    told = sorted(map(str, listing.troubles))
    assert len(told) == 4
    assert sum("not UTF-8" in line for line in told) == 1
    assert sum("control characters" in line for line in told) == 2
    assert sum("more than 1000 bytes" in line for line in told) == 1
    assert all(line.isprintable() for line in told)
    "".join(told).encode()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Run as an unprivileged user; requires root."""
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded() -> Iterator[Path]:
    """An inbox that others can reach, with a folder and a file that they may not read."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path("/tmp") / f"rag-inbox-{uuid.uuid4().hex}"  # noqa: S108 -- others must reach it
    (folder / "locked").mkdir(parents=True)
    (folder / "open").mkdir()
    for path in ("a.md", "b.md", "locked/x.md", "open/y.md"):
        (folder / path).write_text(path)
    for path, mode in ((".", 0o755), ("open", 0o755), ("locked", 0o700), ("b.md", 0o600)):
        (folder / path).chmod(mode)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "opened", [LocalInbox, lambda folder: RemoteInbox(LocalFileSystem(), str(folder), "here")]
)
def test_unreadable_files_are_reported_and_the_rest_is_listed(
    guarded: Path, opened: Callable[[Path], Inbox]
) -> None:
    inbox = opened(guarded)
    with as_nobody():
        listing = inbox.listing()
        assert [file.path for file in listing.files] == ["a.md", "b.md", "open/y.md"]
        assert listing.unlisted == ("locked/",)
        assert "Permission denied" in str(listing.troubles[0])
        with pytest.raises(InboxUnavailableError, match=r"b\.md.*"):
            inbox.content_hash("b.md")
        with pytest.raises(InboxUnavailableError, match="cannot be written"):
            put(inbox, "c.md", [b"x"], max_bytes=MB)
    guarded.chmod(0o700)
    with as_nobody(), pytest.raises(InboxUnavailableError, match="cannot be listed"):
        inbox.listing()


def test_the_age_is_that_of_the_last_change_whatever_time_the_file_was_given(folder: Path) -> None:
    os.utime(folder / "a.md", (1, 1))
    ages = itertools.count(1_000_000_000, 1_000_000_000)
    assert LocalInbox(folder).listing().files[0].age_s < 60
    os.utime(folder / "a.md", (4e9, 4e9))
    (file,) = LocalInbox(folder).listing().files
    assert -1 < file.age_s < 60
    later = file.modified
    os.utime(folder / "a.md", (4e9, 4e9))
    assert LocalInbox(folder).listing().files[0].modified != later
    clock = float(next(ages)) * 10
    assert LocalInbox(folder, clock=lambda: clock).listing().files[0].age_s > 1e9


def test_a_time_in_the_future_says_nothing_about_the_age(folder: Path) -> None:
    os.utime(folder / "a.md", (4e9, 4e9))
    inbox = RemoteInbox(LocalFileSystem(), str(folder), "here")
    assert inbox.listing().files[0].age_s == math.inf


def test_uploads_left_by_a_dead_process_are_removed_after_a_day(folder: Path) -> None:
    left = folder / ".adding-0123.part"
    left.write_text("half")
    put(LocalInbox(folder), "b.md", [b"x"], max_bytes=MB)
    assert left.exists()
    now = left.stat().st_mtime
    put(LocalInbox(folder, clock=lambda: now + 90_000), "c.md", [b"x"], max_bytes=MB)
    assert not left.exists()


def test_the_url_selects_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("inbox", str(tmp_path / "inbox"), f"file://{tmp_path}/inbox"):
        inbox = open_inbox(Settings(rag_documents_url=url))
        assert isinstance(inbox, LocalInbox)
        assert inbox.describe() == os.path.realpath(tmp_path / "inbox")
    memory = open_inbox(Settings(rag_documents_url="memory://inbox"))
    assert memory.describe() == "memory://inbox"


def test_an_unknown_or_unreachable_storage_is_reported_without_its_password() -> None:
    for url, what in (
        ("nonsense://user:hidden-word@host/x", "Protocol not known"),
        ("s3://user:hidden-word@bucket/x", "s3fs"),
    ):
        with pytest.raises(ConfigurationError, match=what) as wrong:
            open_inbox(Settings(rag_documents_url=url))
        assert "hidden-word" not in str(wrong.value)
    for wrapper in ("dir", "async_wrapper"):
        with pytest.raises(ConfigurationError, match="wraps a local folder"):
            open_inbox(Settings(rag_documents_url=f"{wrapper}::file:///tmp"))
    with pytest.raises(InboxUnavailableError, match="cannot be reached") as away:
        open_inbox(Settings(rag_documents_url="ftp://user:hidden-word@127.0.0.1:1/inbox"))
    assert "hidden-word" not in str(away.value)
    assert "hidden-word" not in repr(Settings(rag_documents_url="ftp://user:hidden-word@host/x"))


def test_a_local_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert list(read_pieces(tmp_path, "x", piece_bytes=4)) == [b"0123", b"4567", b"89"]


class Telling(MemoryFileSystem):  # type: ignore[misc]
    """A storage that reports file metadata like other storages."""

    cachable = False
    told: ClassVar[dict[str, object]] = {}

    def find(self, path: str, **_: object) -> dict[str, dict[str, object]]:
        """One file."""
        return {f"{path}/a.md": {"name": f"{path}/a.md", "type": "file", "size": 3, **self.told}}


THEN = 1_445_412_480.0


@pytest.mark.parametrize(
    ("told", "modified", "age_s"),
    [
        ({"LastModified": datetime(2015, 10, 21, 7, 28, tzinfo=UTC)}, str(THEN), 60.0),
        ({"LastModified": datetime(2015, 10, 21, 7, 28)}, str(THEN), 60.0),
        ({"LastModified": "Wed, 21 Oct 2015 07:28:00 GMT"}, str(THEN), 60.0),
        ({"updated": "2015-10-21T07:28:00Z"}, str(THEN), 60.0),
        ({"mtime": THEN, "created": THEN - 5}, str(THEN), 60.0),
        ({"ETag": '"abc"', "LastModified": datetime.fromtimestamp(THEN, UTC)}, '"abc"', 60.0),
        ({"ETag": '"abc"'}, '"abc"', math.inf),
        ({"modified": "yesterday"}, "yesterday", math.inf),
        ({}, "3 bytes", math.inf),
    ],
)
def test_changes_are_detected_in_the_metadata_of_each_storage(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, object], modified: str, age_s: float
) -> None:
    monkeypatch.setattr(Telling, "told", told)
    inbox = RemoteInbox(Telling(), "/inbox", "here", clock=lambda: THEN + 60)
    (file,) = inbox.listing().files
    assert (file.path, file.bytes, file.modified, file.age_s) == ("a.md", 3, modified, age_s)
