"""Every way in which a source can be broken: the file, the line and what to do are told."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.bible import samples
from rag_assets_tests.bible.conftest import FolderOf

USFM_HEAD = "\\id GEN\n\\c 1\n\\p\n"
USX_HEAD = '<usx version="3.0">\n<book code="GEN"/>\n<chapter number="1"/>\n<para style="p">\n'

BROKEN: dict[str, tuple[str, str | bytes, int | None, str]] = {
    "empty": ("a.usfm", "", 1, "the file is empty"),
    "only blanks": ("a.usfm", " \n\ufeff\n", 1, "the file is empty"),
    "no Bible": ("a.txt", "Dear diary\n", None, "not a known format"),
    "web page": ("a.usfm", "<html><body>Not found</body></html>", None, "not a known format"),
    "page alone": ("a.htm", "<html><body>Genesis 1</body></html>", None, "only companion files"),
    "zip": ("a.usfm", b"PK\x03\x04\x00\x00\xff\xfe", None, "is a damaged zip file"),
    # USFM
    "latin-1": ("a.usfm", f"{USFM_HEAD}\\v 1 Árvore".encode("latin-1"), 4, "convert the file to"),
    "utf-16 without mark": ("a.usfm", b"\\id GEN\n\\c 1\n\x00", 3, "holds NUL characters"),
    "no id": ("a.usfm", "\\c 1\n\\v 1 a", 1, "does not begin with \\id"),
    "unknown id": ("a.usfm", "\n\\id XYZ\n\\c 1\n\\v 1 a", 2, "unknown book id 'XYZ'"),
    "id alone": ("a.usfm", "\\id\n", 1, "unknown book id ''"),
    "no verse": ("a.usfm", "\\id GEN\n\\c 1\n\\p\n", None, "GEN holds no verse (cut off?)"),
    "no chapter": ("a.usfm", "\\id GEN\n\\p\n\\v 1 a", 3, "before the first chapter"),
    "open note": ("a.usfm", f"{USFM_HEAD}\\v 1 a \\f + \\ft b", 4, "\\f is not closed"),
    "note over verses": (
        "a.usfm",
        f"{USFM_HEAD}\\v 1 a \\f + \\ft b\n\\v 2 c \\f + \\ft d\\f*",
        4,
        "\\f is not closed",
    ),
    "note in note": (
        "a.usfm",
        f"{USFM_HEAD}\\v 1 \\f + a \\x - b\\x* \\f*",
        4,
        "\\f is not closed",
    ),
    "open span": ("a.usfm", f"{USFM_HEAD}\\v 1 a\n\\add b", 5, "\\add is not closed"),
    "cut marker": ("a.usfm", f"{USFM_HEAD}\\v 1 a\n\\", 5, "ends in the middle of a marker"),
    "cut verse": ("a.usfm", f"{USFM_HEAD}\\v 1 a\n\\v", 5, "a verse without a number"),
    "cut chapter": ("a.usfm", f"{USFM_HEAD}\\v 1 a\n\\c", 5, "'' is not a chapter number"),
    "odd verse": ("a.usfm", f"{USFM_HEAD}\\v 9-7 a", 4, "'9-7' is not a verse number"),
    "odd chapter": ("a.usfm", "\\id GEN\n\\c one\n\\v 1 a", 2, "'one' is not a chapter number"),
    # XML
    "cut XML": ("a.xml", USX_HEAD + '<verse number="1"/>text', 5, "not well-formed XML"),
    "bad XML": ("a.xml", "<osis>\n<verse osisID='Gen.1.1'>a & b</verse></osis>", 2, "not well"),
    "XML in latin-1": (
        "a.xml",
        "<?xml version='1.0' encoding='utf-8'?>\n<osis>Á</osis>".encode("latin-1"),
        2,
        "not well-formed XML",
    ),
    "unknown encoding": (
        "a.xml",
        "<?xml version='1.0' encoding='no-such'?><usx/>",
        None,
        "encoding: no-such",
    ),
    "USX without book": ("a.usx", "<usx></usx>", 1, "no <book code=…> element"),
    "USX book": ("a.usx", '<usx>\n<book code="XYZ"/></usx>', 2, "unknown book id 'XYZ'"),
    "USX verse": (
        "a.usx",
        USX_HEAD + '<verse number="x"/></para></usx>',
        5,
        "'x' is not a verse number",
    ),
    "USX unnumbered": ("a.usx", USX_HEAD + "<verse/></para></usx>", 5, "a verse without a number"),
    "USX empty book": ("a.usx", '<usx><book code="GEN"/></usx>', None, "GEN holds no verse"),
    "OSIS book": ("a.xml", "<osis>\n<verse osisID='Foo.1.1'>a</verse></osis>", 2, "book 'Foo'"),
    "OSIS id": (
        "a.xml",
        "<osis>\n<verse osisID='Gen.1'>a</verse></osis>",
        2,
        "is not a verse's osisID",
    ),
    "OSIS span": (
        "a.xml",
        "<osis><verse osisID='Gen.1.31 Gen.2.1'>a</verse></osis>",
        1,
        "is not a verse's osisID",
    ),
    "OSIS without verses": ("a.xml", "<osis><header/></osis>", None, "no text in any verse"),
    "Zefania book": (
        "a.xml",
        "<XMLBIBLE>\n<BIBLEBOOK bnumber='99' bname='?'/></XMLBIBLE>",
        2,
        "unknown book",
    ),
    "Zefania chapter": (
        "a.xml",
        "<XMLBIBLE><BIBLEBOOK bnumber='1'>\n<CHAPTER cnumber='x'/></BIBLEBOOK></XMLBIBLE>",
        2,
        "'x' is not a chapter number",
    ),
    "Zefania verse": (
        "a.xml",
        "<XMLBIBLE><BIBLEBOOK bnumber='1'><CHAPTER cnumber='1'>\n<VERS>a</VERS></CHAPTER>"
        "</BIBLEBOOK></XMLBIBLE>",
        2,
        "vnumber '' is not a verse number",
    ),
    "Zefania verse outside": (
        "a.xml",
        "<XMLBIBLE>\n<VERS vnumber='1'/></XMLBIBLE>",
        2,
        "before any",
    ),
    # JSON
    "cut JSON": ("a.json", '[{"abbrev": "Gn",\n"chapters": [["a"', 2, "not valid JSON"),
    "JSON object": ("a.json", '{"Gn": []}', None, "not a known format"),
    "JSON strings": ("a.json", '["Gn"]', None, "book 1 is not an object"),
    "JSON chapters": ("a.json", '[{"abbrev": "Gn"}]', None, "book 1 (GEN) holds no array"),
    "JSON chapter": ("a.json", '[{"abbrev": "Gn", "chapters": ["a"]}]', None, "GEN 1 holds no arr"),
    "JSON verse": (
        "a.json",
        '[{"abbrev": "Gn", "chapters": [[1]]}]',
        None,
        "GEN 1:1 is not a string",
    ),
    "JSON book": (
        "a.json",
        '[{"abbrev": "Zz", "chapters": []}]',
        None,
        "book 1 is not a known book",
    ),
    "JSON surrogate": (
        "a.json",
        r'[{"abbrev": "Gn", "chapters": [["\ud800"]]}]',
        None,
        "GEN 1:1 holds",
    ),
    "JSON depth": ("a.json", "[" * 100_000, None, "cannot be read as JSON"),
    # CSV
    "CSV header": (
        "a.csv",
        "book,chapter,vers,text\nGenesis,1,1,a\n",
        1,
        "it must be Book,Chapter",
    ),
    "CSV chapter": (
        "a.csv",
        "Book,Chapter,Verse,Text\nGenesis,1,1,a\nGenesis,I,2,b\n",
        3,
        "'I' is no",
    ),
    "CSV verse": (
        "a.csv",
        "Book,Chapter,Verse,Text\nGenesis,1,x,a\n",
        2,
        "'x' is not a verse number",
    ),
    "CSV book": ("a.csv", "Book,Chapter,Verse,Text\n\nGenese,1,1,a\n", 3, "unknown book 'Genese'"),
    "CSV row": ("a.csv", "Book,Chapter,Verse,Text\nGenesis,1,1,a,b\n", 2, "5 columns instead of 4"),
    "CSV cut": ("a.csv", "Book,Chapter,Verse,Text\nGenesis,1,1,a\nGenesis,1\n", 3, "2 columns"),
    "CSV quote": ("a.csv", 'Book,Chapter,Verse,Text\nGenesis,1,1,"a\nb\n', 2, "not valid CSV"),
    "CSV blank": ("a.csv", "Book,Chapter,Verse,Text\nGenesis,1,1,\n", None, "no text in any verse"),
    # vref
    "vref alone": ("vref.txt", "GEN 1:1\n", None, "1 lists of references and 0 texts"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_names_itself_its_line_and_its_reason(name: str, folder_of: FolderOf) -> None:
    file_name, content, line, reason = BROKEN[name]
    folder = folder_of({file_name: content})

    with pytest.raises(CorpusError) as caught:
        read_bible(folder)

    assert reason in caught.value.reason
    assert caught.value.line == line
    assert caught.value.path in (folder, folder / file_name)
    if line is not None:
        assert str(caught.value).startswith(f"{folder / file_name}:{line}: ")


@pytest.mark.parametrize(
    ("files", "at_fault", "line", "reason"),
    [
        ({}, "", None, "there is no such folder"),
        ({".hidden": "x", "version.toml": "x"}, "", None, "the folder holds no source file"),
        ({"BookNames.xml": "<BookNames/>"}, "", None, "only companion files"),
        ({"a.usfm": samples.USFM, "b.usx": samples.USX}, "", None, "mixes formats"),
        ({"a.usfm": samples.USFM, "notes.txt": "hello"}, "notes.txt", None, "not a known format"),
        ({"a.usfm": samples.USFM, "b.usfm": "\\id GEN\n"}, "b.usfm", None, "GEN holds no verse"),
        ({"00.usfm": "\\id FRT\n\\p Preface"}, "", None, "no text in any verse"),
        (
            {"vref.txt": samples.VREF_LIST, "a.txt": samples.VREF_TEXT + "more\n"},
            "a.txt",
            5,
            "5 lines, but vref.txt has 4",
        ),
        (
            {"vref.txt": "GEN 1:1\nGenesis 1:2\n", "a.txt": "a\nb\n"},
            "vref.txt",
            2,
            "'Genesis 1:2' is not a reference",
        ),
        (
            {"vref.txt": "GEN 1:1\n", "a.txt": "a\n", "b.txt": "b\n"},
            "",
            None,
            "1 lists of references and 2 texts",
        ),
        ({"vref.txt": "GEN 1:1\n", "a.usfm": samples.USFM}, "", None, "mixes formats"),
    ],
)
def test_a_folder_that_cannot_be_a_version(
    files: Mapping[str, str], at_fault: str, line: int | None, reason: str, folder_of: FolderOf
) -> None:
    folder = folder_of(files)

    with pytest.raises(CorpusError) as caught:
        read_bible(folder)

    assert reason in caught.value.reason
    assert caught.value.line == line
    assert caught.value.path == (folder / at_fault if at_fault else folder)


def test_an_unreadable_file() -> None:
    with tempfile.TemporaryDirectory() as folder:  # which others may enter, unlike pytest's
        version = Path(folder, "version")
        version.mkdir()
        (version / "a.usfm").write_text(samples.USFM)
        for path, mode in ((Path(folder), 0o755), (version, 0o755), (version / "a.usfm", 0)):
            path.chmod(mode)
        if os.geteuid() == 0:  # root may read everything
            os.seteuid(65_534)
        try:
            with pytest.raises(CorpusError, match="correct its permissions"):
                read_bible(version)
        finally:
            os.seteuid(os.getuid())
