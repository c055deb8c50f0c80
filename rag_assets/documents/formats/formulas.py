"""Formulas of Word (OMML) on one line: ``1/2``, ``10^6``, ``a_i``."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

_PREFIX = re.compile(rb"(</?|\s)\w+:(?=\w)")
_TEXT = re.compile(rb"<t(?:\s[^>]*)?>([^<]*)</")


def formula_text(markup: bytes) -> str:
    """What is between the tags of a formula."""
    bare = _PREFIX.sub(rb"\1", markup)
    try:
        return _line(fromstring(b"<oMath>" + bare + b"</oMath>"))
    except (ParseError, DefusedXmlException, ValueError):
        return b" ".join(_TEXT.findall(bare)).decode("utf-8", "replace")


def _line(element: Element) -> str:
    """Its terms; a blank between two that would make another number or name."""
    line = ""
    follows_term = False
    for child in element:
        text = _term(child)
        is_term = child.tag != "r"
        if line and text and (is_term or follows_term) and line[-1].isalnum() and text[0].isalnum():
            line += " "
        line += text
        follows_term = is_term
    return line


def _term(element: Element) -> str:
    kind = element.tag
    if kind == "t":
        return element.text or ""
    if kind.endswith("Pr"):
        return ""
    if kind == "f":
        return f"{_grouped(element, 'num')}/{_grouped(element, 'den')}"
    if kind in ("sSup", "sSub", "sSubSup", "nary", "limLow", "limUpp"):
        below = _grouped(element, "sub") or (_grouped(element, "lim") if kind == "limLow" else "")
        above = _grouped(element, "sup") or (_grouped(element, "lim") if kind == "limUpp" else "")
        scripts = (f"_{below}" if below else "") + (f"^{above}" if above else "")
        if kind == "nary":
            return f"{_value(element, 'chr', '∫')}{scripts} {_part(element, 'e')}"
        return f"{_grouped(element, 'e')}{scripts}"
    if kind == "rad":
        degree = _part(element, "deg")
        return f"{f'{degree} ' if degree else ''}√{_grouped(element, 'e')}"
    if kind == "d":
        terms = _value(element, "sepChr", "|").join(_line(one) for one in element.findall("e"))
        return _value(element, "begChr", "(") + terms + _value(element, "endChr", ")")
    if kind in ("func", "eqArr", "m", "mr"):
        return " ".join(text for child in element if (text := _term(child)))
    return _line(element)


def _part(element: Element, name: str) -> str:
    part = element.find(name)
    return "" if part is None else _line(part)


def _grouped(element: Element, name: str) -> str:
    """A part, in brackets if it has several terms."""
    text = _part(element, name)
    return text if len(text) < 2 or text.isalnum() else f"({text})"


def _value(element: Element, name: str, usual: str) -> str:
    found = element.find(f"*/{name}")
    return usual if found is None else found.get("val", usual)
