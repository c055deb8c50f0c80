"""OSIS 2: verses as containers (``<verse osisID>…</verse>``) or as milestones (``sID/eID``)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from rag_assets.bible.books import book_code
from rag_assets.bible.formats.passages import (
    Collector,
    Source,
    VerseNumber,
    parse_chapter,
    parse_verse_number,
)
from rag_assets.bible.formats.text import BOUNDARY
from rag_assets.bible.formats.xml_source import line_of, parse_xml, walk
from rag_assets.errors import CorpusError

# Psalm titles are <title>, Hebrew letters <title type="acrostic">.
_SKIPPED = frozenset({"header", "title", "note", "head", "speaker", "figure", "index", "rdg"})
_INLINE = frozenset(
    {"a", "abbr", "divineName", "foreign", "hi", "inscription", "mentioned", "milestone", "name"}
    | {"q", "reference", "seg", "signed", "speech", "transChange", "w"}
)
_OSIS_ID = re.compile(r"(?:[^:\s]+:)?([^.\s:]+)\.([^.\s]+)\.([0-9]+)(?:!([A-Za-z0-9]+))?")


def read_osis(path: Path, data: bytes) -> Source:
    """Passages of one OSIS file, of one book or many.

    :raises CorpusError: for malformed XML, an unknown book or a bad reference.
    """
    collector = Collector(path)
    walk(parse_xml(path, data), _OsisVisitor(path, collector))
    return collector.finish()


class _OsisVisitor:
    def __init__(self, path: Path, collector: Collector) -> None:
        self._path = path
        self._collector = collector
        self._in_verse = False

    def enter(self, element: ET.Element) -> bool:
        if element.tag == "verse":
            self._verse(element)
            return "eID" not in element.attrib
        inline = element.tag in _INLINE or element.tag == "note"
        self.text(BOUNDARY if inline else " ")
        if element.tag == "q" and not len(element) and not element.text:
            # A milestone quotation carries its mark in an attribute, and nowhere else.
            self.text(element.get("marker"))
        if element.tag == "chapter":
            self._end_verse()
        return element.tag not in _SKIPPED

    def leave(self, element: ET.Element) -> None:
        if element.tag == "verse":
            if "sID" not in element.attrib:
                self._end_verse()
            return
        self.text(BOUNDARY if element.tag in _INLINE else " ")

    def text(self, text: str | None) -> None:
        if self._in_verse:
            self._collector.add(text)

    def _end_verse(self) -> None:
        self._collector.end_verse()
        self._in_verse = False

    def _verse(self, element: ET.Element) -> None:
        if "eID" in element.attrib:
            self._end_verse()
            return
        line = line_of(element)
        printed = element.get("osisID") or element.get("sID") or ""
        book, chapter, number = self._reference(printed, line)
        if book != self._collector.book:
            self._collector.start_book(book)
        if chapter != self._collector.chapter:
            self._collector.start_chapter(chapter)
        self._collector.start_verse(number, line)
        self._in_verse = True

    def _reference(self, printed: str, line: int | None) -> tuple[str, int, VerseNumber]:
        """Reads ``John.3.16``, ``Bible:John.3.16!a``, and ``John.3.16 John.3.17`` (a bridge)."""
        matches = [_OSIS_ID.fullmatch(word) for word in printed.split()]
        groups = [match.groups() for match in matches if match]
        if not groups or len(groups) < len(matches) or len({group[:2] for group in groups}) > 1:
            reason = f"{printed!r} is no verse's osisID: write Book.chapter.verse"
            raise CorpusError(self._path, reason, line=line)
        name, chapter, first, segment = groups[0]
        code = book_code(name)
        if code is None:
            reason = f"unknown book {name!r} in osisID: use an OSIS id such as Gen or 1John"
            raise CorpusError(self._path, reason, line=line)
        end = "" if len(groups) == 1 else f"-{groups[-1][2]}"
        number = parse_verse_number(f"{first}{(segment or '').lower()}{end}")
        if number is None:
            reason = f"{printed!r} is no verse number: write Book.chapter.verse"
            raise CorpusError(self._path, reason, line=line)
        return code, parse_chapter(chapter, self._path, line), number
