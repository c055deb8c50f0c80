"""Read a tree of USX elements, wherever it came from, into passages.

USX files and parsed USFM meet here: the styles are the same. What is a heading, a note or
text is decided by the categories of the USFM committee's own grammar (``usfmtc``).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from usfmtc import Grammar

from rag_assets.bible.books import PERIPHERALS, is_usfm_code
from rag_assets.bible.formats.passages import Collector, parse_chapter, parse_verse_number
from rag_assets.bible.formats.text import BOUNDARY, normalise, visible_only
from rag_assets.bible.formats.xml_source import text_within
from rag_assets.errors import CorpusError

_APART_CATEGORIES = frozenset(
    {"header", "introduction", "sectionpara", "title", "attribute", "internal"}
)
_TITLE = "d"
_APART_STYLES = frozenset({_TITLE, "qa", "lit", "sts", "rem", "k1", "k2", "usfm"})
APART_CHARS = frozenset(
    # Quotation references, pronunciation, printed numbers, note callers, cross references.
    {"rq", "pro", "vp", "va", "cp", "ca", "cat", "fm", "efm", "xt", "ior"}
)
"""Spans whose words are not verse text."""
_SKIPPED_ELEMENTS = frozenset({"note", "figure", "sidebar", "periph"})
_INLINE_ELEMENTS = frozenset({"char", "ref", "unk", "ms", "link"})


class UsxVisitor:
    """Walks USX elements; see :func:`rag_assets.bible.formats.xml_source.walk`."""

    def __init__(
        self, path: Path, collector: Collector, line_of: Callable[[ET.Element], int | None]
    ) -> None:
        self._path = path
        self._collector = collector
        self._line_of = line_of
        self._reading = False
        self._blocks: list[bool] = []  # of the open paragraphs and cells, whether each is text
        self._verses_before_book = 0
        self.verse_lines: list[int | None] = []
        """Of each verse that was met, its line in the file."""

    def enter(self, element: ET.Element) -> bool:
        """Handle a start; ``False`` for what is not Bible text."""
        if element.tag in _INLINE_ELEMENTS:
            self._collector.add(BOUNDARY)
            return self._is_inline_text(element)
        if element.tag == "verse":
            self._verse(element)
            return False
        if element.tag in _SKIPPED_ELEMENTS:
            self._collector.add(BOUNDARY)
            return False
        return self._enter_block(element)

    def _enter_block(self, element: ET.Element) -> bool:
        self.text(" ")
        if element.tag == "book":
            self._book(element)
            return False
        if element.tag == "chapter":
            self._chapter(element)
            return False
        if element.tag in {"para", "cell"}:
            if element.get("style") == _TITLE and not self._holds_verses(element):
                self._collector.add_title(text_within(element, without=_SKIPPED_ELEMENTS))
                return False
            self._reading = self._is_text_style(element)
            self._blocks.append(self._reading)
        return True

    def _holds_verses(self, title: ET.Element) -> bool:
        """Whether a psalm's title has verse numbers; the text before them is a title still."""
        if title.find(".//verse") is None:
            return False
        self._collector.add_title(title.text or "")
        return True

    def leave(self, element: ET.Element) -> None:
        """Handle an end: a word never runs on from one paragraph into the next."""
        if element.tag in _INLINE_ELEMENTS:
            self._collector.add(BOUNDARY)
            return
        self.text(" ")
        if element.tag in {"para", "cell"}:
            self._blocks.pop()
            self._reading = bool(self._blocks) and self._blocks[-1]

    def text(self, text: str | None) -> None:
        """Take characters, unless they stand in a heading."""
        if self._reading:
            self._collector.add(text)
        elif not self._blocks and self._collector.chapter and (lost := normalise(text or "")):
            self._collector.note(f"text outside any paragraph is left out: {lost!r}")

    def finish_book(self) -> None:
        """Close the book.

        :raises CorpusError: for a book of Scripture in which no verse was met.
        """
        book = self._collector.book
        self._collector.end_verse()
        met = self._collector.passage_count
        if book is not None and book not in PERIPHERALS and met == self._verses_before_book:
            reason = f"{book} holds no verse (cut off?): fetch the file again or remove it"
            raise CorpusError(self._path, reason)
        self._verses_before_book = met

    def _book(self, element: ET.Element) -> None:
        code = visible_only(element.get("code", "")).upper()
        if not is_usfm_code(code):
            reason = f"unknown book id {code!r}: use a USFM code such as GEN or 1JN"
            raise CorpusError(self._path, reason, line=self._line_of(element))
        self.finish_book()
        self._collector.start_book(code)
        self._reading = False

    def _chapter(self, element: ET.Element) -> None:
        self._reading = False
        if "eid" in element.attrib:
            self._collector.end_verse()
            return
        line = self._line_of(element)
        self._collector.start_chapter(parse_chapter(element.get("number"), self._path, line))

    def _verse(self, element: ET.Element) -> None:
        if "eid" in element.attrib:
            self._collector.end_verse()
            return
        line = self._line_of(element)
        printed = visible_only(element.get("number", ""))
        if not printed:
            raise CorpusError(self._path, "a verse without a number: number it", line=line)
        number = parse_verse_number(printed)
        if number is None:
            reason = f"{printed!r} is not a verse number: write 4, 4a, 4-5 or 4,5"
            raise CorpusError(self._path, reason, line=line)
        self._collector.start_verse(number, line)
        self.verse_lines.append(line)
        self._reading = True

    def _is_text_style(self, element: ET.Element) -> bool:
        style = element.get("style", "")
        if style in _APART_STYLES:
            return False
        category = _category(style)
        if category is None:
            if element.tag == "para":
                self._collector.note(f"unknown paragraph style {style!r}; text kept")
            return True
        return category not in _APART_CATEGORIES

    def _is_inline_text(self, element: ET.Element) -> bool:
        style = element.get("style", "")
        if style in APART_CHARS:
            return False
        if element.tag == "char" and _category(style) is None:
            self._collector.note(f"unknown character style {style!r}; text kept")
        return True


def _category(style: str) -> str | None:
    categories: dict[str, str] = Grammar.marker_categories
    return categories.get(style) or categories.get(style.rstrip("0123456789"))
