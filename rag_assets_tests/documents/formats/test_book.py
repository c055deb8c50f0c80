"""EPUB: every chapter of the spine in its order, and what is not there is said."""

from __future__ import annotations

import io
import zipfile

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets.errors import CorruptDocumentError, EncryptedDocumentError
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS

CONTAINER = '<container><rootfiles><rootfile full-path="Books/a b.opf"/></rootfiles></container>'


def book(items: dict[str, str], spine: list[str], files: dict[str, str], **more: str) -> bytes:
    """A book: its list of files by id, its order, its files below ``Books``."""
    manifest = "".join(
        f'<item id="{key}" href="{href}" media-type="application/xhtml+xml"/>'
        for key, href in items.items()
    )
    order = "".join(f'<itemref idref="{key}"/>' for key in spine)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>A book</dc:title>'
        f"</metadata><manifest>{manifest}</manifest><spine>{order}</spine></package>"
    )
    members: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "Books/a b.opf": package,
    }
    members |= {
        f"Books/{path}": f"<html><body>{text}</body></html>" for path, text in files.items()
    }
    return office.zipped({**members, **more}, stored_first=True)


def damaged(content: bytes, member: bytes) -> bytes:
    """The archive with some bytes of this member's content changed."""
    start = content.index(member) + len(member)
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


def read(content: bytes) -> ChunkedDocument:
    return read_document(content, "book.epub", LIMITS)


def text(content: bytes) -> str:
    return "\n\n".join(chunk.text for chunk in read(content).chunks)


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("b%20c.xhtml", "b c.xhtml"),
        ("b c.xhtml", "b c.xhtml"),
        ("b%20c.xhtml", "b%20c.xhtml"),
        ("caf%C3%A9.xhtml", "café.xhtml"),
        ("cafe\u0301.xhtml", "café.xhtml"),
        ("Text/B.xhtml", "text/b.xhtml"),
        ("../Books/./text/b.xhtml#start", "text/b.xhtml"),
    ],
)
def test_a_chapter_is_found_however_its_name_is_written(href: str, path: str) -> None:
    content = book(
        {"a": "a.xhtml", "b": href}, ["b", "a"], {"a.xhtml": "<p>Second.", path: "<p>First."}
    )
    assert text(content) == "First.\n\nSecond."
    assert read(content).remarks == ()


def test_a_chapter_that_is_missing_is_reported_and_the_others_are_read() -> None:
    content = book({"a": "a.xhtml", "b": "b.xhtml"}, ["a", "b", "c"], {"a.xhtml": "<p>First."})
    (remark,) = read(content).remarks
    assert (remark.kind, remark.what) == ("lost", "chapter that is not in the archive")
    assert (remark.count, remark.examples) == (2, ("b.xhtml", "c"))
    assert text(content) == "First."


def test_a_book_without_any_of_its_chapters_is_refused() -> None:
    with pytest.raises(CorruptDocumentError, match="none of its chapters is in the archive"):
        read(book({"a": "a.xhtml"}, ["a"], {}))
    with pytest.raises(CorruptDocumentError, match="has no list of chapters"):
        read(office.zipped({"mimetype": "application/epub+zip"}, stored_first=True))


def test_notes_marks_navigation_and_pages_outside_the_order() -> None:
    content = book(
        {"n": "n.xhtml", "a": "a.xhtml", "x": "x.xhtml"},
        ["n", "a"],
        {
            "n.xhtml": "<nav epub:type='toc'><a href='a.xhtml'>One</a></nav><p>Cover.",
            "a.xhtml": "<h1>One</h1><p>chapter two<a epub:type='noteref' href='#n'>1</a>."
            "<aside epub:type='footnote'><p>A note.</p></aside><p><![CDATA[a < b]]></p>",
            "x.xhtml": "<p>Not in the spine.",
        },
    )
    assert text(content) == "Cover.\n\nOne\n\nchapter two.\n\nA note.\n\na < b"
    assert [(one.what, one.examples) for one in read(content).remarks] == [
        ("navigation", ("One",)),
        ("footnote mark", ("1",)),
        ("page outside the order of reading", ("x.xhtml",)),
    ]


def test_a_book_without_an_order_is_read_in_that_of_its_files() -> None:
    content = book({"a": "a.xhtml", "b": "b.xhtml"}, [], {"a.xhtml": "<p>A.", "b.xhtml": "<p>B."})
    assert text(content) == "A.\n\nB."
    assert [one.kind for one in read(content).remarks] == ["repaired"]


def test_encrypted_chapters_are_refused_and_encrypted_fonts_are_not() -> None:
    def locked(path: str) -> bytes:
        reference = f'<encryption><CipherReference URI="{path}"/></encryption>'
        more = {"META-INF/encryption.xml": reference}
        return book({"a": "a.xhtml"}, ["a"], {"a.xhtml": "<p>A."}, **more)

    assert text(locked("Books/font.otf")) == "A."
    with pytest.raises(EncryptedDocumentError, match="remove the copy protection"):
        read(locked("Books/a.xhtml"))


def test_a_chapter_without_a_suffix_that_cannot_be_unpacked_is_a_fault_of_the_book() -> None:
    content = book({"a": "one"}, ["a"], {"one": "Words. " * 50})
    with pytest.raises(CorruptDocumentError, match="its part Books/one is cut off"):
        read(damaged(content, b"Books/one"))


def test_a_drawing_in_the_order_is_read_and_no_chapter_twice() -> None:
    content = book({"a": "a.xhtml", "b": "b.svg"}, ["a", "b", "a"], {"a.xhtml": "<p>A."})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    package = bytes(members["Books/a b.opf"]).decode()
    members["Books/a b.opf"] = package.replace(
        'b.svg" media-type="application/xhtml+xml', 'b.svg" media-type="image/svg+xml'
    )
    members["Books/b.svg"] = "<svg xmlns='http://www.w3.org/2000/svg'><text>Map.</text></svg>"
    content = office.zipped(members, stored_first=True)
    assert text(content) == "A.\n\nMap."
    (remark,) = read(content).remarks
    assert remark.what == "chapter that stands in the order of reading again"
