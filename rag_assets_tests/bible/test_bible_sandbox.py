"""A Bible version is read in a bounded child process, from regular files of its own folder only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rag_assets.bible.fingerprint import folder_hash, last_touched
from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import ReadingLimits, reading_limits
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.versions import (
    VersionDeclaration,
    VersionFolder,
    find_version_folder,
    list_version_folders,
    read_declaration,
)
from rag_assets.errors import CorpusError, ExtractionInterruptedError
from rag_assets.settings.model import Settings
from rag_assets_tests.bible import samples
from rag_assets_tests.bible.conftest import FolderOf

LIMITS = reading_limits(Settings())
OUTSIDE = "\\id EXO\n\\c 1\n\\p\n\\v 1 secret\n"


def usfm(verses: int, text: str = "word") -> str:
    lines = "".join(f"\\v {number % 900 + 1} {text}\n" for number in range(verses))
    return f"\\id GEN\n\\c 1\n\\p\n{lines}"


def text_of(folder: Path) -> str:
    return " ".join(verse.text for verse in read_version(folder, LIMITS).bible.verses)


@pytest.fixture
def bibles(tmp_path: Path) -> Path:
    """A folder of versions, with one, and another version outside."""
    for place, content in (("bibles/EN_A", samples.USFM), ("elsewhere", OUTSIDE)):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.usfm").write_text(content)
    return tmp_path / "bibles"


@pytest.mark.parametrize("name", samples.SINGLE_FILES)
def test_extraction_gives_the_same_with_and_without_a_child(name: str, folder_of: FolderOf) -> None:
    folder = folder_of({"a \udce9": samples.SINGLE_FILES[name], "README.md": "hello"})
    read = read_version(folder, LIMITS)
    assert read.bible == read_bible(folder)
    assert read.source_hash == folder_hash(folder, most_bytes=LIMITS.most_bytes)


def test_a_broken_file_is_named_with_its_line(folder_of: FolderOf) -> None:
    folder = folder_of({"a.usfm": samples.USFM, "b.usfm": "\\id GEN\n\\c one\n\\v 1 a"})
    with pytest.raises(CorpusError) as caught:
        read_version(folder, LIMITS)
    assert str(caught.value).startswith(f"{folder / 'b.usfm'}:2: 'one' is not a chapter number")


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (replace(LIMITS, most_bytes=1 << 20), "hold more than 1 MB: .*RAG_BIBLE_MAX_MB"),
        (replace(LIMITS, memory_bytes=64 << 20), "64 MB of memory: .*RAG_BIBLE_MEMORY_MB"),
        (replace(LIMITS, seconds=0.5), "RAG_BIBLE_TIMEOUT_S"),
    ],
)
def test_a_version_that_takes_too_much_names_the_setting(
    limits: ReadingLimits, setting: str, folder_of: FolderOf
) -> None:
    folder = folder_of({"a.usfm": usfm(60_000, "many words " * 20)})
    # Where the machine is busy elsewhere, the child waits rather than works.
    with pytest.raises((CorpusError, ExtractionInterruptedError), match=setting):
        read_version(folder, limits)
    assert [one for one in psutil.Process().children() if "bible.child" in str(one.cmdline())] == []


def test_a_killed_child_interrupts_its_version(folder_of: FolderOf) -> None:
    def kill(_: Path) -> None:
        for child in psutil.Process().children():
            if "rag_assets.bible.child" in child.cmdline():
                child.kill()

    with pytest.raises(ExtractionInterruptedError, match=r"was ended from outside \(-9\)"):
        read_version(folder_of({"a.usfm": samples.USFM}), LIMITS, on_file=kill)


def test_the_hash_is_of_the_bytes_that_were_read(folder_of: FolderOf) -> None:
    folder = folder_of({"a.usfm": usfm(1, "old"), "b.usfm": samples.USFM})

    def rewrite(path: Path) -> None:
        if path.name == "a.usfm":
            path.write_text(usfm(1, "new"))

    read = read_version(folder, LIMITS, on_file=rewrite)
    assert "new" in [verse.text for verse in read.bible.verses]
    assert read.source_hash == folder_hash(folder, most_bytes=LIMITS.most_bytes)


@pytest.mark.parametrize("swap", ["link", "folder"])
def test_a_file_that_becomes_a_link_while_its_version_is_read_is_refused(
    swap: str, bibles: Path
) -> None:
    folder = bibles / "EN_A"
    (folder / "b.usfm").write_text(samples.USFM)

    def swapped(path: Path) -> None:
        if path.name == "b.usfm":
            return
        if swap == "link":
            (folder / "b.usfm").unlink()
            (folder / "b.usfm").symlink_to(bibles.parent / "elsewhere" / "a.usfm")
        else:
            (bibles.parent / "elsewhere" / "b.usfm").write_text(OUTSIDE)
            folder.rename(bibles / "moved")
            folder.symlink_to(bibles.parent / "elsewhere")

    with pytest.raises(
        CorpusError, match=r"b\.usfm: .*no link is followed|is a link, which is not"
    ):
        read_version(folder, LIMITS, on_file=swapped)


def open_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


SPECIAL: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": open_socket,
    "device": lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
}


@pytest.mark.parametrize("name", ["version.toml", "b.usfm"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_and_nobody_waits_for_it(
    kind: str, name: str, bibles: Path
) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    SPECIAL[kind](bibles / "EN_A" / name)
    (folder,) = list_version_folders(bibles)

    def read() -> None:
        read_declaration(folder)
        read_version(folder.path, LIMITS)

    with pytest.raises(CorpusError, match=f"{name}: .*not a regular file"):
        read()


DECLARED = """
import sys
from pathlib import Path
from rag_assets.bible.versions import VersionFolder, read_declaration
try:
    read_declaration(VersionFolder("EN_A", Path(sys.argv[1])))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_pipe_in_the_place_of_the_declaration_does_not_hang(bibles: Path) -> None:
    os.mkfifo(bibles / "EN_A" / "version.toml")
    ran = subprocess.run(
        [sys.executable, "-c", DECLARED, str(bibles / "EN_A")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.startswith("CorpusError ")
    assert "version.toml: is not a regular file: remove it" in ran.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a = " + "[" * 30_000, "is not TOML"),
        ("a = " + "1" * 10_000, "is not TOML"),
        ("# " + "x" * 70_000, "is larger than 64 KB"),
        (b"name = '\xff'", "is not TOML"),
    ],
)
def test_a_hostile_declaration_fails_its_version_only(
    content: str | bytes, reason: str, folder_of: FolderOf
) -> None:
    folder = folder_of({"version.toml": content})
    with pytest.raises(CorpusError, match=f"version.toml: {reason}"):
        read_declaration(VersionFolder("EN_A", folder))


def test_a_declaration_may_be_a_link_within_the_folder_but_not_out_of_it(bibles: Path) -> None:
    folder = VersionFolder("EN_A", bibles / "EN_A")
    (folder.path / ".data").mkdir()
    (folder.path / ".data" / "version.toml").write_text("name = 'A'")
    folder.declaration_path.symlink_to(Path(".data", "version.toml"))
    assert read_declaration(folder).name == "A"
    (bibles.parent / "outside.toml").write_text("name = 'B'")
    folder.declaration_path.unlink()
    folder.declaration_path.symlink_to(bibles.parent / "outside.toml")
    with pytest.raises(CorpusError, match="a link out of the folder"):
        read_declaration(folder)


def test_a_version_folder_that_is_a_link_out_of_bibles_is_refused(bibles: Path) -> None:
    (bibles / "EN_OUT").symlink_to(bibles.parent / "elsewhere")
    (bibles / "EN_IN").symlink_to("EN_A")
    inside, out = (
        next(one for one in list_version_folders(bibles) if one.code == code)
        for code in ("EN_IN", "EN_OUT")
    )
    assert "Selah" in text_of(inside.path)
    for read in (
        lambda: find_version_folder(bibles, "EN_OUT"),
        lambda: read_declaration(out),
        lambda: read_version(out.path, LIMITS),
        lambda: folder_hash(out.path, most_bytes=LIMITS.most_bytes),
        lambda: last_touched(out.path),
    ):
        with pytest.raises(CorpusError, match=r"EN_OUT: a link out of .*bibles: put the version"):
            read()


def test_a_file_with_several_hard_links_is_refused_by_name(bibles: Path) -> None:
    (bibles / "EN_A" / "b.usfm").hardlink_to(bibles.parent / "elsewhere" / "a.usfm")
    with pytest.raises(CorpusError, match=r"b\.usfm: has 2 hard links, .*put a copy in its place"):
        read_version(bibles / "EN_A", LIMITS)


def test_only_what_was_read_is_copied_when_a_version_is_added(bibles: Path) -> None:
    source = bibles.parent / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a.usfm").write_text(samples.USFM)
    os.mkfifo(source / ".pipe")
    (bibles.parent / "link").symlink_to(source)  # a link that is named is followed
    declaration = VersionDeclaration("B", "en")
    added = add_version(bibles, "EN_B", bibles.parent / "link", declaration, LIMITS)
    assert added.verses == 2
    found = sorted(path.relative_to(added.folder).as_posix() for path in added.folder.rglob("*"))
    assert found == ["sub", "sub/a.usfm", "version.toml"]


@pytest.mark.parametrize("name", ["EN_KJV", "PT_ALM1911"])
def test_a_whole_bible_is_read_within_the_default_limits(
    name: str, real_bible: Callable[[str], object]
) -> None:
    bible = real_bible(name)
    from rag_assets_tests.bible.conftest import BIBLES

    assert read_version(BIBLES / name, LIMITS).bible == bible
