"""Read XML that may be hostile into a tree whose elements know their line.

Every XML format goes through here. No DTD is accepted: none of the formats needs one, and
without it there are no entity bombs, no external entities and nothing to fetch.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

import defusedxml.sax
from defusedxml.common import DefusedXmlException

from rag_assets.errors import CorpusError

_DEEPEST = 100  # real files stay below 15


class LinedElement(ET.Element):
    """An element with the 1-based line of its start tag."""

    line: int | None = None


class Visitor(Protocol):
    """What :func:`walk` calls, in document order."""

    def enter(self, element: ET.Element) -> bool:
        """Handle an element before its content; ``False`` skips the content and ``leave``."""

    def leave(self, element: ET.Element) -> None:
        """Handle the end of an element that was entered."""

    def text(self, text: str | None) -> None:
        """Handle a run of characters."""


class _TreeHandler(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self._locator: Locator | None = None
        self._builder = ET.TreeBuilder(element_factory=LinedElement)
        self._depth = 0

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - SAX's name
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        self._depth += 1
        if self._depth > _DEEPEST:
            raise SAXException(f"elements nested more than {_DEEPEST} deep")
        element = self._builder.start(name.rpartition(":")[2], dict(attrs.items()))
        if isinstance(element, LinedElement) and self._locator is not None:
            element.line = self._locator.getLineNumber()

    def endElement(self, name: str) -> None:  # noqa: N802
        self._depth -= 1
        self._builder.end(name.rpartition(":")[2])

    def characters(self, content: str) -> None:
        self._builder.data(content)

    def close(self) -> ET.Element:
        return self._builder.close()


def parse_xml(path: Path, data: bytes) -> ET.Element:
    """The root element, made of :class:`LinedElement`; prefixes of names are dropped.

    :raises CorpusError: for anything but well-formed XML without DTD.
    """
    handler = _TreeHandler()
    try:
        defusedxml.sax.parseString(data, handler, forbid_dtd=True)
    except SAXParseException as error:
        reason = f"not well-formed XML ({error.getMessage()}): correct it or fetch it again"
        raise CorpusError(path, reason, line=error.getLineNumber()) from error
    except DefusedXmlException as error:
        reason = "declares a DTD or entities, which is refused: remove the DOCTYPE"
        raise CorpusError(path, reason, line=_doctype_line(data)) from error
    except (SAXException, ValueError, LookupError) as error:
        reason = f"cannot be read as XML ({error}): save it as plain UTF-8 XML"
        raise CorpusError(path, reason) from error
    return handler.close()


def _doctype_line(data: bytes) -> int | None:
    position = data.find(b"<!DOCTYPE")
    return data.count(b"\n", 0, position) + 1 if position >= 0 else None


def line_of(element: ET.Element) -> int | None:
    """The 1-based line of a start tag, if the tree knows it."""
    return element.line if isinstance(element, LinedElement) else None


def text_within(element: ET.Element, *, without: frozenset[str]) -> str:
    """All characters of an element but those in elements of these names below it."""
    visitor = _TextVisitor(element, without)
    walk(element, visitor)
    return "".join(visitor.parts)


class _TextVisitor:
    def __init__(self, root: ET.Element, without: frozenset[str]) -> None:
        self._root = root
        self._without = without
        self.parts: list[str] = []

    def enter(self, element: ET.Element) -> bool:
        return element is self._root or element.tag not in self._without

    def leave(self, element: ET.Element) -> None:
        """Nothing ends a run of characters."""

    def text(self, text: str | None) -> None:
        self.parts.append(text or "")


def walk(root: ET.Element, visitor: Visitor) -> None:
    """Visit a tree in document order, without recursion: depth costs no stack."""
    if not visitor.enter(root):
        return
    visitor.text(root.text)
    open_elements: list[tuple[ET.Element, Iterator[ET.Element]]] = [(root, iter(root))]
    while open_elements:
        element, children = open_elements[-1]
        child = next(children, None)
        if child is None:
            open_elements.pop()
            visitor.leave(element)
            if open_elements:
                visitor.text(element.tail)
        elif visitor.enter(child):
            visitor.text(child.text)
            open_elements.append((child, iter(child)))
        else:
            visitor.text(child.tail)
