"""Recognise a file's format by its content; a name only shows what holds no verses.

A web page or picture under a book's name is a damaged download, not a companion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from rag_assets.bible.formats.scrollmapper_csv import HEADER
from rag_assets.bible.formats.vref import REFERENCE

_SNIFFED_BYTES = 65_536
_XML_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->|<![A-Z][^\[>]*(?:\[.*?\]\s*)?>)*", re.DOTALL)
_XML_ROOT = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)")
# More than a bracket: a verse may begin with one.
_JSON_ARRAY = re.compile(r'\[\s*(?:[\[{"\]0-9]|\Z)')
_JSON_OBJECT = re.compile(r'\{\s*(?:"|\}|\Z)')
# Counts of verses, verses left out, and mappings: what a .vrs file consists of, beside comments.
_VERSIFICATION_LINE = re.compile(
    r"[0-9A-Z]{3}(?: [0-9]+:[0-9]+){2,}|[-*&#][-&]?\s?[0-9A-Z]{3} .*"
    r"|[0-9A-Z]{3} \S+ = [0-9A-Z]{3} .*"
)


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
    ZIP = "zip"
    """An archive of files, as publishers offer a version for download."""
    COMPANION = "companion"
    """Belongs to a version but holds no text: names of books, settings, a licence, a picture."""
    UNKNOWN = "unknown"
    """Perhaps the text beside a ``vref.txt``; otherwise no Bible."""


_XML_ROOTS = {
    "usx": FileFormat.USX,
    "usfx": FileFormat.USFX,
    "osis": FileFormat.OSIS,
    "xmlbible": FileFormat.ZEFANIA,
}
_COMPANION_ROOTS = frozenset(
    {"booknames", "dblmetadata", "license", "ldml", "stylesheet", "styles", "versification"}
    | {"scripturetext", "schema"}
)
_COMPANION_STEMS = re.compile(
    r"(?:readme|licen[cs]e|copying|copyright|copr|notice|about|metadata|manifest|settings"
    r"|booknames|signature|checksums?)(?:[^a-z].*)?"
    # What Paratext keeps beside the text.
    r"|autocorrect|hyphenatedwords|(?:biblicalterms|interlinear|comments_|notes_|printdraft).*"
    r"|(?:checking|derivedtranslation|parallelpassage|spelling)status|commenttags|notelanguages"
    r"|project(?:progress|updates|user.*)|termrenderings|renderingauxiliaryinfo|lexicon"
    r"|wordanalyses|paratextversionforusers|plugindatamergekeys|canons",
    re.IGNORECASE,
)
_COMPANION_SUFFIXES = frozenset(
    {".vrs", ".css", ".sty", ".ldml", ".lds", ".ssf", ".asc", ".sig", ".xsd", ".htm", ".html"}
    | {".pdf", ".rtf", ".doc", ".docx", ".odt", ".epub", ".md5", ".sha1", ".sha256", ".ini"}
    | {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".tif", ".tiff"}
    | {".ttf", ".otf", ".woff", ".woff2", ".mp3", ".id"}
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A known format of Bibles that is not read.

    :param name: of the format.
    :param remedy: what to do with such a file.
    """

    name: str
    remedy: str


_CONVERTER = "convert it with BibleMultiConverter, for example to USFX"
_ELSEWHERE: tuple[tuple[re.Pattern[str], Elsewhere], ...] = (
    (
        re.compile(r"<bible\b[^>]*>\s*<(?:testament|book)\b", re.IGNORECASE),
        Elsewhere("Beblia XML", _CONVERTER),
    ),
    (
        re.compile(r"<bible\b[^>]*>(?:.*?)<b\s+n=", re.IGNORECASE | re.DOTALL),
        Elsewhere("OpenSong XML", "use the version's USFM, USX, OSIS or Zefania file"),
    ),
    (re.compile(r"<xml_bible\b", re.IGNORECASE), Elsewhere("Haggai XML", _CONVERTER)),
    (
        re.compile(r'\{.*"(?:books|chapters|verses|resultset)"\s*:', re.DOTALL),
        Elsewhere(
            "the JSON of scrollmapper or its kind",
            "use that project's CSV of the same version, or convert it with jq (docs/bible.md)",
        ),
    ),
    (
        re.compile(r"<verseFile\b|(?:[0-9A-Z]{3} [0-9]+:[0-9]+ \S.*\n){2}"),
        Elsewhere("eBible.org's verse per line", "download the version's USFM instead"),
    ),
    (
        re.compile(r"SQLite format 3"),
        Elsewhere("an SQLite database (MyBible, MySword, e-Sword)", _CONVERTER),
    ),
)


def recognise(name: str, data: bytes) -> FileFormat:
    """The format of a file, from its first 64 KiB.

    :param name: without folders. It counts only where the content is in no format of texts, and for
        a versification, which may look like a list of references.
    """
    found = _by_content(data)
    if found in (FileFormat.UNKNOWN, FileFormat.VREF, FileFormat.ZIP):
        file = PurePath(name)
        if file.suffix.lower() in _COMPANION_SUFFIXES:
            return FileFormat.COMPANION
        if found is FileFormat.UNKNOWN and _COMPANION_STEMS.fullmatch(file.stem):
            return FileFormat.COMPANION
    return found


def known_elsewhere(data: bytes) -> Elsewhere | None:
    """The known format of a file that is not read, if it is in one."""
    head = _head(data)
    prolog = _XML_PROLOG.match(head)
    start = prolog.end() if prolog and head.startswith("<") else 0
    return next((known for pattern, known in _ELSEWHERE if pattern.match(head, start)), None)


def _by_content(data: bytes) -> FileFormat:
    if data.startswith(b"PK\x03\x04"):
        return FileFormat.ZIP
    head = _head(data)
    if head.startswith("<") and (root := _root_name(head).lower()):
        if root in _COMPANION_ROOTS:
            return FileFormat.COMPANION
        return _XML_ROOTS.get(root, FileFormat.UNKNOWN)
    if re.match(r"\\[a-z]", head):
        return FileFormat.USFM
    if _JSON_ARRAY.match(head):
        return FileFormat.BODRUK_JSON
    if _JSON_OBJECT.match(head):
        return FileFormat.UNKNOWN
    return _line_format([line.strip() for line in head.splitlines() if line.strip()])


def _line_format(lines: list[str]) -> FileFormat:
    """Formats of one record per line, recognised by the lines that are no comments."""
    records = [line for line in lines if not line.startswith("# ")]
    first = records[0] if records else ""
    columns = {name.strip('" ').lower() for name in first.split(",")}
    if len(columns & set(HEADER)) > 1:
        return FileFormat.SCROLLMAPPER_CSV
    if any(map(_VERSIFICATION_LINE.fullmatch, records[:100])) and all(
        _VERSIFICATION_LINE.fullmatch(line) or REFERENCE.fullmatch(line) for line in records[:100]
    ):
        return FileFormat.COMPANION
    return FileFormat.VREF if REFERENCE.fullmatch(first) else FileFormat.UNKNOWN


def _head(data: bytes) -> str:
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    sniffed = data[:_SNIFFED_BYTES].decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    return sniffed.lstrip()


def _root_name(head: str) -> str:
    prolog = _XML_PROLOG.match(head)
    root = _XML_ROOT.match(head, prolog.end() if prolog else 0)
    return root[1] if root else ""
