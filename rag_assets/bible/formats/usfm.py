"""USFM 2 and 3, parsed by the USFM committee's reference parser (``usfmtc``).

That parser repairs what it can and reports it. What it would drop without a report is searched for
before, by :mod:`.usfm_markers`, and after: each verse of the file must have been met.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from usfmtc import Grammar, USFMParser
from usfmtc.xmlutils import ParentElement

from rag_assets.bible.files import decode
from rag_assets.bible.formats.passages import Collector, Source
from rag_assets.bible.formats.text import BOUNDARY, INVISIBLE, visible_only
from rag_assets.bible.formats.usfm_markers import refuse_swallowing
from rag_assets.bible.formats.usx_tree import UsxVisitor
from rag_assets.bible.formats.xml_source import walk
from rag_assets.errors import CorpusError

_CHAPTER_OR_BOOK = re.compile(r"\\(?:c(?=[\s0-9])|id(?=\s))")
_REMARK = re.compile(r"\\rem\b[^\n]*")
_NO_BREAK_SPACE = re.compile(r"(?<!\\)~")
_MARKS_AROUND_NUMBER = re.compile(rf"\\([cv])[ \t]*([{INVISIBLE}]*[0-9][^\s\\]*)")
_NUMBERLESS_VERSE = re.compile(r"\\v\s+(?=[^\s0-9])")
_GLUED_NUMBER = re.compile(r"\\([cv])(?=[0-9])")
_DOUBLED_BACKSLASH = re.compile(r"\\\\(?=[a-z])")
_LINE_OF_PUNCTUATION = re.compile(
    # Whatever ends the line before: after an opening marker the text only begins.
    r"(\\(?:[vc][ \t]+\S+|\+?[a-z]+[0-9]*(?:-[se])?)[ \t]*)?\n(?=[,.;:!?)\]”])"
)
_VERSE = re.compile(r"\\v(?=\s)")
_VERSION = [3, 1]  # the reference parser's own default


def read_usfm(path: Path, data: bytes) -> Source:
    """Passages of one USFM file, which may hold several books.

    :raises CorpusError: for a wrong encoding, a note or span that is never closed, an unknown
        book or a bad number.
    """
    # Remarks mention markers (\\rem … \\b) that mark nothing.
    text = _REMARK.sub("", decode(path, data))
    if re.match(r"\s*\\id\s", text) is None:
        raise CorpusError(path, r"does not begin with \id and a book code: add that line", line=1)
    refuse_swallowing(path, text)
    reader = _PartReader(path)
    for first_line, part in _parts(text):
        reader.read(first_line, part)
    return reader.finish()


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Books' heads and chapters, each with the lines before it.

    The parser copies the rest of its text at every marker, so that its time grows with the
    square of the length: chapters are parsed one by one.
    """
    starts = [match.start() for match in _CHAPTER_OR_BOOK.finditer(text)]
    line = text.count("\n", 0, starts[0])
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield line, text[start:end]
        line += text.count("\n", start, end)


class _PartReader:
    """Feeds one file's parts through the parser and the walk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._collector = Collector(path)
        self._visitor = UsxVisitor(path, self._collector, self._line_of)
        self._grammar = Grammar()
        self._lines_before = 0

    def read(self, lines_before: int, part: str) -> None:
        self._lines_before = lines_before
        repaired, repairs = _repair(part)
        root, complaints = self._parse(repaired)
        verses_before = len(self._visitor.verse_lines)
        walk(root, self._visitor)
        self._refuse_unmet(repaired, self._visitor.verse_lines[verses_before:])
        self._collector.end_verse()
        for detail in repairs:
            self._collector.note(detail)
        for message, line in complaints:
            self._collector.note(f"line {line}: {message}")

    def finish(self) -> Source:
        self._visitor.finish_book()
        return self._collector.finish()

    def _refuse_unmet(self, part: str, met: list[int | None]) -> None:
        """Where markup has swallowed verses: a sidebar that is not closed, for example."""
        written = [
            self._lines_before + part.count("\n", 0, verse.start()) + 1
            for verse in _VERSE.finditer(part)
        ]
        if len(met) < len(written):
            line = next((line for line in written if line not in met), written[-1])
            reason = (
                "this verse is lost in markup that is not closed before it (a sidebar?): close it"
            )
            raise CorpusError(self._path, reason, line=line)

    def _parse(self, part: str) -> tuple[ParentElement, list[tuple[str, int]]]:
        parser = USFMParser(
            part, factory=ParentElement, grammar=self._grammar, version=list(_VERSION)
        )
        try:
            root = parser.parse()
        # On markup that it cannot repair, the parser fails wherever it happens to stand.
        except Exception as error:
            reason = f"markup that cannot be parsed in this chapter ({error!r}): correct it"
            raise CorpusError(self._path, reason, line=self._lines_before + 1) from error
        complaints = [
            (message, self._lines_before + position.l + 1) for message, position, _ in parser.errors
        ]
        return root, complaints

    def _line_of(self, element: ET.Element) -> int | None:
        position = getattr(element, "pos", None)
        return None if position is None else self._lines_before + position.l + 1


def _without_marks(match: re.Match[str]) -> str:
    printed = visible_only(match[2])
    return match[0] if printed == match[2] else f"\\{match[1]} {printed}"


def _repair(part: str) -> tuple[str, list[str]]:
    """Correct what the parser would turn into lost or glued words; lines stay the same."""
    text, doubled = _DOUBLED_BACKSLASH.subn(r"\\", part)
    text = _MARKS_AROUND_NUMBER.sub(_without_marks, text)
    text, glued = _GLUED_NUMBER.subn(r"\\\1 ", text)
    text, numberless = _NUMBERLESS_VERSE.subn(" ", text)
    text = _NO_BREAK_SPACE.sub("\u00a0", text)  # the parser drops ~ and joins the words
    # Where each marker stands on a line of its own, so does the comma after it (PT_BLIVRE).
    text = _LINE_OF_PUNCTUATION.sub(lambda found: found[0] if found[1] else f"{BOUNDARY}\n", text)
    repairs = []
    if doubled:
        repairs.append(f"{doubled} markers with two backslashes; read with one")
    if glued:
        repairs.append(f"{glued} numbers glued to their marker; read apart")
    if numberless:
        repairs.append(f"{numberless} verse markers without a number; text kept")
    return text, repairs
