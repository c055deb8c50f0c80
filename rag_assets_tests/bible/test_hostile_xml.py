"""XML that attacks its reader is refused before it can do anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.bible.conftest import FolderOf

ROOTS = {
    "usx": '<usx version="3.0"><book code="GEN"/><chapter number="1"/><para style="p">'
    '<verse number="1"/>{}</para></usx>',
    "usfx": '<usfx><book id="GEN"><c id="1"/><p><v id="1"/>{}<ve/></p></book></usfx>',
    "osis": '<osis><verse osisID="Gen.1.1">{}</verse></osis>',
    "XMLBIBLE": '<XMLBIBLE><BIBLEBOOK bnumber="1"><CHAPTER cnumber="1"><VERS vnumber="1">{}</VERS>'
    "</CHAPTER></BIBLEBOOK></XMLBIBLE>",
}
BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    ("subset", "content"),
    [
        (f'<!DOCTYPE r [<!ENTITY e0 "ha">{BOMB}]>', "&e29;"),
        ('<!DOCTYPE r [<!ENTITY big "' + "x" * 50_000 + '">]>', "&big;" * 1000),
        ('<!DOCTYPE r [<!ENTITY file SYSTEM "file:///etc/hostname">]>', "&file;"),
        ('<!DOCTYPE r SYSTEM "http://127.0.0.1:9/evil.dtd">', "text"),
        ('<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>', "text"),
    ],
    ids=["bomb", "quadratic", "external", "dtd", "parameter"],
)
def test_a_dtd_is_refused(root: str, subset: str, content: str, folder_of: FolderOf) -> None:
    text = f"<?xml version='1.0'?>\n{subset}\n{ROOTS[root].format(content)}"

    with pytest.raises(CorpusError, match="remove the DOCTYPE") as caught:
        read_bible(folder_of({"a.xml": text}))

    assert caught.value.line == 2


@pytest.mark.parametrize("root", ROOTS)
def test_elements_without_end_are_refused(root: str, folder_of: FolderOf) -> None:
    nested = "<char>" * 200_000

    with pytest.raises(CorpusError, match="nested more than 100 deep"):
        read_bible(folder_of({"a.xml": ROOTS[root].format(nested)}))


def test_deeply_nested_usfm_markers_do_not_exhaust_the_stack(folder_of: FolderOf) -> None:
    spans = "\\add a " * 3000

    text = read_bible(folder_of({"a.usfm": f"\\id GEN\n\\c 1\n\\p\n\\v 1 {spans}\n\\p b"}))

    assert text.verses[0].text.endswith("a a b")


def test_a_link_out_of_the_folder_is_refused(folder_of: FolderOf, tmp_path: Path) -> None:
    secret = tmp_path / "secret.usfm"
    secret.write_text("\\id GEN\n\\c 1\n\\p\n\\v 1 secret\n")
    folder = folder_of({"a.usfm": "\\id EXO\n\\c 1\n\\p\n\\v 1 a\n"})
    (folder / "b.usfm").symlink_to(secret)

    with pytest.raises(CorpusError, match="a link out of the folder") as caught:
        read_bible(folder)

    assert caught.value.path == folder / "b.usfm"


def test_a_linked_folder_outside_is_refused(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = folder_of({"a.usfm": "\\id EXO\n\\c 1\n\\p\n\\v 1 a\n"})
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CorpusError, match="a link out of the folder"):
        read_bible(folder)


def test_links_that_stay_inside_are_followed_and_broken_ones_refused(folder_of: FolderOf) -> None:
    folder = folder_of({".data/a.usfm": "\\id EXO\n\\c 1\n\\p\n\\v 1 a\n"})
    (folder / "a.usfm").symlink_to(Path(".data", "a.usfm"))  # as Kubernetes mounts a volume

    assert [verse.reference for verse in read_bible(folder).verses] == ["EXO 1:1"]

    (folder / "loop").symlink_to("loop")
    with pytest.raises(CorpusError, match="not a regular file"):
        read_bible(folder)
