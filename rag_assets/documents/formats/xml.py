"""XML and SVG into blocks: the text of the elements, without the markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from rag_assets.documents.formats.blocks import Block, Reading, one_line
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.remarks import Remarks

_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>")
_HTML = re.compile(r"</[a-z]\w*>|<br\b|<p>", re.IGNORECASE)
_UNSEEN = frozenset({"script", "style", "metadata"})
_DEEPEST = 100


def read_xml(text: str, remarks: Remarks) -> Reading:
    """A passage for each element with text, or for several that hold nothing but text.

    What is not well-formed is read like a page, and reported.
    """
    try:
        root = fromstring(_DECLARATION.sub("", text, count=1))
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        remarks.repaired("XML that is not well-formed, read as far as its tags allow")
        return read_html(_DECLARATION.sub("", text, count=1), remarks)
    blocks = [Block(found) for found in _passages(root, 0)]
    title = next((one for one in root.iter() if _local(one) == "title"), None)
    language = root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("lang") or ""
    return Reading(
        blocks, one_line("".join(title.itertext())) if title is not None else "", language
    )


def _passages(element: Element, depth: int) -> Iterator[str]:
    if _local(element) in _UNSEEN:
        return
    children = [child for child in element if isinstance(child.tag, str)]
    is_text = _is_text(element)
    if not children or is_text or depth == _DEEPEST:
        text = _shown("".join(element.itertext()) if depth < _DEEPEST else _all_text(element))
        if text:
            yield text
    elif all(len(child) == 0 and _local(child) not in _UNSEEN for child in children):
        lines = [line for child in children if (line := _shown(child.text or ""))]
        if lines:
            yield "\n".join(lines)
    else:
        for child in children:
            yield from _passages(child, depth + 1)


def _is_text(element: Element) -> bool:
    """Whether words stand between its elements: a paragraph with emphasis in it."""
    texts = [element.text, *(child.tail for child in element)]
    return any(text and text.strip() for text in texts)


def _all_text(element: Element) -> str:
    return " ".join(element.itertext())


def _shown(text: str) -> str:
    """On one line; of markup within the text, as feeds have it, the text."""
    if _HTML.search(text):
        return "\n".join(block.text for block in read_html(text).blocks)
    return one_line(text)


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""
