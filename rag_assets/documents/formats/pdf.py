"""PDF into blocks, by PDFium: lines in the order in which they were written, with their pages.

What a line looks like decides what it is: larger letters than most are a heading's, a wide gap
begins a passage. Pages without text are pictures; those are read by OCR, where it is wanted.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pypdfium2
from pypdfium2.raw import (
    FPDF_ERR_PASSWORD,
    FPDF_ERR_SECURITY,
    FPDFText_GetCharIndexFromTextIndex,
)

from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.packaged import read_picture
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError, EncryptedDocumentError

_LARGER = 1.15  # times the usual size: from there on it is a heading's
_HEADING_LINES = 3  # what is longer is a passage in large letters
_DEEPEST = 6
_GAP = 0.6  # of a line's height, between two passages; within one it is 0.0 to 0.4
_EDGE = 2  # lines at the top and at the bottom of a page that may be running ones
_FEWEST_PAGES = 3  # on which a line must stand to be a running one
_OCR_DOTS = 300  # an inch; Tesseract is made for that

_LIGATURES = dict(
    zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "ft", "st"), strict=True)
)
_DIVIDED = re.compile(r"(\w)[\x02\ufffe\xad]\n?(\w)")  # the hyphen of a word over two lines
_HYPHEN = re.compile(r"[\x02\ufffe\xad]")
_LEADERS = re.compile(r"(?:\. ?){4}")  # the dots between a title and its page in a list of contents


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a page, from 1; its letters' height and its edges, in points from below."""

    text: str
    page: int
    size: float
    top: float
    bottom: float


def read_pdf(content: bytes, name: str, *, ocr: bool) -> Reading:
    """Headings and passages of a PDF, with their pages.

    :param ocr: read pages that are pictures, too.
    :raises EncryptedDocumentError: it opens with a password only.
    :raises CorruptDocumentError: it cannot be opened.
    :raises NoTextError: OCR is wanted, and no language is installed.
    """
    try:
        with pypdfium2.PdfDocument(content) as document:
            pages = [_lines(document, place) for place in range(len(document))]
            pictures = {
                place + 1: _picture(document, place, name)
                for place, lines in enumerate(pages)
                if ocr and not lines
            }
            title = one_line(clean(document.get_metadata_value("Title")))
    except pypdfium2.PdfiumError as error:
        raise _refusal(name, error) from error
    return Reading(_blocks(_without_running(pages), pictures), title, pages=len(pages))


def _refusal(name: str, error: pypdfium2.PdfiumError) -> Exception:
    if error.err_code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
        return EncryptedDocumentError(name, "it opens with a password only: remove the password")
    return CorruptDocumentError(
        name, f"it cannot be opened, it is cut off or damaged ({error}): fetch the file again"
    )


def _lines(document: pypdfium2.PdfDocument, place: int) -> list[_Line]:
    """A page's lines that are not blank."""
    page = document[place]
    letters = page.get_textpage()
    found: list[_Line] = []
    position = 0
    for line in letters.get_text_range(errors="surrogatepass").split("\r\n"):
        text = line.strip()
        if text:
            first = position + _units(line[: line.index(text)])
            top, height = _letter(letters, first)
            lowest, last_height = _letter(letters, first + _units(text) - 1)
            size = min(height, last_height)  # one of them may be a sign larger than the letters
            text = text.translate(_LIGATURES)
            found.append(_Line(text, place + 1, size, top, lowest - last_height))
        position += _units(line) + len("\r\n")
    letters.close()
    page.close()
    return found


