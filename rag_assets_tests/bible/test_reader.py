"""Recognising, merging and fingerprinting a version's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rag_assets.bible import fingerprint
from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.bible import samples
from rag_assets_tests.bible.conftest import FolderOf

EXPECTED = {
    "usfm": ["JHN 3:16", "JHN 3:17-18"],
    "usx": ["JHN 3:16"],
    "usfx": ["PSA 3:1", "PSA 3:2-3"],
    "osis": ["PSA 3:1", "PSA 3:2"],
    "zefania": ["MAT 1:1"],
    "bodruk_json": ["JOB 1:1", "JHN 1:1", "JHN 1:2", "JHN 2:1"],
    "scrollmapper_csv": ["1SA 1:1", "REV 1:1"],
}


@pytest.mark.parametrize("name", samples.SINGLE_FILES)
def test_a_format_is_known_by_its_content_not_its_name(name: str, folder_of: FolderOf) -> None:
    folder = folder_of({"misleading.pdf": samples.SINGLE_FILES[name]})

    text = read_bible(folder)

    assert text.format == name
    assert [verse.reference for verse in text.verses] == EXPECTED[name]
    assert read_bible(folder / "misleading.pdf") == text


def test_the_samples_read_as_plain_text(folder_of: FolderOf) -> None:
    text = read_bible(folder_of({"a": samples.USFM}))

    assert [verse.text for verse in text.verses] == [
        "For God so loved the world, that he gave his Son.",
        "“Whoever believes.” Selah",
    ]
    assert text.reference_count == 3


def test_a_vref_pair(folder_of: FolderOf) -> None:
    text = read_bible(folder_of({"vref.txt": samples.VREF_LIST, "a.txt": samples.VREF_TEXT}))

    assert text.format == "vref"
    assert [verse.reference for verse in text.verses] == ["PSA 13:5-6", "PSA 14:1"]
    assert text.reference_count == 3


@pytest.mark.parametrize("first", ["[Jesus said]", "<range>", "{sic}", '"a",b', "", " "])
def test_a_vref_text_may_begin_with_anything(first: str, folder_of: FolderOf) -> None:
    folder = folder_of({"vref.txt": "GEN 1:1\nGEN 1:2\n", "a.txt": f"{first}\nb\n"})

    assert read_bible(folder).verses[-1].reference == "GEN 1:2"


def test_companions_and_front_matter_are_skipped_and_named(folder_of: FolderOf) -> None:
    folder = folder_of(
        {
            "release/a.usfm": samples.USFM,
            "00.usfm": "\\id FRT\n\\h Preface\n\\ip Once\n",
            "BookNames.xml": "\ufeff<?xml version='1.0'?>\n<!DOCTYPE BookNames>\n<BookNames/>",
            "versification.vrs": "# Versification\nGEN 1:31 2:25\n",
            "metadata.xml": "<!-- DBL --><DBLMetadata/>",
            "version.toml": "name = 'x'",
            ".DS_Store": b"\x00\x01",
            ".git/config": "x",
        }
    )

    text = read_bible(folder)

    skipped = {o.reference for o in text.oddities if o.kind is OddityKind.SKIPPED_FILE}
    assert skipped == {"00.usfm", "BookNames.xml", "versification.vrs", "metadata.xml"}


def test_verses_come_in_canonical_order_whatever_the_names_of_the_files(
    folder_of: FolderOf,
) -> None:
    def book(code: str) -> str:
        return f"\\id {code}\n\\c 2\n\\p\n\\v 2 d\n\\v 1 c\n\\c 1\n\\p\n\\v 1 a\n"

    folder = folder_of({"1": book("TOB"), "2": book("REV"), "3": book("GEN")})

    assert [verse.reference for verse in read_bible(folder).verses] == [
        f"{code} {place}" for code in ("GEN", "REV", "TOB") for place in ("1:1", "2:1", "2:2")
    ]


def hash_of(folder: Path) -> str:
    return folder_hash(folder, most_bytes=1000)


def test_the_hash_is_of_names_and_contents_only(folder_of: FolderOf) -> None:
    folder = folder_of({"a.usfm": "one", "sub/b.usfm": "two"})
    before = hash_of(folder)
    assert len(before) == 64

    (folder / "version.toml").write_text("name = 'x'")
    (folder / ".hidden").write_text("x")
    os.utime(folder / "a.usfm", (1, 1))
    assert hash_of(folder) == before

    (folder / "a.usfm").write_text("one more")
    changed = hash_of(folder)
    (folder / "a.usfm").rename(folder / "c.usfm")
    renamed = hash_of(folder)
    assert len({before, changed, renamed}) == 3


def test_a_folder_is_read_again_only_after_a_change(
    folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def spied(folder: Path, *, most_bytes: int) -> str:
        read.append(folder)
        return folder_hash(folder, most_bytes=most_bytes)

    monkeypatch.setattr(fingerprint, "folder_hash", spied)
    hashes, folder = fingerprint.FolderHashes(), folder_of({"a.usfm": "one", "sub/b.usfm": "two"})
    first = hashes.hash_of(folder, most_bytes=1000)
    assert hashes.hash_of(folder, most_bytes=1000) == first == hash_of(folder)
    assert len(read) == 1
    file = folder / "sub/b.usfm"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text("six")  # of the same size
    os.utime(file, ns=times)  # as a copy that keeps the times does
    assert hashes.hash_of(folder, most_bytes=1000) == hash_of(folder) != first
    with pytest.raises(CorpusError):
        hashes.hash_of(folder, most_bytes=1)
    with pytest.raises(CorpusError):
        hashes.hash_of(folder, most_bytes=1)


def test_moving_bytes_between_files_changes_the_hash(tmp_path: Path) -> None:
    hashes = set()
    for number, contents in enumerate((("ab", "c"), ("a", "bc"), ("abc", ""))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in zip("xy", contents, strict=True):
            (folder / name).write_text(content)
        hashes.add(hash_of(folder))

    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["README.md", "licence.txt", "COPYING", "Copyright-notice.html"])
def test_a_licence_beside_the_text_is_left_out_and_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "gen.usfm").write_text("\\id GEN\n\\c 1\n\\p\n\\v 1 In the beginning\n", "utf-8")
    (tmp_path / name).write_text("You may share this text.\n", "utf-8")
    bible = read_bible(tmp_path)
    assert [verse.text for verse in bible.verses] == ["In the beginning"]
    skipped = [one for one in bible.oddities if one.kind is OddityKind.SKIPPED_FILE]
    assert skipped == [Oddity(OddityKind.SKIPPED_FILE, name, "a companion file")]


def test_another_text_beside_it_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "gen.usfm").write_text("\\id GEN\n\\c 1\n\\p\n\\v 1 In the beginning\n", "utf-8")
    (tmp_path / "notes.txt").write_text("You may share this text.\n", "utf-8")
    with pytest.raises(CorpusError, match=r"notes\.txt: not a known format"):
        read_bible(tmp_path)
