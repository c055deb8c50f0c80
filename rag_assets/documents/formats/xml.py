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
_IN_DOCTYPE = re.compile(r"\"[^\"]*\"|'[^']*'|<!--.*?-->|[\[\]>]", re.DOTALL)
_ENTITY = re.compile(r"&[A-Za-z_][\w.-]*;")
_HTML = re.compile(r"</[a-z]\w*>|<br\b|<p>", re.IGNORECASE)
_UNSEEN = frozenset({"script", "style", "metadata"})
_INLINE = (  # of TEI, DocBook, JATS, Android, SVG and XHTML: they may split a word
    "a abbr b bold c em emph emphasis expan g hi i italic link ref sc seg span strong sub "
    "subscript sup superscript tspan tt u ulink w xref"
)
_FLOWS_ON = frozenset(_INLINE.split())
_PLACED = {"x", "y", "dy"}  # attributes of a `tspan` that stands somewhere else
_DEEPEST = 100


def read_xml(text: str, remarks: Remarks) -> Reading:
    """A passage for each element with text, or for several that hold nothing but text.

    What is not well-formed is read like a page, and reported.
    """
    text = _DECLARATION.sub("", text, count=1)
    try:
        root = fromstring(text)
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        remarks.repaired("XML that is not well-formed, read as far as its tags allow")
        reading = read_html(_without_doctype(text), remarks)
        for block in reading.blocks:
            for entity in _ENTITY.findall(block.text):
                remarks.lost("entity of the document's own", entity)
        return reading
    blocks = [Block(found) for found in _passages(root, 0, remarks)]
    title = next((one for one in root.iter() if _local(one) == "title"), None)
    language = root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("lang") or ""
    return Reading(blocks, one_line(_text(title, None)) if title is not None else "", language)


def _without_doctype(text: str) -> str:
    """The text without its DOCTYPE; as it is where that has no end. In linear time."""
    start = text.find("<!DOCTYPE")
    if start < 0:
        return text
    depth = 0
    for found in _IN_DOCTYPE.finditer(text, start + len("<!DOCTYPE")):
        depth += {"[": 1, "]": -1}.get(found[0], 0)
        if found[0] == ">" and depth == 0:
            return text[:start] + text[found.end() :]
    return text


def _passages(element: Element, depth: int, remarks: Remarks) -> Iterator[str]:
    if why := _unseen(element):
        _leave_out(element, why, remarks)
        return
    children = [child for child in element if isinstance(child.tag, str)]
    if not children or _is_text(element) or depth == _DEEPEST:
        if text := _shown(_text(element, remarks), remarks):
            yield text
    elif all(len(child) == 0 and not _unseen(child) for child in children):
        lines = [line for child in children if (line := _shown(child.text or "", remarks))]
        if lines:
            yield "\n".join(lines)
    else:
        for child in children:
            yield from _passages(child, depth + 1, remarks)


def _is_text(element: Element) -> bool:
    """Whether words stand between its elements: a paragraph with emphasis in it."""
    texts = [element.text, *(child.tail for child in element)]
    return any(text and text.strip() for text in texts)


def _unseen(element: Element) -> str:
    """Why an element is not shown; empty if it is."""
    if _local(element) in _UNSEEN:
        return "script, style or metadata"
    style = (element.get("style") or "").replace(" ", "")
    hidden = element.get("display") == "none" or "display:none" in style
    return "hidden element" if hidden else ""


def _leave_out(element: Element, why: str, remarks: Remarks | None) -> None:
    if remarks and (said := one_line(" ".join(element.itertext()))):
        remarks.left_out(why, said)


def _text(element: Element, remarks: Remarks | None) -> str:
    """All shown text, with a blank where an element begins or ends that is not inline."""
    parts: list[str] = []
    waiting: list[Element | str] = [element]  # a list, since elements may nest without end
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            parts.append(one)
            continue
        flows_on = _local(one) in _FLOWS_ON and not _PLACED & set(one.keys())
        border = "" if one is element or flows_on or _is_comment(one) else " "
        tail = "" if one is element else border + (one.tail or "")
        if why := _unseen(one):
            _leave_out(one, why, remarks)
        elif not _is_comment(one):
            parts.append(border + (one.text or ""))
            waiting += [tail, *reversed(one)]
            continue
        parts.append(tail)
    return "".join(parts)


def _is_comment(element: Element) -> bool:
    """Whether it is a comment or an instruction, whose tag is a function."""
    return not _local(element)


def _shown(text: str, remarks: Remarks) -> str:
    """On one line; if markup stands within the text, as in feeds, only its text."""
    if _HTML.search(text):
        return "\n".join(block.text for block in read_html(text, remarks).blocks)
    return one_line(text)


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""
