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
from rag_assets.bible.formats.text import BOUNDARY, visible_only
from rag_assets.bible.formats.xml_source import line_of, parse_xml, text_within, walk
from rag_assets.errors import CorpusError

# Headings are <title>, Hebrew letters <title type="acrostic">.
_SKIPPED = frozenset({"header", "title", "note", "head", "speaker", "figure", "index", "rdg"})
_INLINE = frozenset(
    {"a", "abbr", "divineName", "foreign", "hi", "inscription", "mentioned", "milestone", "name"}
    | {"q", "reference", "seg", "signed", "speech", "transChange", "w"}
)
_SEPARATING = re.compile(r"line|halfLine|screen|x-(?:.*-)?(?:p|br|line)")
"""Types of milestones between two words; the others, such as ``pb``, may stand within one."""
_CHAPTER_ID = re.compile(r"(?:[^:\s]+:)?([^.\s:]+)\.([1-9][0-9]{0,2})")
_RANGE = re.compile(r"(?<=[0-9])-(?=[^-]*\.[0-9]+\Z)")
_OSIS_ID = re.compile(r"(?:[^:\s]+:)?([^.\s:]+)\.([^.\s]+)\.([0-9]+)(?:!([A-Za-z0-9]+))?")


def read_osis(path: Path, data: bytes) -> Source:
    """Passages of one OSIS file, of one book or many.

    :raises CorpusError: for malformed XML, an unknown book or a bad reference.
    """
    collector = Collector(path)
    root = parse_xml(path, data)
    marked = any(_is_marked_title(title) for title in root.iter("title"))
    walk(root, _OsisVisitor(path, collector, titles_are_marked=marked))
    return collector.finish()


def _is_marked_title(title: ET.Element) -> bool:
    return title.get("type") == "psalm" or title.get("canonical") == "true"


class _OsisVisitor:
    """Walks OSIS elements.

    :param titles_are_marked: the file marks its psalms' titles as such; in one that does not, they
        are the plain titles in Psalms.
    """

    def __init__(self, path: Path, collector: Collector, *, titles_are_marked: bool) -> None:
        self._path = path
        self._collector = collector
        self._titles_are_marked = titles_are_marked
        self._in_verse = False

    def enter(self, element: ET.Element) -> bool:
        if element.tag == "verse":
            self._verse(element)
            return "eID" not in element.attrib
        if element.tag == "title":
            return self._title(element)
        inline = element.tag in _INLINE or element.tag == "note"
        self.text(BOUNDARY if inline else " ")
        kind = element.get("type", "")
        if (element.tag == "q" or kind == "cQuote") and not len(element) and not element.text:
            # A milestone quotation carries its mark in an attribute, and nowhere else.
            self.text(element.get("marker"))
        if element.tag == "milestone" and _SEPARATING.fullmatch(kind):
            self.text(" ")
        if element.tag == "chapter":
            self._chapter(element)
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

    def _chapter(self, element: ET.Element) -> None:
        """End the chapter before; a title in front of the first verse belongs to this one."""
        self._end_verse()
        match = _CHAPTER_ID.fullmatch(visible_only(element.get("osisID", "")))
        book = book_code(match[1]) if match and "eID" not in element.attrib else None
        if match and book:
            self._place(book, int(match[2]))

    def _title(self, element: ET.Element) -> bool:
        """A psalm's title, or a heading; one that holds verses is read for them."""
        if element.find(".//verse") is not None:
            self._collector.add_title("" if self._in_verse else element.text or "")
            return True
        plain = self._collector.book == "PSA" and "type" not in element.attrib
        if _is_marked_title(element) or (plain and not self._titles_are_marked):
            self._collector.add_title(text_within(element, without=_SKIPPED))
        self.text(" ")
        return False

    def _place(self, book: str, chapter: int) -> None:
        if book != self._collector.book:
            self._collector.start_book(book)
        if chapter != self._collector.chapter:
            self._collector.start_chapter(chapter)

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
        self._place(book, chapter)
        self._collector.start_verse(number, line)
        self._in_verse = True

    def _reference(self, printed: str, line: int | None) -> tuple[str, int, VerseNumber]:
        """Read ``John.3.16``, ``Bible:John.3.16!a``, and ``John.3.16 John.3.17`` (a bridge)."""
        words = _RANGE.sub(" ", visible_only(printed)).split()
        matches = [_OSIS_ID.fullmatch(word) for word in words]
        groups = [match.groups() for match in matches if match]
        if not groups or len(groups) < len(matches) or len({group[:2] for group in groups}) > 1:
            reason = f"{printed!r} is not a verse's osisID: write Book.chapter.verse"
            raise CorpusError(self._path, reason, line=line)
        name, chapter, first, segment = groups[0]
        code = book_code(name)
        if code is None:
            reason = f"unknown book {name!r} in osisID: use an OSIS id such as Gen or 1John"
            raise CorpusError(self._path, reason, line=line)
        end = "" if len(groups) == 1 else f"-{groups[-1][2]}"
        number = parse_verse_number(f"{first}{(segment or '').lower()}{end}")
        if number is None:
            reason = f"{printed!r} is not a verse number: write Book.chapter.verse"
            raise CorpusError(self._path, reason, line=line)
        return code, parse_chapter(chapter, self._path, line), number
