"""Versions as their publishers offer them: folders and zips, with all that lies beside the text."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rag_assets.bible import archive
from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.model import BibleText, OddityKind
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.errors import CorpusError
from rag_assets.settings.model import Settings
from rag_assets_tests.bible import samples
from rag_assets_tests.bible.conftest import FolderOf
from rag_assets_tests.conftest import SHARED_CASES

LIMITS = reading_limits(Settings())
JUDE = "\\id JUD\n\\c 1\n\\p\n\\v 1 Jude one.\n"
MAT = "\\id MAT\n\\c 1\n\\p\n\\v 1 Matthew one.\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00"


def zip_of(
    files: Mapping[str, str | bytes], *, change: Callable[[zipfile.ZipInfo], object] = bool
) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            made.writestr(entry, content)
    return target.getvalue()


def skipped(bible: BibleText) -> dict[str, str]:
    return {o.reference: o.detail for o in bible.oddities if o.kind is OddityKind.SKIPPED_FILE}


def texts(bible: BibleText) -> list[tuple[str, str]]:
    return [(verse.reference, verse.text) for verse in bible.verses]


EBIBLE: dict[str, str | bytes] = {
    "66-JUDeng.usfm": JUDE,
    "41-MATeng.usfm": MAT,
    "copr.htm": "\ufeff<!DOCTYPE html>\n<html><body>Public domain</body></html>",
    "gentiumplus.css": "body {}",
    "keys.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    "signature.txt.asc": "-----BEGIN PGP SIGNED MESSAGE-----\n",
}
PARATEXT: dict[str, str | bytes] = {
    "41MATXYZ.SFM": MAT,
    "66JUDXYZ.SFM": JUDE,
    "Settings.xml": "<ScriptureText><Name>XYZ</Name></ScriptureText>",
    "BookNames.xml": "<BookNames/>",
    "BiblicalTermsXYZ.xml": "<BiblicalTermsList/>",
    "Notes_A.xml": "<CommentList/>",
    "ProjectProgress.xml": "<ProjectProgress/>",
    "ProjectUserAccess.xml": "<ProjectUserAccess/>",
    "CommentTags.xml": "<TagList/>",
    "ParatextVersionForUsers.xml": "<Versions/>",
    "custom.vrs": "# by hand\n3JN 1:14\nREV 12:17\n-MAT 17:21\n",
    "custom.sty": "\\Marker id\n\\Name id",
    "en.ldml": "<ldml/>",
    "unique.id": "",
    "autocorrect.txt": "-->",
    "figures/map.png": PNG,
}
DBL: dict[str, str | bytes] = {
    "metadata.xml": "<DBLMetadata/>",
    "license.xml": "<license/>",
    "release/styles.xml": "<stylesheet/>",
    "release/versification.vrs": "MAT 1:25 2:23\n",
    "release/USX_1/JHN.usx": samples.USX,
    "source/source.zip": zip_of({"JHN.SFM": samples.USFM}),
    "cover.jpg": b"\xff\xd8\xff\xe0",
}
DOWNLOADS = {"eBible": EBIBLE, "Paratext": PARATEXT, "DBL": DBL}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_download_is_read_as_a_folder_and_as_a_zip(
    name: str, folder_of: FolderOf, tmp_path: Path
) -> None:
    files = DOWNLOADS[name]
    loose = read_bible(folder_of(files))
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "version.zip").write_bytes(zip_of({f"top/{name}": files[name] for name in files}))
    read = read_version(packed, LIMITS)

    assert read.bible.verses == loose.verses
    assert loose.verses
    books = [name for name in files if name.lower().endswith((".usfm", ".sfm", ".usx"))]
    assert set(skipped(loose)) == set(files) - set(books)
    assert set(skipped(read.bible)) == {
        f"version.zip/top/{name}" for name in files if name not in books
    }
    assert read.source_hash == folder_hash(packed, most_bytes=LIMITS.most_bytes)
    assert read_bible(packed / "version.zip").verses == loose.verses


def test_a_zip_is_added_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "eng_usfm.zip"
    source.write_bytes(zip_of(EBIBLE))
    declaration = VersionDeclaration("E", "en")

    added = add_version(tmp_path / "bibles", "EN_ZIP", source, declaration, LIMITS)

    assert (added.verses, added.format) == (2, "usfm")
    assert sorted(path.name for path in added.folder.iterdir()) == ["eng_usfm.zip", "version.toml"]
    assert texts(read_version(added.folder, LIMITS).bible) == [
        ("MAT 1:1", "Matthew one."),
        ("JUD 1:1", "Jude one."),
    ]


def test_several_zips_make_one_version_and_one_beside_a_text_is_not_opened(
    folder_of: FolderOf,
) -> None:
    both = folder_of({"nt.zip": zip_of({"a.usfm": MAT}), "rest.zip": zip_of({"b.usfm": JUDE})})
    assert [verse.book for verse in read_bible(both).verses] == ["MAT", "JUD"]
    (both / "loose.usfm").write_text(MAT)
    bible = read_bible(both)
    assert texts(bible) == [("MAT 1:1", "Matthew one.")]
    assert skipped(bible) == {
        "nt.zip": "a zip that is not opened",
        "rest.zip": "a zip that is not opened",
    }


def test_a_declaration_within_a_zip_allows_nothing(folder_of: FolderOf) -> None:
    folder = folder_of({"a.zip": zip_of({"a.usfm": JUDE, "version.toml": "ai_allowed = true"})})
    assert skipped(read_bible(folder)) == {"a.zip/version.toml": "a companion file"}


def test_a_zip_with_backslashes_in_its_names_is_read(folder_of: FolderOf) -> None:
    bible = read_bible(folder_of({"a.zip": zip_of({"x\\a.usfm": JUDE, "x\\keys.asc": "k"})}))
    assert texts(bible) == [("JUD 1:1", "Jude one.")]
    assert skipped(bible) == {"a.zip/x/keys.asc": "a companion file"}


def test_dot_files_of_a_zip_are_left_out(folder_of: FolderOf) -> None:
    inner = {"a.usfm": JUDE, "__MACOSX/._a.usfm": b"\x00\x05", ".DS_Store": b"\x00", "x/.git/y": ""}
    assert skipped(read_bible(folder_of({"a.zip": zip_of(inner)}))) == {}


def link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = 0o120777 << 16


def encrypted(data: bytes) -> bytes:
    """The archive with the flag of an encrypted file, in both of its headers."""
    central = data.index(b"PK\x01\x02")
    changed = bytearray(data)
    changed[6] |= 1
    changed[central + 8] |= 1
    return bytes(changed)


def stored_as(method: int) -> bytes:
    data = bytearray(zip_of({"a.usfm": JUDE}))
    central = data.index(b"PK\x01\x02")
    data[8] = data[central + 10] = method
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zip_of({"../a.usfm": JUDE}), "holds '../a.usfm', a name that leads out of it"),
        (zip_of({"x/../../a.usfm": JUDE}), "a name that leads out of it"),
        (zip_of({"/etc/a.usfm": JUDE}), "a name that leads out of it"),
        (zip_of({"C:/a.usfm": JUDE}), "a name that leads out of it"),
        (zip_of({"x\\..\\a.usfm": JUDE}), "a name that leads out of it"),
        (zip_of({"a.usfm": "/etc/passwd"}, change=link), "a.usfm is a link"),
        (encrypted(zip_of({"a.usfm": JUDE})), "a.usfm is encrypted"),
        (stored_as(99), "is compressed in a way that is not read"),
        (zip_of({"a.usfm": JUDE * 50})[:-40], "is a damaged zip file"),
        (zip_of({"a.usfm": JUDE * 50}).replace(b"a.usfm", b"b.usfm", 1), "is a damaged zip file"),
        (zip_of({"a.usfm": b"\x00" * (3 << 20)}), "hold more than 2 MB: .*RAG_BIBLE_MAX_MB"),
        (zip_of({f"{n}.usfm": b"x" * (1 << 19) for n in range(5)}), "hold more than 2 MB"),
        (zip_of({}), "is a damaged zip file|not a known format"),
    ],
)
def test_a_zip_that_must_not_be_opened_is_refused(
    data: bytes, reason: str, folder_of: FolderOf
) -> None:
    folder = folder_of({"a.zip": data})
    with pytest.raises(CorpusError, match=reason) as caught:
        read_version(folder, replace(LIMITS, most_bytes=2 << 20))
    assert caught.value.path == folder / "a.zip"


def test_the_number_of_files_in_a_zip_is_bounded(folder_of: FolderOf) -> None:
    many = {f"{number}.css": "" for number in range(archive.MOST_ENTRIES)}
    assert texts(
        read_bible(folder_of({"a.zip": zip_of({"a.usfm": JUDE} | dict(list(many.items())[1:]))}))
    )
    with pytest.raises(CorpusError, match="holds 5,001 files, more than 5,000"):
        read_bible(folder_of({"a.zip": zip_of({"a.usfm": JUDE} | many)}))


def test_a_zip_that_unpacks_to_much_ends_nothing_but_the_child(folder_of: FolderOf) -> None:
    bomb = zip_of({f"{n}.usfm": b"\\id GEN" + b" " * (60 << 20) for n in range(3)})
    assert len(bomb) < 1 << 20
    with pytest.raises(CorpusError, match=r"RAG_BIBLE_MAX_MB|RAG_BIBLE_MEMORY_MB"):
        read_version(folder_of({"a.zip": bomb}), LIMITS)


def test_a_broken_file_in_a_zip_is_named_with_its_line(folder_of: FolderOf) -> None:
    folder = folder_of({"a.zip": zip_of({"x/b.usfm": "\\id GEN\n\\c one\n\\v 1 a"})})
    with pytest.raises(CorpusError) as caught:
        read_version(folder, LIMITS)
    assert str(caught.value).startswith(f"{folder}/a.zip/x/b.usfm:2: 'one' is not a chapter number")


def test_all_files_that_cannot_be_read_are_named_together(folder_of: FolderOf) -> None:
    folder = folder_of(
        {
            "a.usfm": JUDE,
            "b.usfm": "\\id GEN\n\\c one\n\\v 1 a",
            "c.usfm": "\\id EXO\n\\c one\n\\v 1 a",
            "d.usfm": "<html>404</html>",
            "e.txt": "hello",
            "f.usfm": "",
        }
    )
    with pytest.raises(CorpusError) as caught:
        read_version(folder, LIMITS)
    assert caught.value.path == folder
    reason = caught.value.reason
    assert reason.startswith("5 files cannot be read: ")
    assert "b.usfm:2, c.usfm:2: 'one' is not a chapter number" in reason
    assert "d.usfm, e.txt: not a known format" in reason
    assert "f.usfm:1: the file is empty" in reason


def test_so_are_zips(folder_of: FolderOf) -> None:
    damaged = zip_of({"a.usfm": JUDE * 50})[:-40]
    folder = folder_of({"a.zip": damaged, "b.zip": zip_of({"../a": JUDE}), "c.zip": damaged})
    with pytest.raises(CorpusError) as caught:
        read_version(folder, LIMITS)
    assert "3 files cannot be read: a.zip, c.zip: is a damaged zip" in caught.value.reason
    assert "; b.zip: holds '../a', a name that leads out" in caught.value.reason


def test_so_are_files_that_must_not_be_opened(folder_of: FolderOf, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(JUDE)
    folder = folder_of({"a.usfm": JUDE})
    (folder / "b.usfm").symlink_to(tmp_path / "outside")
    (folder / "c.usfm").symlink_to(tmp_path / "outside")
    (folder / "d.usfm").symlink_to("d.usfm")
    with pytest.raises(CorpusError) as caught:
        read_version(folder, LIMITS)
    assert "3 files cannot be read: " in caught.value.reason
    assert "b.usfm, c.usfm: a link out of the folder" in caught.value.reason
    assert "d.usfm: not a regular file" in caught.value.reason
    for name in "bcd":
        (folder / f"{name}.usfm").unlink()
        (folder / f"{name}.usfm").hardlink_to(tmp_path / "outside")
    with pytest.raises(
        CorpusError, match=r"3 files cannot be read: b\.usfm, c\.usfm, d\.usfm: has 4"
    ):
        read_version(folder, LIMITS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            '<?xml version="1.0"?><bible translation="X"><testament name="Old"><book number="1">'
            '<chapter number="1"><verse number="1">a</verse></chapter></book></testament></bible>',
            "Beblia XML is not read: convert it with BibleMultiConverter",
        ),
        ("<bible>\n<b n='Genesis'><c n='1'><v n='1'>a</v></c></b></bible>", "OpenSong XML is not"),
        (
            '{"translation": "X", "books": [{"name": "Genesis", "chapters": []}]}',
            "the JSON of scrollmapper or its kind is not read: use that project's CSV",
        ),
        ('{"resultset": {"row": []}}', "the JSON of scrollmapper or its kind is not read"),
        ("GEN 1:1 In the beginning\nGEN 1:2 And\n", "verse per line is not read: download"),
        ("<verseFile><v b='GEN' c='1' v='1'>a</v></verseFile>", "verse per line is not read"),
        ("SQLite format 3\x00", "an SQLite database .* is not read: convert it"),
        ("<XML_BIBLE/>", "Haggai XML is not read: convert it with BibleMultiConverter"),
    ],
)
def test_a_known_format_that_is_not_read_is_named_with_a_remedy(
    content: str, reason: str, folder_of: FolderOf
) -> None:
    for files in ({"a": content}, {"a": content, "b.usfm": JUDE}):
        with pytest.raises(CorpusError, match=reason):
            read_bible(folder_of(files))


@pytest.mark.parametrize(
    "name",
    ["Settings.xml", "copr.htm", "custom.vrs", "gentiumplus.css", "metadata.json"],
)
def test_the_shared_companions(name: str) -> None:
    folder = SHARED_CASES / "bible" / f"companion_{name}"
    if not folder.exists():
        pytest.skip("the shared cases are not on this machine")
    bible = read_bible(folder)
    assert texts(bible) == [("JUD 1:1", "Jude one.")]
    assert skipped(bible) == {name: "a companion file"}


def test_the_shared_usfx_case() -> None:
    folder = SHARED_CASES / "bible" / "usfx"
    if not folder.exists():
        pytest.skip("the shared cases are not on this machine")
    assert texts(read_bible(folder)) == [("GEN 1:1", "起初神創造天地。")]
