"""USFM 2 and 3, parsed by the USFM committee's reference parser (``usfmtc``).

That parser repairs what it can and says so. What it would swallow in silence (a footnote
that never ends takes the rest of the chapter with it) is looked for before.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from usfmtc import Grammar, USFMParser
from usfmtc.xmlutils import ParentElement

from rag_assets.corpus.bible.files import decode
from rag_assets.corpus.bible.passages import Collector, Source
from rag_assets.corpus.bible.text import BOUNDARY
from rag_assets.corpus.bible.usx_tree import UsxVisitor
from rag_assets.corpus.bible.xml_source import walk
from rag_assets.errors import CorpusError

_MARKER = re.compile(r"\\\+?([a-z]+[0-9]*(?:-[se])?)(\*?)|\\\s*\Z")
_CHAPTER_OR_BOOK = re.compile(r"\\(?:c(?=[\s0-9])|id(?=\s))")
_REMARK = re.compile(r"\\rem\b[^\n]*")
_NO_BREAK_SPACE = re.compile(r"(?<!\\)~")
_NUMBERLESS_VERSE = re.compile(r"\\v\s+(?=[^\s0-9\u200e\u200f])")
_GLUED_NUMBER = re.compile(r"\\([cv])(?=[0-9])")
_DOUBLED_BACKSLASH = re.compile(r"\\\\(?=[a-z])")
_LINE_OF_PUNCTUATION = re.compile(r"\n(?=[,.;:!?)\]”])")
_SWALLOWING = frozenset({"f", "fe", "ef", "efe", "x", "ex", "fig"})
_SPANS = frozenset({"char", "listchar"})
_WITHIN_PARAGRAPHS = _SPANS | {"attribute", "footnotechar", "crossreferencechar", "milestone"}
_VERSION = [3, 1]  # the reference parser's own default


def read_usfm(path: Path, data: bytes) -> Source:
    """Passages of one USFM file, which may hold several books.

    :raises CorpusError: for a wrong encoding, a note or span that is never closed, an unknown
        book or a bad number.
    """
    # Remarks talk about markers (\\rem … \\b) that nobody means.
    text = _REMARK.sub("", decode(path, data))
    if re.match(r"\s*\\id\s", text) is None:
        raise CorpusError(path, r"does not begin with \id and a book code: add that line", line=1)
    _refuse_unclosed(path, text)
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
        walk(root, self._visitor)
        self._collector.end_verse()
        for detail in repairs:
            self._collector.note(detail)
        for message, line in complaints:
            self._collector.note(f"line {line}: {message}")

    def finish(self) -> Source:
        self._visitor.finish_book()
        return self._collector.finish()

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


def _repair(part: str) -> tuple[str, list[str]]:
    """Puts right what the parser would turn into lost or glued words; lines stay the same."""
    text, doubled = _DOUBLED_BACKSLASH.subn(r"\\", part)
    text, glued = _GLUED_NUMBER.subn(r"\\\1 ", text)
    text, numberless = _NUMBERLESS_VERSE.subn(" ", text)
    text = _NO_BREAK_SPACE.sub("\u00a0", text)  # the parser drops ~ and joins the words
    # Where each marker stands on a line of its own, so does the comma after it (PT_BLIVRE).
    text = _LINE_OF_PUNCTUATION.sub(f"{BOUNDARY}\n", text)
    repairs = []
    if doubled:
        repairs.append(f"{doubled} markers with two backslashes; read with one")
    if glued:
        repairs.append(f"{glued} numbers glued to their marker; read apart")
    if numberless:
        repairs.append(f"{numberless} verse markers without a number; text kept")
    return text, repairs


def _refuse_unclosed(path: Path, text: str) -> None:
    """Raises where a note or figure is still open at a verse, a chapter or the file's end.

    So does a span (``\\add``) at the file's end: a cut file looks like that.
    """
    note: tuple[str, int] | None = None
    spans: list[tuple[str, int]] = []
    for match in _MARKER.finditer(text):
        name, closing = match.groups()
        if name is None:
            raise _unclosed(path, text, "", match.start())
        category = Grammar.marker_categories.get(name)
        if name in _SWALLOWING:
            if note and not closing:
                break
            note = None if closing else (name, match.start())
        elif note and name in {"v", "c", "id"}:
            break
        elif note is None and category in _SPANS:
            spans = _after(spans, name, closing, match.start())
        elif note is None and name not in {"v", "fig"} and category not in _WITHIN_PARAGRAPHS:
            spans = []
    if note or spans:
        raise _unclosed(path, text, *(note or spans[-1]))


def _after(
    spans: list[tuple[str, int]], name: str, closing: str, position: int
) -> list[tuple[str, int]]:
    """The open spans after one more marker."""
    if not closing:
        return [*spans, (name, position)]
    names = [open_name for open_name, _ in spans]
    return spans[: len(names) - 1 - names[::-1].index(name)] if name in names else spans


def _unclosed(path: Path, text: str, name: str, position: int) -> CorpusError:
    reason = rf"\{name} is not closed (cut off?): close it with \{name}* or fetch the file again"
    if not name:
        reason = "ends in the middle of a marker (cut off?): fetch the file again"
    return CorpusError(path, reason, line=text.count("\n", 0, position) + 1)
