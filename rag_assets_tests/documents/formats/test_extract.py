"""Each format in, its text, headings and title out; each unreadable file told by its kind."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from rag_assets.documents.formats.extract import read_document, recognise
from rag_assets.documents.formats.ocr import language_folder
from rag_assets.documents.model import ChunkedDocument
from rag_assets.documents.sandbox import Extractor, extraction_limits
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    NoTextError,
    UnsupportedDocumentError,
)
from rag_assets.settings.model import Settings
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS, extract, limits

SAMPLES = Path(__file__).parents[3] / "samples" / "documents"
LONG = "The river runs down to the sea, and nobody has ever seen it turn. " * 30
BLOCKS: list[office.Block] = [
    (0, "Before any heading."),
    (1, "First"),
    (0, f"Of the first: {LONG}"),
    (2, "Deeper"),
    (0, f"Deep down. {LONG}"),
    (1, "Second"),
    (0, "The end, with a # sign and a *star*."),
]
OFFICE = "application/vnd.openxmlformats-officedocument"
XHTML = "xmlns='http://www.w3.org/1999/xhtml'"
SMALL = limits(chunk_tokens=256, overlap_tokens=16)


def read(content: bytes, name: str = "file") -> ChunkedDocument:
    return read_document(content, name, SMALL)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (office.docx(BLOCKS, "A title"), f"{OFFICE}.wordprocessingml.document"),
        (office.odt(BLOCKS, "A title"), "application/vnd.oasis.opendocument.text"),
    ],
    ids=["docx", "odt"],
)
def test_an_office_text_keeps_its_headings(content: bytes, media_type: str) -> None:
    document = read(content)
    assert (document.media_type, document.title) == (media_type, "A title")
    assert document.language == "en"
    paths = list(dict.fromkeys(chunk.heading for chunk in document.chunks))
    assert paths == [(), ("First",), ("First", "Deeper"), ("Second",)]
    assert "The end, with a # sign and a *star*." in document.chunks[-1].text


def test_a_presentation() -> None:
    document = read(office.pptx([("Opening", LONG), ("Closing", "Thank you.")]))
    assert document.media_type == f"{OFFICE}.presentationml.presentation"
    assert document.chunks[0].heading == ("Opening",)
    assert document.chunks[-1].heading == ("Closing",)
    assert document.chunks[-1].text == "Closing\n\nThank you."
    assert document.pages == 2
    assert (document.chunks[0].page, document.chunks[-1].page) == (1, 2)


def test_a_workbook() -> None:
    rows = [["name", "price"], *([f"bread {line}", f"{line}.50"] for line in range(120))]
    document = read(office.xlsx({"Prices": rows, "Shops": [["town"], ["Vila | Nova"]]}))
    assert document.media_type == f"{OFFICE}.spreadsheetml.sheet"
    text = "\n".join(chunk.text for chunk in document.chunks)
    assert all(f"| bread {line} | {line}.50 |" in text for line in range(120))
    assert document.chunks[0].heading == ("Prices",)
    assert document.chunks[-1].heading == ("Shops",)


def test_a_book() -> None:
    chapters = [("Chapter I", LONG), ("Chapter II", "Then it was day, and everybody woke up.")]
    document = read(office.epub(chapters, "The Book"))
    assert document.media_type == "application/epub+zip"
    assert document.title == "The Book"
    assert document.chunks[-1].heading == ("Chapter II",)


@pytest.mark.parametrize("html", [None, "<p>Olá <b>Rui</b></p>"], ids=["text", "both"])
def test_a_message(html: str | None) -> None:
    content = office.eml("Reunião de março", "Olá Rui,\n\naté amanhã às dez.\n", html)
    document = read(content, "message.eml")
    assert document.media_type == "message/rfc822"
    assert document.title == "Reunião de março"
    (chunk,) = document.chunks
    assert chunk.text.startswith("Reunião de março\n\nFrom: Ana Souza <ana@example.org>\nTo: ")
    assert chunk.text.endswith("Olá Rui,\n\naté amanhã às dez.")


def test_a_message_in_html_alone() -> None:
    content = (
        b"From: a@example.org\r\nTo: b@example.org\r\nSubject: Oi\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/html; charset=latin-1\r\n\r\n<p>Ol\xe1</p><div>at\xe9</div>\r\n"
    )
    document = read(content, "no-extension")
    assert document.media_type == "message/rfc822"
    assert document.chunks[0].text.endswith("Olá\n\naté")


def test_pages_of_a_pdf() -> None:
    document = read(office.pdf([f"Page {page}. {LONG[:400]}" for page in range(1, 13)]))
    assert document.media_type == "application/pdf"
    assert document.pages == 12
    for chunk in document.chunks:
        assert chunk.page is not None
        assert f"Page {chunk.page}." in chunk.text


def test_rich_text() -> None:
    document = read(b"{\\rtf1\\ansi Hello {\\b world}.\\par Second par.}")
    assert document.chunks[0].text == "Hello world.\n\nSecond par."


@pytest.mark.parametrize(
    ("name", "title", "language", "headings"),
    [
        ("lending-library.md", "Handbook of the Tool Lending Library", "en", 3),
        ("horta-comunitaria.md", "Guia da horta comunitária", "pt", 4),
        ("bicycle-workshop.html", "The open bicycle workshop", "en", 1),
    ],
)
def test_the_samples(name: str, title: str, language: str, headings: int) -> None:
    document = read_document(
        (SAMPLES / name).read_bytes(), name, limits(chunk_tokens=200, overlap_tokens=20)
    )
    assert (document.title, document.language) == (title, language)
    assert len({chunk.heading for chunk in document.chunks}) >= headings
    assert all(chunk.heading[0] == title for chunk in document.chunks)


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [
        (b"# a", "a.md", "text/markdown"),
        (b"# a", "a.MD", "text/markdown"),
        (b"= a", "a.adoc", "text/asciidoc"),
        (b"a", "a.txt", "text/plain"),
        (b"a", "a", "text/plain"),
        (b"a,b", "a.csv", "text/csv"),
        (b"<!DOCTYPE html><p>x", "a.pdf", "text/html"),
        (b"\xef\xbb\xbf<html><p>x", "a.md", "text/html"),
        ("<html><p>x".encode("utf-16"), "a.txt", "text/html"),
        (b"---\ntitle: x\n---\n<!doctype html><p>", "a.txt", "text/html"),
        (f"<?xml version='1.0'?><!-- c --><html {XHTML}/>".encode(), "a", "application/xhtml+xml"),
        (b"<p>fragment</p>", "a.html", "text/html"),
        (b"<p>fragment</p>", "a.md", "text/markdown"),
        (b"Subject: x\nFrom: y\nDate: z\n\nbody", "a.txt", "message/rfc822"),
        (b"Subject: x\n\nbody", "a.eml", "message/rfc822"),
        (b"Subject: x\nTitle: y\n\nbody", "a.txt", "text/plain"),
        (office.pdf(["x"]), "a.md", "application/pdf"),
        (office.docx([(0, "x")]), "a.zip", f"{OFFICE}.wordprocessingml.document"),
        (b"BM starts a sentence", "a.txt", "text/plain"),
    ],
)
def test_a_document_is_recognised_by_content_and_texts_by_name(
    content: bytes, name: str, media_type: str
) -> None:
    assert recognise(content, name) == media_type


def locked_zip() -> bytes:
    """A ZIP whose members say that they are encrypted."""
    content = bytearray(office.docx([(0, "x")]))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + flags] |= 1
            start = content.find(signature, start + 4)
    return bytes(content)


def locked_odt() -> bytes:
    manifest = '<manifest:encryption-data manifest:checksum="x"/>'
    return office.zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": manifest,
            "content.xml": b"\x93\x01" * 50,
        },
        stored_first=True,
    )


def broken_member(content: bytes, name: bytes) -> bytes:
    """The archive with one member's first bytes overwritten."""
    start = content.index(name) + len(name)
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


