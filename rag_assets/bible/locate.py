"""Where a verse is in its version's files: the file, and the line of its number.

The files are searched for the marks of books, chapters and verses, not read: that takes
milliseconds, and is enough to open an editor at the right place.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rag_assets.bible.books import CANON, book_code
from rag_assets.bible.files import decode, opened_sources
from rag_assets.bible.formats.detect import FileFormat, recognise
from rag_assets.bible.formats.passages import parse_verse_number
from rag_assets.errors import CorpusError

VerseKey = tuple[str, int, int]
"""USFM code of the book, chapter and verse."""


@dataclass(frozen=True)
class SourceLine:
    """A file below the version's folder, and a line of it, from 1."""

    file: str
    line: int


_ATTRIBUTE = r'[^<>]{0,500}?\s(?:%s)\s*=\s*["\']([^"\'<>]{1,200})["\']'  # bounded: no file is slow
_MARKS: Mapping[FileFormat, re.Pattern[str]] = {
    FileFormat.USFM: re.compile(r"\\id\s+(\w{3})|\\c\s*([0-9]+)|\\v\s*([0-9][^\s\\]*)"),
    FileFormat.USX: re.compile(
        f"<book{_ATTRIBUTE % 'code'}|<chapter{_ATTRIBUTE % 'number'}|<verse{_ATTRIBUTE % 'number'}"
    ),
    FileFormat.USFX: re.compile(
        f"<book{_ATTRIBUTE % 'id'}|<c(?=\\s){_ATTRIBUTE % 'id'}|<v(?=\\s){_ATTRIBUTE % 'id'}"
    ),
    FileFormat.ZEFANIA: re.compile(
        f"<BIBLEBOOK{_ATTRIBUTE % 'bnumber'}|<CHAPTER{_ATTRIBUTE % 'cnumber'}"
        f"|<VERS{_ATTRIBUTE % 'vnumber'}",
        re.IGNORECASE,
    ),
}
_OSIS = re.compile(f"<verse{_ATTRIBUTE % 'osisID|sID'}")
_OSIS_ID = re.compile(r"(?:[^:\s]+:)?([^.\s:]+)\.([0-9]+)\.([0-9]+)\S*")
_VREF = re.compile(r"^([0-9A-Z]{3}) ([0-9]{1,3}):([0-9]{1,3})\s*$", re.MULTILINE)


def lines_of(
    folder: Path, wanted: Collection[VerseKey], *, most_bytes: int
) -> dict[VerseKey, SourceLine]:
    """Find these verses; those that the files do not have, or not on a line, are left out.

    :raises CorpusError: the folder cannot be read, or holds more than ``most_bytes``.
    """
    files = {
        file.name: stream.read()
        for file, stream, _ in opened_sources(folder, most_bytes=most_bytes)
    }
    formats = {name: recognise(Path(name).name, data) for name, data in files.items()}
    found: dict[VerseKey, SourceLine] = {}
    for name, data in files.items():
        shown = _text_beside(name, formats)
        for key, line in _marked(Path(name), data, formats[name]):
            if key in wanted:
                found.setdefault(key, SourceLine(shown, line))
    return found


def _text_beside(name: str, formats: Mapping[str, FileFormat]) -> str:
    """The file with the text: beside a list of references, it is the other one."""
    if formats[name] is not FileFormat.VREF:
        return name
    texts = [one for one, kind in formats.items() if kind is FileFormat.UNKNOWN]
    return texts[0] if len(texts) == 1 else name


def _marked(path: Path, data: bytes, kind: FileFormat) -> Iterator[tuple[VerseKey, int]]:
    """The verses of one file with their lines, each verse of a bridge by itself."""
    try:
        text = decode(path, data)
    except CorpusError:
        return  # a picture beside the text, for example
    if kind in _MARKS:
        marks = _walked(text, _MARKS[kind], by_number=kind is FileFormat.ZEFANIA)
    elif kind is FileFormat.OSIS:
        marks = _of_osis(text)
    elif kind is FileFormat.VREF:
        marks = ((m.start(), (m[1], int(m[2])), m[3]) for m in _VREF.finditer(text))
    elif kind is FileFormat.SCROLLMAPPER_CSV:
        yield from _of_csv(text)
        return
    else:
        return
    line, counted = 1, 0
    for start, (book, chapter), printed in marks:
        line, counted = line + text.count("\n", counted, start), start
        for verse in _numbers(printed):
            yield (book, chapter, verse), line


def _walked(
    text: str, marks: re.Pattern[str], *, by_number: bool
) -> Iterator[tuple[int, tuple[str, int], str]]:
    book, chapter = "", 0
    for mark in marks.finditer(text):
        code, number, verse = mark.groups()
        if code is not None:
            place = int(code) if by_number and code.isdecimal() else 0
            book = CANON[place - 1] if 0 < place <= len(CANON) else code.upper()
        elif number is not None:
            chapter = int(number) if number.isdecimal() else 0
        else:
            yield mark.start(), (book, chapter), verse


def _of_osis(text: str) -> Iterator[tuple[int, tuple[str, int], str]]:
    for mark in _OSIS.finditer(text):
        for name, chapter, verse in _OSIS_ID.findall(mark[1]):
            yield mark.start(), (book_code(name) or "", int(chapter)), verse


def _of_csv(text: str) -> Iterator[tuple[VerseKey, int]]:
    rows = csv.reader(io.StringIO(text, newline=""))
    line = 1
    try:
        for row in rows:
            if len(row) == 4 and row[1].strip().isdecimal():
                for verse in _numbers(row[2]):
                    yield (book_code(row[0]) or "", int(row[1]), verse), line
            line = rows.line_num + 1
    except csv.Error:
        return


def _numbers(printed: str) -> range:
    number = parse_verse_number(printed)
    return range(number.start, number.end + 1) if number else range(0)
