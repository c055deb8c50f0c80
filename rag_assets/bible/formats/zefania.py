"""Zefania XML: ``XMLBIBLE / BIBLEBOOK / CHAPTER / VERS``, books by number."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from rag_assets.bible.books import CANON, book_code
from rag_assets.bible.formats.passages import Collector, Source, parse_chapter, parse_verse_number
from rag_assets.bible.formats.text import BOUNDARY, visible_only
from rag_assets.bible.formats.xml_source import line_of, parse_xml, text_within, walk
from rag_assets.errors import CorpusError

_SKIPPED = frozenset(
    {"INFORMATION", "NOTE", "XREF", "CAPTION", "REMARK", "MEDIA"}
    | {"PROLOG", "APPENDIX", "INTRODUCTION"}
)
_HEADINGS = frozenset({"CAPTION", "PROLOG"})
"""In Psalms these are the titles, which the format does not separate from other headings."""
# From book 67 on, as the converters of this format number them.
_BEYOND_CANON = (
    *("JDT", "WIS", "TOB", "SIR", "BAR", "1MA", "2MA", "DAG", "ESG", "MAN"),
    *("3MA", "4MA", "LJE", "1ES", "2ES", "ODA", "PSS", "LAO", "ENO"),
)
_BY_NUMBER = (*CANON, *_BEYOND_CANON)


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
        self._doubts: list[tuple[str, str]] = []

    def enter(self, element: ET.Element) -> bool:
        tag = element.tag.upper()
        line = line_of(element)
        if tag == "BIBLEBOOK":
            self._doubts.clear()
            self._collector.start_book(self._book(element))
            for code, doubt in self._doubts:
                self._collector.note(f"{doubt}: read as {code}, by its number")
        elif tag == "CHAPTER":
            self._collector.start_chapter(parse_chapter(element.get("cnumber"), self._path, line))
        elif tag == "VERS":
            self._verse(element, line)
        else:
            self.text(" " if tag == "BR" else BOUNDARY)
            psalm = self._collector.book == "PSA" and self._collector.chapter is not None
            if tag in _HEADINGS and psalm:
                self._collector.add_title(text_within(element, without=_SKIPPED))
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
        """By number within the canon, since names may be in any language; else by name.

        Beyond the canon editions number books differently: there the name counts, if it is known.
        """
        number = visible_only(element.get("bnumber", ""))
        names = [element.get(attribute, "") for attribute in ("bname", "bsname")]
        named = next((code for name in names if (code := book_code(visible_only(name)))), None)
        place = int(number[:4]) if number.isascii() and number.isdigit() else 0
        if 0 < place <= len(CANON):
            code = CANON[place - 1]
            if named is not None and named != code:
                self._doubts.append((code, f"book {place} is named {names[0] or names[1]!r}"))
            return code
        if named is not None:
            return named
        if not any(names) and place and place <= len(_BY_NUMBER):
            code = _BY_NUMBER[place - 1]
            self._doubts.append((code, f"book {place} has no name"))
            return code
        reason = f"unknown book (bnumber {number!r}, bname {element.get('bname')!r}): correct it"
        raise CorpusError(self._path, reason, line=line_of(element))

    def _verse(self, element: ET.Element, line: int | None) -> None:
        printed = visible_only(element.get("vnumber", ""))
        end = visible_only(element.get("enumber", ""))
        number = parse_verse_number(f"{printed}-{end}" if end and end != printed else printed)
        if number is None:
            ending = f" with enumber {end!r}" if end else ""
            reason = f"vnumber {printed!r}{ending} is not a verse number: correct it"
            raise CorpusError(self._path, reason, line=line)
        self._collector.start_verse(number, line)
        self._in_verse = True