def broken_odt() -> bytes:
    return broken_member(office.odt(BLOCKS), b"META-INF/manifest.xml")


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
UNREADABLE: dict[str, tuple[bytes, type[DocumentError], str]] = {
    "nothing": (b"", EmptyDocumentError, "there is nothing in it"),
    "blanks": (b" \t\r\n\n", EmptyDocumentError, "there is nothing in it"),
    "no-break blanks": ("\u00a0\u2003\n".encode(), EmptyDocumentError, "there is no text in it"),
    "a byte-order mark": (b"\xef\xbb\xbf\n", EmptyDocumentError, "there is nothing in it"),
    "NULs": (bytes(5000), EmptyDocumentError, "there is nothing in it"),
    "an empty page": (b"<html><script>x</script>", EmptyDocumentError, "there is no text in it"),
    "front matter only": (b"---\ntitle: x\n---\n", EmptyDocumentError, "there is no text in it"),
    "a docx without text": (office.docx([]), EmptyDocumentError, "there is no text in it"),
    "a PDF without text": (office.pdf(["", ""]), NoTextError, "there is no text on its 2 pages"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(90), NoTextError, "it is a picture: install Tess"),
    "a locked ZIP": (locked_zip(), EncryptedDocumentError, "remove the password"),
    "a locked odt": (locked_odt(), EncryptedDocumentError, "remove the password"),
    "a locked docx": (
        OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600),
        EncryptedDocumentError,
        "remove the password",
    ),
    "a locked PDF": (
        office.pdf(["x"]).replace(b"/Root", b"/Encrypt 3 0 R /Root"),
        EncryptedDocumentError,
        "remove the password",
    ),
    "a cut PDF": (office.pdf(["x" * 500])[:300], CorruptDocumentError, "cut off or damaged"),
    "a PDF in name": (b"%PDF-1.7\n" + bytes(range(256)) * 9, CorruptDocumentError, "damaged"),
    "a cut docx": (office.docx(BLOCKS)[:900], CorruptDocumentError, "cut off or damaged"),
    "an odt with a broken list of its parts": (
        broken_odt(),
        CorruptDocumentError,
        "cut off or damaged",
    ),
    "a pptx with a broken slide": (
        broken_member(office.pptx([("a", LONG)]), b"ppt/slides/slide1.xml"),
        CorruptDocumentError,
        "cut off or damaged",
    ),
    "a docx with broken XML": (
        office.zipped({"word/document.xml": "<w:document><w:body>"}),
        DocumentError,
        "",
    ),
    "an archive": (office.zipped({"a.txt": "x"}), UnsupportedDocumentError, "not a document"),
    "an OLE file": (OLE + bytes(2000), UnsupportedDocumentError, "its format is not read"),
    "a program": (b"\x7fELF" + bytes(range(256)) * 8, UnsupportedDocumentError, "not read"),
    "a gzip": (b"\x1f\x8b\x08\0" + bytes(range(256)) * 8, UnsupportedDocumentError, "not read"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_says_why(what: str) -> None:
    content, kind, reason = UNREADABLE[what]
    with pytest.raises(kind) as caught:
        read_document(content, "inbox/file.md", LIMITS)
    assert type(caught.value) is kind or kind is DocumentError
    assert caught.value.path == "inbox/file.md"
    assert reason in caught.value.reason
    assert str(caught.value).startswith("inbox/file.md: ")


def test_a_document_of_too_many_chunks_names_the_setting() -> None:
    text = "\n\n".join(f"# Part {part}\n\n{LONG}" for part in range(30)).encode()
    assert len(read_document(text, "a.md", limits(max_chunks=30)).chunks) == 30
    with pytest.raises(DocumentTooLargeError, match=r"more than 29 chunks.*MAX_CHUNKS"):
        read_document(text, "a.md", limits(max_chunks=29))


def test_an_archive_that_would_expand_beyond_its_memory_is_not_opened() -> None:
    content = office.zipped({"word/document.xml": bytes(300 << 20)}, level=9)
    assert len(content) < 1 << 20
    with pytest.raises(DocumentTooLargeError, match=r"expands to 315 MB.*RAG_DOCUMENT_MEMORY_MB"):
        read_document(content, "bomb.docx", LIMITS)


def test_the_limits_are_those_of_the_settings() -> None:
    default = limits(memory_bytes=300 << 20, max_chunks=20_000)
    assert extraction_limits(Settings()) == default
    changed = Settings(rag_document_memory_mb=200, rag_max_chunk_size=99, rag_chunk_overlap=9)
    assert extraction_limits(changed) == limits(
        memory_bytes=200 << 20, max_chunks=20_000, chunk_tokens=99, overlap_tokens=9
    )


def test_ocr_has_more_memory() -> None:
    assert extraction_limits(Settings(rag_documents_ocr=True)).memory_bytes == 1200 << 20


@pytest.mark.slow
@pytest.mark.skipif(language_folder() is None, reason="Tesseract is not installed here")
def test_pages_that_are_pictures_are_read_where_tesseract_is(tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(
        office.scanned_pdf(["The first page tells of rivers.", "The second of bridges."])
    )
    with Extractor(extraction_limits(Settings(rag_documents_ocr=True, rag_chunk_overlap=0))) as one:
        read = extract(one, scan)
    assert read.pages == 2
    (chunk,) = read.chunks
    assert chunk.page == 1
    assert "rivers" in chunk.text
    assert "bridges" in chunk.text
    with pytest.raises(NoTextError, match="RAG_DOCUMENTS_OCR=true"):
        read_document(scan.read_bytes(), scan.name, LIMITS)


@pytest.mark.skipif(language_folder() is not None, reason="Tesseract is installed here")
def test_ocr_without_tesseract_says_what_is_missing() -> None:
    with pytest.raises(NoTextError, match="no language of Tesseract is installed"):
        read_document(office.pdf([""]), "scan.pdf", limits(ocr=True))


def test_the_same_text_in_two_formats_is_one_text() -> None:
    text = "# ssh\n\n> Cliente seguro.\n\n- Conecte-se:\n\n`ssh {{usuário}}@{{máquina}}`\n".encode()
    one, other = (read_document(text, name, LIMITS) for name in ("a.md", "a.txt"))
    assert [chunk.text for chunk in one.chunks] == [chunk.text for chunk in other.chunks]


def test_the_title_is_the_first_heading_else_the_name() -> None:
    assert read(b"text\n\n## Second\n\n# First **bold**\n", "a/b c.md").title == "First bold"
    assert read(b"text", "a/b c.md").title == "b c"


@pytest.mark.parametrize("blanks", [" " * 8000, "\n" * 8000, "<!-- -->\n " * 800])
def test_any_number_of_blanks_is_recognised_in_time(blanks: str) -> None:
    for text in (blanks + "x", f"<?xml version='1.0'?>{blanks}x", f"{blanks}<p>"):
        for _ in range(300):
            assert recognise(text.encode(), "a").startswith(("text/plain", "application/xml"))


@pytest.mark.parametrize(("title", "used"), [("1984", "1984"), ("300", "300"), ("2024-1", "a")])
def test_a_number_may_be_a_title(title: str, used: str) -> None:
    page = f"<html><head><title>{title}</title></head><body><p>Words.</p></body></html>"
    assert read(page.encode(), "a.html").title == used


def test_pictures_do_not_count_against_the_limit_of_an_archive() -> None:
    with zipfile.ZipFile(io.BytesIO(office.xlsx({"A": [["words"]]}))) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    content = office.zipped({**members, "xl/media/film.mp4": bytes(300 << 20)}, level=1)
    assert "words" in read_document(content, "a.xlsx", LIMITS).chunks[0].text
