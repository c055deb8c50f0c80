"""Tells a file's format by its content; names and extensions do not count."""

from __future__ import annotations

import re
from enum import StrEnum

from rag_assets.bible.formats.scrollmapper_csv import HEADER
from rag_assets.bible.formats.vref import REFERENCE

_SNIFFED_BYTES = 65_536
_XML_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->|<![A-Z][^\[>]*(?:\[.*?\]\s*)?>)*", re.DOTALL)
_XML_ROOT = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
# More than a bracket: a verse may begin with one.
_JSON_START = re.compile(r'[\[{]\s*(?:[\[{"\]}0-9]|\Z)')
_VERSIFICATION_LINE = re.compile(r"[0-9A-Z]{3}(?: [0-9]+:[0-9]+){2,}")


class FileFormat(StrEnum):
    """What a file is. The values name the formats in a :class:`BibleText`."""

    USFM = "usfm"
    USX = "usx"
    USFX = "usfx"
    OSIS = "osis"
    ZEFANIA = "zefania"
    BODRUK_JSON = "bodruk_json"
    SCROLLMAPPER_CSV = "scrollmapper_csv"
    VREF = "vref"
    COMPANION = "companion"
    """Belongs to a version but holds no text: names of books, a bundle's description."""
    UNKNOWN = "unknown"
    """Perhaps the text beside a ``vref.txt``; otherwise no Bible."""


_XML_ROOTS = {
    "usx": FileFormat.USX,
    "usfx": FileFormat.USFX,
    "osis": FileFormat.OSIS,
    "xmlbible": FileFormat.ZEFANIA,
    "booknames": FileFormat.COMPANION,
    "dblmetadata": FileFormat.COMPANION,
    "license": FileFormat.COMPANION,
    "ldml": FileFormat.COMPANION,
    "stylesheet": FileFormat.COMPANION,
    "versification": FileFormat.COMPANION,
}


def detect_format(data: bytes) -> FileFormat:
    """Looks at the first 64 KiB."""
    head = _head(data)
    if head.startswith("<") and (root := _root_name(head)):
        return _XML_ROOTS.get(root.lower(), FileFormat.UNKNOWN)
    if re.match(r"\\[a-z]", head):
        return FileFormat.USFM
    if _JSON_START.match(head):
        return FileFormat.BODRUK_JSON
    return _line_format([line.strip() for line in head.splitlines() if line.strip()])


def _line_format(lines: list[str]) -> FileFormat:
    """Formats of one record a line, told by their first line that is no comment."""
    first = next((line for line in lines if not line.startswith("#")), "")
    columns = {name.strip('" ').lower() for name in first.split(",")}
    if len(columns & set(HEADER)) > 1:
        return FileFormat.SCROLLMAPPER_CSV
    if REFERENCE.fullmatch(first):
        return FileFormat.VREF
    return FileFormat.COMPANION if _VERSIFICATION_LINE.fullmatch(first) else FileFormat.UNKNOWN


def _head(data: bytes) -> str:
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    sniffed = data[:_SNIFFED_BYTES].decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    return sniffed.lstrip()


def _root_name(head: str) -> str:
    prolog = _XML_PROLOG.match(head)
    root = _XML_ROOT.match(head, prolog.end() if prolog else 0)
    return root[1] if root else ""
