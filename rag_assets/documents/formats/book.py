"""EPUB into blocks: the chapters of its spine, in order, each read as the page that it is."""

from __future__ import annotations

import io
import posixpath
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from rag_assets.documents.formats.archive import refuse_damaged
from rag_assets.documents.formats.blocks import Block, Reading, one_line
from rag_assets.documents.formats.html import declared_encoding, read_html
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean, decode
from rag_assets.documents.formats.xml import read_xml
from rag_assets.errors import CorruptDocumentError, EncryptedDocumentError

_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book, as its list names it."""

    href: str
    media_type: str
    properties: str

    @property
    def is_drawing(self) -> bool:
        return self.media_type == "image/svg+xml"

    @property
    def is_page(self) -> bool:
        return self.media_type in _PAGES or self.href.lower().endswith((".xhtml", ".html", ".htm"))


def read_book(content: bytes, name: str, remarks: Remarks, *, most: int) -> Reading:
    """The book's text. A chapter that its archive does not hold is reported as lost.

    :param most: bytes that the archive may expand to.
    :raises DocumentTooLargeError: it would expand to more.
    :raises EncryptedDocumentError: its chapters are encrypted.
    :raises CorruptDocumentError: no chapter can be found.
    """
    refuse_damaged(content, name, most)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        folder, package = _package(archive, name)
        files = _Files(archive, folder)
        items = {
            one.get("id", ""): _Item(
                one.get("href", ""), one.get("media-type", ""), one.get("properties", "")
            )
            for one in package.iter()
            if _local(one) == "item"
        }
        order = [one.get("idref", "") for one in package.iter() if _local(one) == "itemref"]
        if not order:
            order = [key for key, item in items.items() if item.is_page]
            remarks.repaired("order of chapters missing, taken from the list of files")
        _refuse_encrypted(archive, files, [items[key] for key in order if key in items], name)
        if again := len(order) - len(set(order)):
            remarks.left_out("chapter that stands in the order of reading again", count=again)
        blocks: list[Block] = []
        found = 0
        for key in dict.fromkeys(order):
            page = _page(files, items.get(key), key, remarks)
            found += page is not None
            blocks += page or ()
        if not found:
            raise CorruptDocumentError(
                name, "none of its chapters is in the archive: fetch the file again"
            )
        for key, item in items.items():
            if item.is_page and key not in order and "nav" not in item.properties:
                remarks.left_out("page outside the order of reading", item.href)
    return Reading(blocks, _said(package, "title"), _said(package, "language"))


def _page(files: _Files, item: _Item | None, key: str, remarks: Remarks) -> list[Block] | None:
    """A chapter's blocks; ``None`` where it is not found."""
    path = files.path(item.href) if item is not None else None
    if item is None or path is None:
        remarks.lost("chapter that is not in the archive", item.href if item else key)
        return None
    if not (item.is_page or item.is_drawing):
        remarks.left_out("picture in the place of a chapter", item.href)
        return []
    content = files.archive.read(path)
    text = decode(content, declared_encoding(content), remarks)
    return list((read_xml if item.is_drawing else read_html)(text, remarks).blocks)


class _Files:
    """The archive's files by the names that the book's list gives them."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self.archive = archive
        self._folder = folder
        self._paths = {_plain(path): path for path in reversed(archive.namelist())}
        self._exact = frozenset(archive.namelist())

    def path(self, href: str) -> str | None:
        """Percent-encoded or not, in whatever case and composition; ``None`` if there is none."""
        bare = href.split("#", 1)[0]
        for named in (unquote(bare), bare):
            path = posixpath.normpath(posixpath.join(self._folder, named)).lstrip("/")
            if path in self._exact:
                return path
            if path := self._paths.get(_plain(path), ""):
                return path
        return None


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", unquote(path)).casefold()


def _package(archive: zipfile.ZipFile, name: str) -> tuple[str, Element]:
    """The book's list of files and order, and the folder in which it stands."""
    members = archive.namelist()
    path = next((one for one in members if one.lower().endswith(".opf")), "")
    try:
        if "META-INF/container.xml" in members:
            container = fromstring(archive.read("META-INF/container.xml"))
            named = [one.get("full-path", "") for one in container.iter()]
            path = next((one for one in map(unquote, named) if one in members), path)
        if path:
            return posixpath.dirname(path), fromstring(archive.read(path))
    except (ParseError, DefusedXmlException, ValueError) as error:
        reason = one_line(clean(str(error)))[:200]
        raise CorruptDocumentError(
            name, f"its list of chapters is damaged ({reason}): fetch the file again"
        ) from error
    raise CorruptDocumentError(name, "it has no list of chapters: fetch the file again")


def _refuse_encrypted(
    archive: zipfile.ZipFile, files: _Files, chapters: list[_Item], name: str
) -> None:
    """Fonts may be encrypted, chapters not."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    try:
        listed = fromstring(archive.read("META-INF/encryption.xml"))
    except (ParseError, DefusedXmlException, ValueError):
        return
    locked = {unquote(one.get("URI", "")) for one in listed.iter()}
    if any(files.path(chapter.href) in locked for chapter in chapters):
        raise EncryptedDocumentError(
            name, "its chapters are encrypted: remove the copy protection, or leave the book out"
        )


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _said(package: Element, what: str) -> str:
    words: Iterator[str] = (one.text or "" for one in package.iter() if _local(one) == what)
    return next((one_line(clean(text)) for text in words if text.strip()), "")
