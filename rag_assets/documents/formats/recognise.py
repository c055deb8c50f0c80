"""Recognises the kind of document by its bytes; the name only distinguishes kinds of text."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import PurePosixPath

from rag_assets.documents.formats.front_matter import split_front_matter
from rag_assets.documents.formats.text import decode_beginning, is_binary
from rag_assets.errors import (
    CorruptDocumentError,
    EmptyDocumentError,
    EncryptedDocumentError,
    UnsupportedDocumentError,
)

PDF = "application/pdf"
HTML = "text/html"
XHTML = "application/xhtml+xml"
MAIL = "message/rfc822"
MAILBOX = "application/mbox"
PLAIN = "text/plain"
MARKDOWN = "text/markdown"
ASCIIDOC = "text/asciidoc"
XML = "application/xml"
SVG = "image/svg+xml"
NOTEBOOK = "application/x-ipynb+json"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
EPUB = "application/epub+zip"
ODS = "application/vnd.oasis.opendocument.spreadsheet"

_SIGNATURES = (
    (b"{\\rtf", "application/rtf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"BM", "image/bmp"),
)
_MEMBERS = (  # of a ZIP archive: whose content type it is
    ("word/document.xml", DOCX),
    ("ppt/presentation.xml", PPTX),
    ("xl/workbook.xml", XLSX),
)
_DECLARED = frozenset(  # in the member `mimetype` of a ZIP archive
    {
        EPUB,
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.presentation",
        ODS,
    }
)
_STREAMS = (  # of an OLE file, in UTF-16: whose content type it is
    ("WordDocument", "application/msword"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("Workbook", "application/vnd.ms-excel"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
)
_BY_NAME = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mdown": MARKDOWN,
    ".mdx": MARKDOWN,
    ".adoc": ASCIIDOC,
    ".asciidoc": ASCIIDOC,
    ".asc": ASCIIDOC,
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".rst": "text/x-rst",
    ".json": "application/json",
    ".xml": XML,
    ".svg": SVG,
    ".ipynb": NOTEBOOK,
}
TEXTS = frozenset({"application/json", XML, SVG, NOTEBOOK})
"""Read as text though their types do not begin with ``text/``."""
_PROLOG = (("<?xml", "?>"), ("<!--", "-->"), ("<!doctype svg", ">"))
"""What may stand before a page's or a drawing's first element: how it begins and ends."""
_HTML = re.compile(r"<!doctype\s+html|<html[\s>]|<(?:head|body)[\s>]", re.IGNORECASE)
_XML = re.compile(r"<(?:\w+:)?(\w+)")
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]")
_HEADERS = (
    "received return-path message-id mime-version from to subject date delivered-to content-type "
    "dkim-signature x-mailer reply-to cc"
)
_MAIL_HEADERS = frozenset(_HEADERS.split())
DAMAGED = (*(zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError),)
"""What zipfile and zlib raise of an archive that is not whole."""
_SUPPORTED = (
    "PDF, HTML, Markdown, AsciiDoc, text, Word, OpenDocument, PowerPoint, Excel, RTF, EPUB, "
    "e-mail, mbox and notebooks are"
)


def recognise(content: bytes, name: str) -> str:
    """The media type, by content; the name only decides between kinds of text.

    :raises EmptyDocumentError: there is nothing in it.
    :raises EncryptedDocumentError: an office file behind a password.
    :raises CorruptDocumentError: a ZIP archive that is cut off or damaged.
    :raises UnsupportedDocumentError: a format that is not read.
    """
    if not content.strip(b"\xef\xbb\xbf\xfe\xff\0 \t\r\n\v\f"):
        reason = "there is nothing in it: put its content there, or remove the file"
        raise EmptyDocumentError(name, reason)
    if b"%PDF-" in content[:1024]:
        return PDF
    for signature, media_type in _SIGNATURES:
        if content.startswith(signature) and (len(signature) > 2 or is_binary(content)):
            return media_type
    if content.startswith(b"PK\x03\x04"):
        return _of_archive(content, name)
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _of_ole(content, name)
    if is_binary(content):
        raise UnsupportedDocumentError(
            name, f"its format is not read ({_SUPPORTED}): convert it, or remove the file"
        )
    return _of_text(content, name)


def _of_archive(content: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = set(archive.namelist())
            locked = any(member.flag_bits & 1 for member in archive.infolist())
            declared = _member(archive, "mimetype", 200)
            manifest = _member(archive, "META-INF/manifest.xml", 1_000_000)
    except DAMAGED as error:
        raise CorruptDocumentError(
            name, f"its archive is cut off or damaged ({error}): fetch the file again"
        ) from error
    if locked or b":encryption-data" in manifest:
        raise EncryptedDocumentError(name, "it opens with a password only: remove the password")
    if (kind := declared.decode("ascii", "replace").strip()) in _DECLARED:
        return kind
    for member, media_type in _MEMBERS:
        if member in members:
            return media_type
    raise UnsupportedDocumentError(
        name, "a ZIP archive that is not a document: unpack it, and put its files into the inbox"
    )


def _member(archive: zipfile.ZipFile, member: str, most: int) -> bytes:
    """The beginning of a member; empty where there is none, or it cannot be read."""
    if member not in archive.namelist() or archive.getinfo(member).flag_bits & 1:
        return b""
    with archive.open(member) as stream:
        return stream.read(most)


def _of_ole(content: bytes, name: str) -> str:
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise EncryptedDocumentError(name, "it opens with a password only: remove the password")
    for stream, media_type in _STREAMS:
        if stream.encode("utf-16-le") in content:
            return media_type
    raise UnsupportedDocumentError(
        name, f"its format is not read ({_SUPPORTED}): convert it, or remove the file"
    )


def _of_text(content: bytes, name: str) -> str:
    beginning = decode_beginning(content, 8192)
    _, start = split_front_matter(beginning)
    if _HTML.match(_after_prolog(beginning[start:])):
        return XHTML if "http://www.w3.org/1999/xhtml" in beginning[start:] else HTML
    suffix = PurePosixPath(name).suffix.lower()
    postmark, _, first_message = beginning.lstrip("\n").partition("\n")
    if postmark.startswith("From ") and _begins_as_mail(first_message, wanted=2):
        return MAILBOX
    if _begins_as_mail(beginning, wanted=1 if suffix == ".eml" else 3):
        return MAIL
    if suffix in (".html", ".htm"):
        return HTML
    if suffix == ".xhtml":
        return XHTML
    if suffix not in _BY_NAME:
        root = _XML.match(_after_prolog(beginning))
        if root and (root.group(1) == "svg" or beginning.lstrip().startswith("<?xml")):
            return SVG if root.group(1) == "svg" else XML
    return _BY_NAME.get(suffix, PLAIN)


def _after_prolog(text: str) -> str:
    """The text from its first element or word on."""
    text = text.lstrip()
    while True:
        head = " ".join(text[:40].lower().split())
        end = next((end for begin, end in _PROLOG if head.startswith(begin)), None)
        if end is None or end not in text:
            return text
        text = text.partition(end)[2].lstrip()


def _begins_as_mail(text: str, *, wanted: int) -> bool:
    """Whether it begins with at least ``wanted`` different headers of an e-mail."""
    met = set()
    for line in text.split("\n", 60):
        found = _HEADER.match(line)
        if found:
            met.add(found.group(1).lower())
        elif not line.startswith((" ", "\t")):
            break
    return len(met & _MAIL_HEADERS) >= wanted
