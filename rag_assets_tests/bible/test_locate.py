"""Where a verse is in its version's files, in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.bible.locate import VerseKey, lines_of
from rag_assets_tests.bible.samples import SINGLE_FILES, VREF_LIST, VREF_TEXT

MARKS: dict[str, dict[VerseKey, str | None]] = {
    "usfm": {("JHN", 3, 16): r"\v 16 For God", ("JHN", 3, 18): r"\v 17-18 "},
    "usx": {("JHN", 3, 16): '<verse number="16"'},
    "usfx": {("PSA", 3, 1): '<v id="1"', ("PSA", 3, 3): '<v id="2-3"'},
    "osis": {("PSA", 3, 1): '<verse osisID="Ps.3.1">', ("PSA", 3, 2): '<verse sID="Ps.3.2"'},
    "zefania": {("MAT", 1, 1): '<VERS vnumber="1">'},
    "bodruk_json": {("JOB", 1, 1): None},
    "scrollmapper_csv": {("1SA", 1, 2): "I Samuel,1,2,", ("REV", 1, 1): "Revelation of John"},
}


@pytest.mark.parametrize("kind", SINGLE_FILES)
def test_the_line_of_a_verse_is_that_of_its_number(tmp_path: Path, kind: str) -> None:
    (tmp_path / "source.txt").write_text(SINGLE_FILES[kind], encoding="utf-8")
    lines = SINGLE_FILES[kind].split("\n")
    wanted = {*MARKS[kind], ("GEN", 50, 99)}
    found = lines_of(tmp_path, wanted, most_bytes=2**20)
    assert found.keys() == {key for key, mark in MARKS[kind].items() if mark}
    for key, at in found.items():
        assert at.file == "source.txt"
        assert (MARKS[kind][key] or "") in lines[at.line - 1]


def test_beside_a_list_of_references_the_file_is_the_one_with_the_text(tmp_path: Path) -> None:
    (tmp_path / "vref.txt").write_text(VREF_LIST, encoding="utf-8")
    (tmp_path / "text.txt").write_text(VREF_TEXT, encoding="utf-8")
    found = lines_of(tmp_path, {("PSA", 14, 1)}, most_bytes=2**20)
    assert [(at.file, at.line) for at in found.values()] == [("text.txt", 4)]
