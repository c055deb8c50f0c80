"""Excel workbooks (``xlsx``) into blocks, row by row: a large one takes little memory.

Hidden sheets, rows and columns are left out. What a cell shows is its stored value; dates are ISO
8601.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import IO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from rag_assets.documents.formats.archive import refuse_damaged, report_comments
from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError

_BOOK = "xl/workbook.xml"
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_DURATION_FORMAT = 46
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.')
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_BRACKETS = re.compile(r"\[[^\]]*\]")
_COMMENTS = re.compile(r"xl/(?:comments/)?comments?\d*\.xml")
_DATE_SIGNS = re.compile("[ymdhs]", re.IGNORECASE)
_LETTERS = re.compile("[A-Z]+")
_WIDEST = 16_384  # columns, which is Excel's limit


def read_workbook(content: bytes, name: str, remarks: Remarks, *, most: int) -> Reading:
    """Each sheet's name as a heading, its rows as lines.

    :param most: bytes that the archive may expand to.
    :raises DocumentTooLargeError: it would expand to more.
    :raises CorruptDocumentError: it cannot be opened.
    """
    refuse_damaged(content, name, most)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            book = fromstring(archive.read(_BOOK))
            workbook = _Workbook(
                archive,
                _shared_texts(archive),
                _styles(archive),
                datetime(1904, 1, 1) if _is_1904(book) else datetime(1899, 12, 30),
                remarks,
            )
            blocks: list[Block] = []
            for title, path, hidden in _sheets(archive, book):
                if hidden:
                    remarks.left_out("hidden sheet", title)
                elif rows := "\n".join(workbook.lines(title, path)):
                    blocks += (heading(title, 2), Block(rows))
            report_comments(archive, _COMMENTS, "comment", remarks)
            title = _title(archive)
    except (ParseError, DefusedXmlException, KeyError, ValueError, OverflowError) as error:
        reason = one_line(clean(str(error)))[:200]
        raise CorruptDocumentError(
            name, f"it cannot be opened, it is cut off or damaged ({reason}): fetch the file again"
        ) from error
    return Reading(blocks, title)


class _Shown(Enum):
    """What the format of a cell makes of its number."""

    NUMBER = "number"
    DATE = "date"
    DURATION = "duration"


@dataclass(frozen=True, slots=True)
class _Workbook:
    """What the cells of its sheets refer to.

    :param styles: how a number in the style of this place is shown.
    """

    archive: zipfile.ZipFile
    texts: Sequence[str]
    styles: Sequence[_Shown]
    epoch: datetime
    remarks: Remarks

    def lines(self, sheet: str, path: str) -> Iterator[str]:
        """The rows of a sheet that are not blank; a line below the first marks it as the head."""
        is_first = True
        hidden: set[int] = set()
        with self.archive.open(path) as part:
            for row in _elements(part, "row", "col"):
                if _local(row) == "col":
                    if _is_hidden(row, "width"):
                        first, last = int(row.get("min", "1")), int(row.get("max", "0"))
                        hidden.update(range(first - 1, min(last, _WIDEST)))
                    continue
                if _is_hidden(row, "ht"):
                    if len(row):
                        self.remarks.left_out("hidden row", f"{sheet} {row.get('r', '')}")
                    continue
                if cells := self._cells(row, sheet, hidden):
                    yield f"| {' | '.join(cells)} |"
                    if is_first:
                        yield f"| {' | '.join(['---'] * len(cells))} |"
                        is_first = False

    def _cells(self, row: Element, sheet: str, hidden: set[int]) -> list[str]:
        """Each in its column, up to the last that is not blank, without hidden columns."""
        cells: list[str] = []
        following = 0
        for cell in row:
            if _local(cell) != "c":
                continue
            column = _column(cell.get("r"), following)
            following = column + 1
            if column in hidden:
                if len(cell):
                    self.remarks.left_out("cell of a hidden column", f"{sheet}!{cell.get('r', '')}")
            elif (text := self._text(cell, sheet)) and column < _WIDEST:
                cells += [""] * (column - len(cells))
                cells[column:] = [text]
        if hidden:
            return [text for column, text in enumerate(cells) if column not in hidden]
        return cells

    def _text(self, cell: Element, sheet: str) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _joined(cell)
        value = next((part.text or "" for part in cell if _local(part) == "v"), "")
        place = f"{sheet}!{cell.get('r', '')}"
        if not value:
            if kind != "str" and any(_local(part) == "f" for part in cell):
                self.remarks.lost("formula without a stored value", place)
            return ""
        try:
            return self._shown(kind, value, int(cell.get("s", "0")))
        except (ValueError, OverflowError, IndexError):
            if kind == "s":
                self.remarks.lost("text of a cell that is not in the file", place)
                return ""
            value = one_line(clean(value))
            self.remarks.repaired("impossible date or number, kept as stored", f"{place}: {value}")
            return value

    def _shown(self, kind: str, value: str, style: int) -> str:
        if kind == "s":
            return self.texts[_from_zero(int(value))]
        if kind == "b":
            return {"1": "true", "0": "false"}.get(value, value)
        if kind != "n":
            return one_line(clean(value))
        shown = self.styles[style] if 0 <= style < len(self.styles) else _Shown.NUMBER
        if shown is _Shown.DATE:
            return _date(float(value), self.epoch)
        return _duration(float(value)) if shown is _Shown.DURATION else _number(value)


def _is_hidden(element: Element, size: str) -> bool:
    """Of a row or column: hidden, or without height or width."""
    return element.get("hidden") in ("1", "true") or element.get(size) == "0"


def _from_zero(place: int) -> int:
    if place < 0:
        raise IndexError(place)
    return place


def _elements(part: IO[bytes], *names: str) -> Iterator[Element]:
    """The elements of these names, one at a time: what was passed on is forgotten."""
    parents: list[Element] = []
    for event, element in iterparse(part, events=("start", "end")):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _local(element) in names:
            yield element
            if parents:
                parents[-1].clear()


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    path = "xl/sharedStrings.xml"
    if path not in archive.namelist():
        return []
    with archive.open(path) as part:
        return [_joined(text) for text in _elements(part, "si")]


def _joined(element: Element) -> str:
    """The text of its runs, without that of phonetic guides."""
    texts = [one.text or "" for one in element.iter() if _local(one) == "t"]
    for guide in element.iter():
        if _local(guide) == "rPh":
            texts = texts[: -sum(_local(one) == "t" for one in guide.iter()) or None]
    return one_line(clean("".join(texts)))


def _styles(archive: zipfile.ZipFile) -> list[_Shown]:
    if "xl/styles.xml" not in archive.namelist():
        return []
    styles = fromstring(archive.read("xl/styles.xml"))
    own = {
        int(one.get("numFmtId", "0")): _by_code(one.get("formatCode", ""))
        for one in styles.iter()
        if _local(one) == "numFmt"
    }
    formats = [
        int(one.get("numFmtId", "0"))
        for group in styles
        if _local(group) == "cellXfs"
        for one in group
    ]
    return [own.get(number) or _by_number(number) for number in formats]


def _by_number(number: int) -> _Shown:
    if number == _DURATION_FORMAT:
        return _Shown.DURATION
    return _Shown.DATE if number in _DATE_FORMATS else _Shown.NUMBER


def _by_code(code: str) -> _Shown:
    code = _LITERAL.sub("", code).partition(";")[0]
    if _ELAPSED.search(code):
        return _Shown.DURATION
    return _Shown.DATE if _DATE_SIGNS.search(_BRACKETS.sub("", code)) else _Shown.NUMBER


def _sheets(archive: zipfile.ZipFile, book: Element) -> Iterator[tuple[str, str, bool]]:
    """Name, path and whether it is hidden; of worksheets, in their order."""
    relations = fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    targets = {
        one.get("Id", ""): one.get("Target", "")
        for one in relations
        if one.get("Type", "").endswith("/worksheet")
    }
    for sheet in book.iter():
        if _local(sheet) != "sheet":
            continue
        key = next((value for name, value in sheet.items() if name.endswith("}id")), "")
        if target := targets.get(key):
            path = posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")
            yield sheet.get("name", ""), path, sheet.get("state", "visible") != "visible"


def _title(archive: zipfile.ZipFile) -> str:
    if "docProps/core.xml" not in archive.namelist():
        return ""
    core = fromstring(archive.read("docProps/core.xml"))
    return one_line(clean(next((one.text or "" for one in core if _local(one) == "title"), "")))


def _is_1904(book: Element) -> bool:
    found = (one.get("date1904", "") for one in book if _local(one) == "workbookPr")
    return next(found, "") in ("1", "true")


def _column(reference: str | None, following: int) -> int:
    """From 0: that of ``BC12``; without a reference the next one."""
    found = _LETTERS.match(reference or "")
    if found is None:
        return following
    column = 0
    for letter in found.group():
        column = 26 * column + ord(letter) - ord("A") + 1
    return column - 1


def _date(days: float, epoch: datetime) -> str:
    moment = epoch + timedelta(seconds=round(days * 86_400))
    if 0 <= days < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if days == int(days) else moment.isoformat(" ")


def _duration(days: float) -> str:
    """Hours, minutes and seconds, however many hours."""
    minutes, seconds = divmod(round(abs(days) * 86_400), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if days < 0 else ''}{hours}:{minutes:02}:{seconds:02}"


def _number(value: str) -> str:
    """As it is shown: ``0.1`` is stored as ``0.10000000000000001``."""
    if value.lstrip("-").isdecimal():
        return value
    return repr(float(value)).removesuffix(".0")


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1]
