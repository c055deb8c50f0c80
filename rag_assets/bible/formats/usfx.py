"""USFX: the XML form of USFM that eBible.org publishes, one file for all books.

Its elements are named after USFM's markers, so that its tree is turned into one of USX elements and
read by :mod:`.usx_tree`, with the same rules.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from rag_assets.bible.formats.passages import Collector, Source, parse_verse_number
from rag_assets.bible.formats.text import visible_only
from rag_assets.bible.formats.usx_tree import UsxVisitor
from rag_assets.bible.formats.xml_source import (
    LinedElement,
    line_of,
    parse_xml,
    text_within,
    walk,
)
from rag_assets.errors import CorpusError

_PART = "part"
"""An element that only holds others."""
_OTHER_NAMES = {
    "usfx": _PART,
    "tr": "row",
    "fig": "figure",
    "optionalLineBreak": "optbreak",
    "milestone": "ms",
}
_SAME_NAMES = frozenset({"table", "ref", "periph"})
_UNSTYLED = frozenset({"cs", "gw", "wr", "quoteStart", "quoteEnd", "quoteRemind"})
"""Spans that USFM does not have; their text is the verse's."""
_PARAGRAPHS = frozenset(
    {"p", "q", "mt", "d", "s", "b", "h", "id", "ide", "toc", "cl", "cp", "rem"}
    | {"languageCode", "sectionBoundary", "generated"}
)
_UNREAD = frozenset({"id", "ide", "h", "toc", "languageCode", "sectionBoundary", "generated"})
_CELLS = frozenset({"th", "thr", "thc", "tc", "tcr", "tcc"})
_NOTES = frozenset({"f", "fe", "ef", "efe", "x", "ex"})


def read_usfx(path: Path, data: bytes) -> Source:
    """Passages of one USFX file.

    A verse lasts until its end marker (``<ve/>``) or the next one; chapters and verses that are
    written as containers are read, too.

    :raises CorpusError: for malformed XML, an unknown book or a bad number.
    """
    root = parse_xml(path, data)
    if root.find("book") is None:
        raise CorpusError(path, "no <book id=…> element: add one naming the USFM code", line=1)
    for element in list(root.iter()):
        _as_usx(element)
    collector = Collector(path)
    visitor = UsxVisitor(path, collector, line_of)
    walk(root, visitor)
    visitor.finish_book()
    return collector.finish()


def _as_usx(element: ET.Element) -> None:
    """Rename an element, and give it the attributes that USX has in its place."""
    tag, given = element.tag, dict(element.attrib)
    if tag == "book":
        _open_with(element, "book", {"code": given.get("id", "")})
    elif tag == "c":
        _number(element, "chapter", given.get("id") or text_within(element, without=frozenset()))
    elif tag == "v":
        _number(element, "verse", given.get("id", ""))
    elif tag == "ve":
        _rename(element, "verse", {"eid": "end"})
    elif tag in _NOTES:
        _rename(element, "note", {"style": tag})
    elif tag in _OTHER_NAMES:
        _rename(element, _OTHER_NAMES[tag], {})
    elif tag not in _SAME_NAMES:
        style = given.get("sfm") or tag
        if tag in _PARAGRAPHS:
            _rename(
                element, "para", {"style": "rem" if tag in _UNREAD else _levelled(style, given)}
            )
        elif tag in _CELLS:
            _rename(element, "cell", {"style": _levelled(tag, given)})
        elif style in _UNSTYLED:
            _rename(element, "link", {})
        else:
            _rename(element, "char", {"style": style})


def _levelled(style: str, given: dict[str, str]) -> str:
    return style if style[-1:].isdigit() else style + given.get("level", "")


def _rename(element: ET.Element, tag: str, attributes: dict[str, str]) -> None:
    element.tag = tag
    element.attrib.clear()
    element.attrib.update(attributes)


def _number(element: ET.Element, tag: str, number: str) -> None:
    """A chapter's or verse's start; its content is the number as printed, or what it contains."""
    content = visible_only(text_within(element, without=_NOTES))
    container = parse_verse_number(content) is None if tag == "verse" else bool(len(element))
    if not (content and container):
        _rename(element, tag, {"number": number})
        return
    _open_with(element, tag, {"number": number})
    if tag == "verse":
        element.append(LinedElement("verse", {"eid": "end"}))


def _open_with(element: ET.Element, tag: str, attributes: dict[str, str]) -> None:
    """Let the element only hold its content, behind a marker."""
    start = LinedElement(tag, attributes)
    start.line = line_of(element)
    start.tail, element.text = element.text, None
    element.insert(0, start)
    _rename(element, _PART, {})
