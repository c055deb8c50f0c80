"""A second, independent reading of each format: its words in order, and for PDF those of each page.

PDF by pypdf; Office formats by Python's own XML library, which the package does not read them with;
HTML, EPUB and e-mail by xberg, which the package does not read them with; text by its codec alone.
"""

from __future__ import annotations

import io
import logging
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

import pypdf
from defusedxml.ElementTree import fromstring
from xberg import ExtractionConfig

from rag_assets.documents.formats.library import extracted

WORD = re.compile(r"[^\W\d_]+|\d+")
_UNREAD = {"del", "moveFrom", "instrText", "Fallback", "rPr", "pPr", "tblPr", "sectPr"}
_APART = {"tab", "br", "cr", "p", "tc", "t", "h", "si", "c", "s", "line-break", "table-cell"}
_PROPERTIES = re.compile(r"\A---\n(?:(?:\S+: .*|## title: .*|## \\---)?\n)*")
"""What the library puts before a page: its properties, and its title."""
_NUMBER = re.compile(r"^\s*\d+\. ", re.MULTILINE)  # that the library gives to an item of a list
_TARGET = re.compile(r"\]\([^)]*\)")  # of a link or picture
_DIVIDED = re.compile(r"(\w)[-\u00ad\u2010]\s*\n\s*(?=\w)")


def words(text: str) -> list[str]:
    """Words in small letters; ligatures as the letters that they are."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def pdf_pages(content: bytes) -> list[str]:
    """Each page's text; a word over two lines is whole, without its hyphen."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(content))
    return [_DIVIDED.sub(r"\1", page.extract_text()) for page in reader.pages]


def second_text(content: bytes, name: str) -> str:
    """The text of a document of any other format."""
    suffix = PurePosixPath(name).suffix
    if suffix in (".docx", ".pptx", ".xlsx", ".odt"):
        return _packaged(content, suffix)
    if suffix in (".htm", ".html", ".xhtml"):
        page = _by_library(content, "text/html", output="markdown")
        return _NUMBER.sub("", _TARGET.sub("]", _PROPERTIES.sub("", page)))
    if suffix == ".epub":
        return _by_library(content, "application/epub+zip")
    if suffix == ".eml":
        return _by_library(content, "message/rfc822")
    return content.decode("latin-1" if "latin1" in name else "utf-8")


def _by_library(content: bytes, media_type: str, *, output: str = "plain") -> str:
    config = ExtractionConfig(
        use_cache=False, enable_quality_processing=False, output_format=output
    )
    return extracted(content, media_type, config).content


def _packaged(content: bytes, suffix: str) -> str:
    parts = {
        ".docx": r"word/document\.xml|word/footnotes\.xml",
        ".pptx": r"ppt/slides/slide\d+\.xml|ppt/notesSlides/notesSlide\d+\.xml",
        ".xlsx": r"xl/workbook\.xml|xl/worksheets/sheet\d+\.xml",
        ".odt": r"content\.xml",
    }[suffix]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(parts, name)]
        names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
        return " ".join("".join(_text(fromstring(archive.read(name)))) for name in names)


def _text(element: Element) -> Iterator[str]:
    name = element.tag.rsplit("}", 1)[-1]
    if name in _UNREAD:
        return
    if name == "sheet":
        yield f" {element.get('name')} "
    yield element.text or ""
    for child in element:
        yield from _text(child)
        yield child.tail or ""
    if name in _APART:
        yield " "
