"""PDF into blocks, by PDFium: lines in the order in which they were written, with their pages.

What a line looks like decides what it is: larger letters than most are a heading's, a wide gap
begins a passage. Pages without text are pictures; those are read by OCR, where it is wanted.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pypdfium2
from pypdfium2.raw import (
    FPDF_ERR_PASSWORD,
    FPDF_ERR_SECURITY,
    FPDF_PAGEOBJ_IMAGE,
    FPDFText_GetCharIndexFromTextIndex,
)

from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.packaged import read_picture
from rag_assets.documents.formats.pdf_lines import (
    Line,
    Words,
    is_heading,
    passages_of,
    rounded,
    without_running,
)
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.errors import CorruptDocumentError, EncryptedDocumentError

_DEEPEST = 6
_OCR_DOTS = 300  # an inch; Tesseract is made for that

_LIGATURES = dict(
    zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "ft", "st"), strict=True)
)
_AFTER_LIGATURE = re.compile("(?:f[fil]|[\ufb00-\ufb06]) (?=\\w)")
_LONG_WORD = re.compile(r"\w{12,}")
_ANY_WORD = re.compile(r"\w{2,}")
_SPACE = 0.08
"""Of the letters' height: a gap between two letters that is wider than the word's others by this is
a space. The library puts one in from 0.13, and none where the size of letters changes."""


def read_pdf(content: bytes, name: str, remarks: Remarks | None = None, *, ocr: bool) -> Reading:
    """Headings and passages of a PDF, with their pages.

    :param ocr: read pages that are pictures, too.
    :raises EncryptedDocumentError: it opens with a password only.
    :raises CorruptDocumentError: it cannot be opened.
    :raises NoTextError: OCR is wanted, and no language is installed.
    """
    remarks = remarks or Remarks()
    try:
        with pypdfium2.PdfDocument(content) as document:
            pages = [_lines(document, place) for place in range(len(document))]
            pictures = {
                place + 1: _picture(document, place, name)
                for place, lines in enumerate(pages)
                if ocr and not lines
            }
            for place, lines in enumerate(pages, start=1):
                if not lines and not pictures.get(place) and _shows_picture(document, place - 1):
                    remarks.lost("page that is a picture", f"page {place}")
            title = one_line(clean(document.get_metadata_value("Title")))
    except pypdfium2.PdfiumError as error:
        raise _refusal(name, error) from error
    return Reading(_blocks(without_running(pages, remarks), pictures), title, pages=len(pages))


def _refusal(name: str, error: pypdfium2.PdfiumError) -> Exception:
    if error.err_code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
        return EncryptedDocumentError(name, "it opens with a password only: remove the password")
    return CorruptDocumentError(
        name, f"it cannot be opened, it is cut off or damaged ({error}): fetch the file again"
    )


def _lines(document: pypdfium2.PdfDocument, place: int) -> list[Line]:
    """A page's lines that are not blank."""
    page = document[place]
    letters = page.get_textpage()
    found: list[Line] = []
    position = 0
    for line in letters.get_text_range(errors="surrogatepass").split("\r\n"):
        text = line.strip()
        if text:
            first = position + _units(line[: line.index(text)])
            top, height = _letter(letters, first)
            lowest, last_height = _letter(letters, first + _units(text) - 1)
            size = min(height, last_height)  # one of them may be a sign larger than the letters
            mixed = abs(height - last_height) > 0.1 * size
            text = _respaced(letters, text, first, mixed=mixed).translate(_LIGATURES)
            found.append(Line(text, place + 1, size, top, lowest - last_height))
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


def _respaced(letters: pypdfium2.PdfTextPage, text: str, first: int, *, mixed: bool) -> str:
    """With spaces where letters stand apart, and without those that lie within a ligature.

    :param first: the text's position on the page.
    :param mixed: letters of several sizes: each word is measured, else long ones only.
    """
    cuts: dict[int, str] = {}
    for found in _AFTER_LIGATURE.finditer(text):
        space = found.end() - 1
        gaps = _gaps(letters, text, first, (space - 1, space + 1))
        if gaps and gaps[0] < _SPACE:
            cuts[space] = ""
    for found in (_ANY_WORD if mixed else _LONG_WORD).finditer(text):
        gaps = _gaps(letters, text, first, range(*found.span()))
        usual = median(gaps) if gaps else 0.0
        for place, gap in enumerate(gaps, start=found.start() + 1):
            if gap - usual >= _SPACE:
                cuts[place] = f" {text[place]}"
    return "".join(cuts.get(place, letter) for place, letter in enumerate(text)) if cuts else text


def _gaps(
    letters: pypdfium2.PdfTextPage, text: str, first: int, places: Sequence[int]
) -> list[float]:
    """Between each two of these letters, in heights of the smaller; none where one has no place."""
    try:
        boxes = [
            letters.get_charbox(
                FPDFText_GetCharIndexFromTextIndex(letters, first + _units(text[:place])),
                loose=True,
            )
            for place in places
        ]
    except pypdfium2.PdfiumError:
        return []
    gaps = []
    for (_, low, right, high), (left, bottom, _, top) in pairwise(boxes):
        height = min(high - low, top - bottom)
        gaps.append((left - right) / height if height > 0 else 0.0)
    return gaps


def _shows_picture(document: pypdfium2.PdfDocument, place: int) -> bool:
    page = document[place]
    found = next(iter(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=2)), None)
    return found is not None


def _picture(document: pypdfium2.PdfDocument, place: int, name: str) -> list[Block]:
    page = document[place]
    target = io.BytesIO()
    page.render(scale=_OCR_DOTS / 72, grayscale=True).to_pil().save(target, "BMP")
    page.close()
    blocks = read_picture(target.getvalue(), "image/bmp", name, ocr=True).blocks
    return [replace(block, page=place + 1) for block in blocks]


def _blocks(lines: Sequence[Line], pictures: dict[int, list[Block]]) -> list[Block]:
    weights: Counter[float] = Counter()
    for line in lines:
        weights[rounded(line.size)] += len(line.text)
    usual = weights.most_common(1)[0][0] if weights else 0.0
    words = Words(lines)
    passages = passages_of(lines, usual)
    sizes = {rounded(one[0].size) for one in passages if is_heading(one, usual)}
    levels = {size: level for level, size in enumerate(sorted(sizes, reverse=True), start=1)}
    blocks = dict(pictures)
    for passage in passages:
        text = words.joined(passage)
        page = passage[0].page
        if not text:
            continue
        if is_heading(passage, usual):
            level = min(levels[rounded(passage[0].size)], _DEEPEST)
            block = heading(one_line(text), level, page=page)
        else:
            block = Block(text, page=page)
        blocks.setdefault(page, []).append(block)
    return [block for _, page_blocks in sorted(blocks.items()) for block in page_blocks]
