"""Zefania XML: ``XMLBIBLE / BIBLEBOOK / CHAPTER / VERS``, books by number."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from rag_assets.bible.books import CANON, book_code
from rag_assets.bible.formats.passages import Collector, Source, parse_chapter, parse_verse_number
from rag_assets.bible.formats.text import BOUNDARY
from rag_assets.bible.formats.xml_source import line_of, parse_xml, walk
from rag_assets.errors import CorpusError

_SKIPPED = frozenset(
    {"INFORMATION", "NOTE", "XREF", "CAPTION", "REMARK", "MEDIA"}
    | {"PROLOG", "APPENDIX", "INTRODUCTION"}
)


def read_zefania(path: Path, data: bytes) -> Source:
    """Passages of one Zefania file.

    :raises CorpusError: for malformed XML, an unknown book or a bad number.
    """
    collector = Collector(path)
    walk(parse_xml(path, data), _ZefaniaVisitor(path, collector))
    return collector.finish()


class _ZefaniaVisitor:
    def __init__(self, path: Path, collector: Collector) -> None:
        self._path = path
        self._collector = collector
        self._in_verse = False

    def enter(self, element: ET.Element) -> bool:
        tag = element.tag.upper()
        line = line_of(element)
        if tag == "BIBLEBOOK":
            self._collector.start_book(self._book(element))
        elif tag == "CHAPTER":
            self._collector.start_chapter(parse_chapter(element.get("cnumber"), self._path, line))
        elif tag == "VERS":
            self._verse(element, line)
        else:
            self.text(" " if tag == "BR" else BOUNDARY)
        return tag not in _SKIPPED

    def leave(self, element: ET.Element) -> None:
        if element.tag.upper() == "VERS":
            self._collector.end_verse()
            self._in_verse = False
        else:
            self.text(BOUNDARY)

    def text(self, text: str | None) -> None:
        if self._in_verse:
            self._collector.add(text)

    def _book(self, element: ET.Element) -> str:
        """By number within the canon, since names may be in any language; else by name."""
        number = element.get("bnumber", "").strip()
        if number.isascii() and number.isdigit() and 0 < int(number[:4]) <= len(CANON):
            return CANON[int(number[:4]) - 1]
        for attribute in ("bname", "bsname"):
            code = book_code(element.get(attribute, ""))
            if code is not None:
                return code
        reason = f"unknown book (bnumber {number!r}, bname {element.get('bname')!r}): correct it"
        raise CorpusError(self._path, reason, line=line_of(element))

    def _verse(self, element: ET.Element, line: int | None) -> None:
        printed = element.get("vnumber", "").strip()
        number = parse_verse_number(printed)
        if number is None:
            reason = f"vnumber {printed!r} is no verse number: correct it"
            raise CorpusError(self._path, reason, line=line)
        self._collector.start_verse(number, line)
        self._in_verse = True
