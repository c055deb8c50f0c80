"""Excel workbooks (``xlsx``) into blocks, row by row: a large one takes little memory.

Hidden sheets are left out. What a cell shows is its stored value; dates are ISO 8601.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from rag_assets.documents.formats.archive import refuse_damaged
from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError

_BOOK = "xl/workbook.xml"
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_NO_DATE_SIGNS = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
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
                _date_styles(archive),
                datetime(1904, 1, 1) if _is_1904(book) else datetime(1899, 12, 30),
            )
            blocks: list[Block] = []
            for title, path, hidden in _sheets(archive, book):
                if hidden:
                    remarks.left_out("hidden sheet", title)
                elif rows := "\n".join(workbook.lines(path)):
                    blocks += (heading(title, 2), Block(rows))
            title = _title(archive)
    except (ParseError, DefusedXmlException, KeyError, ValueError, OverflowError) as error:
        reason = one_line(clean(str(error)))[:200]
        raise CorruptDocumentError(
            name, f"it cannot be opened, it is cut off or damaged ({reason}): fetch the file again"
        ) from error
    return Reading(blocks, title)


@dataclass(frozen=True, slots=True)
class _Workbook:
    """What the cells of its sheets refer to.

    :param date_styles: whether a number in the style of this place is a date.
    """

    archive: zipfile.ZipFile
    texts: Sequence[str]
    date_styles: Sequence[bool]
    epoch: datetime

    def lines(self, path: str) -> Iterator[str]:
        """The rows of a sheet that are not blank; a line below the first marks it as the head."""
        is_first = True
        with self.archive.open(path) as part:
            for row in _elements(part, "row"):
                cells = self._cells(row)
                if cells:
                    yield f"| {' | '.join(cells)} |"
                    if is_first:
                        yield f"| {' | '.join(['---'] * len(cells))} |"
                        is_first = False

    def _cells(self, row: Element) -> list[str]:
        """Each in its column, up to the last that is not blank."""
        cells: list[str] = []
        for cell in row:
            if _local(cell) != "c":
                continue
            text = self._text(cell)
            column = _column(cell.get("r"), len(cells))
            if text and column < _WIDEST:
                cells += [""] * (column - len(cells))
                cells[column:] = [text]
        return cells

    def _text(self, cell: Element) -> str:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _joined(cell)
        value = next((part.text or "" for part in cell if _local(part) == "v"), "")
        if kind == "s":
            return self.texts[int(value)] if value else ""
        if kind == "b":
            return {"1": "true", "0": "false"}.get(value, value)
        if kind != "n" or not value:
            return one_line(clean(value))
        style = int(cell.get("s", "0"))
        if style < len(self.date_styles) and self.date_styles[style]:
            return _date(float(value), self.epoch)
        return _number(value)


def _elements(part: IO[bytes], name: str) -> Iterator[Element]:
    """The elements of this name, one at a time: what was passed on is forgotten."""
    parents: list[Element] = []
    for event, element in iterparse(part, events=("start", "end")):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _local(element) == name:
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


def _date_styles(archive: zipfile.ZipFile) -> list[bool]:
    if "xl/styles.xml" not in archive.namelist():
        return []
    styles = fromstring(archive.read("xl/styles.xml"))
    own = {
        int(one.get("numFmtId", "0")): _is_date(one.get("formatCode", ""))
        for one in styles.iter()
        if _local(one) == "numFmt"
    }
    formats = [
        int(one.get("numFmtId", "0"))
        for group in styles
        if _local(group) == "cellXfs"
        for one in group
    ]
    return [own.get(number, number in _DATE_FORMATS) for number in formats]


def _is_date(code: str) -> bool:
    return _DATE_SIGNS.search(_NO_DATE_SIGNS.sub("", code.partition(";")[0])) is not None


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


def _number(value: str) -> str:
    """As it is shown: ``0.1`` is stored as ``0.10000000000000001``."""
    if value.lstrip("-").isdecimal():
        return value
    return repr(float(value)).removesuffix(".0")


def _local(element: Element) -> str:
    return element.tag.rsplit("}", 1)[-1]