def _units(text: str) -> int:
    """Its length as PDFium counts it, in UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _letter(letters: pypdfium2.PdfTextPage, position: int) -> tuple[float, float]:
    """The upper edge of a letter's line, and the line's height; zeros for one without a place."""
    index = FPDFText_GetCharIndexFromTextIndex(letters, position)
    try:
        _, bottom, _, top = letters.get_charbox(index, loose=True)
    except pypdfium2.PdfiumError:
        return 0.0, 0.0
    return top, top - bottom


def _picture(document: pypdfium2.PdfDocument, place: int, name: str) -> list[Block]:
    page = document[place]
    target = io.BytesIO()
    page.render(scale=_OCR_DOTS / 72, grayscale=True).to_pil().save(target, "BMP")
    page.close()
    blocks = read_picture(target.getvalue(), "image/bmp", name, ocr=True).blocks
    return [replace(block, page=place + 1) for block in blocks]


def _without_running(pages: Sequence[Sequence[_Line]]) -> list[_Line]:
    """All lines; of one that stands at the edge of most pages only the first."""
    edges = Counter(
        text for lines in pages for text in {one.text for one in (*lines[:_EDGE], *lines[-_EDGE:])}
    )
    most = max(_FEWEST_PAGES, len(pages) / 2)
    met: set[str] = set()
    left: list[_Line] = []
    for lines in pages:
        for place, line in enumerate(lines):
            at_edge = place < _EDGE or place >= len(lines) - _EDGE
            if at_edge and edges[line.text] >= most:
                if line.text in met:
                    continue
                met.add(line.text)
            left.append(line)
    return left


def _blocks(lines: Sequence[_Line], pictures: dict[int, list[Block]]) -> list[Block]:
    weights: Counter[float] = Counter()
    for line in lines:
        weights[_rounded(line.size)] += len(line.text)
    usual = weights.most_common(1)[0][0] if weights else 0.0
    passages = _whole_headings(_passages(lines), usual)
    sizes = {_rounded(one[0].size) for one in passages if _is_heading(one, usual)}
    levels = {size: level for level, size in enumerate(sorted(sizes, reverse=True), start=1)}
    blocks = dict(pictures)
    for passage in passages:
        text = _joined(passage)
        page = passage[0].page
        if not text:
            continue
        if _is_heading(passage, usual):
            level = min(levels[_rounded(passage[0].size)], _DEEPEST)
            block = heading(one_line(text), level, page=page)
        else:
            block = Block(text, page=page)
        blocks.setdefault(page, []).append(block)
    return [block for _, page_blocks in sorted(blocks.items()) for block in page_blocks]


def _passages(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Lines that belong together: on one page, in one size, one close below the other."""
    passage: list[_Line] = []
    for line in lines:
        if passage and not _continues(passage[-1], line):
            yield passage
            passage = []
        passage.append(line)
    if passage:
        yield passage


def _whole_headings(passages: Iterator[list[_Line]], usual: float) -> list[list[_Line]]:
    """With each heading that stands in two (``Chapter 1``, and its title below) as one."""
    joined: list[list[_Line]] = []
    for passage in passages:
        both = [*joined[-1], *passage] if joined else passage
        alike = len({(line.page, _rounded(line.size)) for line in both}) == 1
        if joined and alike and _is_heading(joined[-1], usual) and _is_heading(both, usual):
            joined[-1] = both
        else:
            joined.append(passage)
    return joined


def _continues(before: _Line, line: _Line) -> bool:
    gap = before.bottom - line.top
    return (
        before.page == line.page
        and abs(before.size - line.size) < 0.1 * before.size
        and -1.5 * line.size < gap < _GAP * line.size
    )


def _is_heading(passage: Sequence[_Line], usual: float) -> bool:
    return (
        _rounded(passage[0].size) >= _LARGER * usual
        and len(passage) <= _HEADING_LINES
        and any(character.isalpha() for line in passage for character in line.text)
        and not any(_LEADERS.search(line.text) for line in passage)
    )


def _rounded(size: float) -> float:
    """To half a point: two lines in one font may differ by less."""
    return round(2 * size) / 2


def _joined(passage: Sequence[_Line]) -> str:
    """A passage's text; a word that was divided at a line's end is whole again."""
    text = "\n".join(line.text for line in passage)
    return clean(_HYPHEN.sub("-", _DIVIDED.sub(_whole, text))).strip()


def _whole(found: re.Match[str]) -> str:
    """Without the hyphen, which stays in ``ISO-8859`` and ``Anglo-Saxon``."""
    before, after = found.groups()
    divided = after.islower() or (before.isupper() and after.isupper())
    return before + ("" if divided else "-") + after
