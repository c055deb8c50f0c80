"""What the lines of a PDF's pages are, by their words and places: running ones, headings, passages.

Nothing here knows the library that found the lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag_assets.documents.formats.blocks import one_line
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean
from rag_assets.documents.tokens import count_tokens

_LARGER = 1.15  # times the usual size: from there on it is a heading's
_HEADING_LINES = 3  # what is longer is a passage in large letters
_HEADING_WORDS = 20
_SENTENCE_WORDS = 8  # a heading that ends with a full stop has fewer
_GAP = 0.6  # of a line's height, between two passages; within one it is 0.0 to 0.4
_EDGE = 2  # lines at the top and at the bottom of a page that may be running ones
_MARGIN = 0.07  # of the height of all lines
_FEWEST_PAGES = 3  # on which a line must stand to be a running one
_LONGEST_NUMBER = 5  # digits of a page number

_HYPHENS = "\x02\ufffe\xad"  # what PDFium gives for the hyphen at a line's end
_DIVIDED = re.compile(rf"([\w’'-]*\w)[{_HYPHENS}]\n?(?=(\w[\w’']*))")
_HYPHEN = re.compile(f"[{_HYPHENS}]")
_WORD = re.compile(rf"\w[\w’'-]*(?![\w{_HYPHENS}])")
_COMMON_WORD = 4  # letters; shorter ones are parts of words, too
_LEADERS = re.compile(r"(?:\. ?){4}")  # the dots between a title and its page in a list of contents
_ADDRESS = re.compile(
    r"https?:|www\.|\S@\S|\bdoi:|^\S+\.(?:com|org|net|gov|edu|mil|int|info|io|eu|[a-z]{2})(?:/\S*)?$",
    re.IGNORECASE,
)
_NUMBERED_PAGE = re.compile(
    r"(?:page|pg?\.?|página|pág\.|seite|s\.)\s*\d+(?:\s*(?:of|de|von|/)\s*\d+)?", re.IGNORECASE
)
_ROMAN = re.compile(r"[ivxlcdm]+", re.IGNORECASE)
_NOTE = re.compile(r"(?:[*†‡§¶]+|\[\d+\]|[¹²³⁰⁴-⁹]+)\s*\S")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page, from 1; its letters' height and its edges, in points from below."""

    text: str
    page: int
    size: float
    top: float
    bottom: float


def without_running(pages: Sequence[Sequence[Line]], remarks: Remarks) -> list[Line]:
    """All lines; of one that runs through the pages, odd, even or all, only the first.

    A number in it may be that of the page.
    """
    most = {
        parity: max(_FEWEST_PAGES, len(pages[parity::2]) / 2 if len(pages) > 3 else 0)
        for parity in (0, 1)
    }
    margins = _margins(pages)
    edges: Counter[tuple[int, str]] = Counter()
    for place, lines in enumerate(pages):
        keys = {key for line in _at_edge(lines) for key in _keys(line, margins)}
        edges.update((place % 2, key) for key in keys)
    running = {
        key
        for _, key in edges
        if edges[0, key] + edges[1, key] >= max(_FEWEST_PAGES, len(pages) / 2)
        or any(edges[parity, key] >= most[parity] for parity in (0, 1))
    }
    met: set[str] = set()
    left: list[Line] = []
    for lines in pages:
        at_edge = {id(line) for line in _at_edge(lines)}
        for line in lines:
            found = (
                [key for key in _keys(line, margins) if key in running]
                if id(line) in at_edge
                else []
            )
            if any(key in met for key in found):
                remarks.left_out("running header or footer, after the first", line.text)
            else:
                left.append(line)
            met.update(found)
    return left


def _at_edge(lines: Sequence[Line]) -> Sequence[Line]:
    return lines if len(lines) <= 2 * _EDGE else (*lines[:_EDGE], *lines[-_EDGE:])


def _margins(pages: Sequence[Sequence[Line]]) -> tuple[float, float]:
    """Below and above which the highest and the lowest lines of the pages stand."""
    tops = [line.top for lines in pages for line in lines] or [0.0]
    height = max(tops) - min(tops)
    return min(tops) + _MARGIN * height, max(tops) - _MARGIN * height


def _keys(line: Line, margins: tuple[float, float]) -> Iterator[str]:
    """The line's text; in a margin also what it is apart from a number that may be the page's."""
    yield line.text
    if margins[0] < line.top < margins[1]:
        return
    for found in re.finditer(r"\d+", line.text):
        if len(found.group()) <= _LONGEST_NUMBER:
            offset = int(found.group()) - line.page
            yield f"{line.text[: found.start()]}\0{offset}\0{line.text[found.end() :]}"


def passages_of(lines: Sequence[Line], usual: float) -> list[list[Line]]:
    """Lines that belong together; a heading in two parts is one."""
    return _whole_headings(_passages(lines), usual)


def _passages(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """On one page, in one size, one close below the other."""
    passage: list[Line] = []
    for line in lines:
        if passage and not _continues(passage[-1], line):
            yield passage
            passage = []
        passage.append(line)
    if passage:
        yield passage


def _whole_headings(passages: Iterator[list[Line]], usual: float) -> list[list[Line]]:
    """With each heading that stands in two (``Chapter 1``, and its title below) as one."""
    joined: list[list[Line]] = []
    for passage in passages:
        both = [*joined[-1], *passage] if joined else passage
        alike = len({(line.page, rounded(line.size)) for line in both}) == 1
        if joined and alike and is_heading(joined[-1], usual) and is_heading(both, usual):
            joined[-1] = both
        else:
            joined.append(passage)
    return joined


def _continues(before: Line, line: Line) -> bool:
    gap = before.bottom - line.top
    return (
        before.page == line.page
        and abs(before.size - line.size) < 0.1 * before.size
        and -1.5 * line.size < gap < _GAP * line.size
    )


def is_heading(passage: Sequence[Line], usual: float) -> bool:
    """Whether it is larger than most, and reads like a heading."""
    return (
        rounded(passage[0].size) >= _LARGER * usual
        and len(passage) <= _HEADING_LINES
        and not any(_LEADERS.search(line.text) for line in passage)
        and reads_as_heading(one_line(" ".join(line.text for line in passage)))
    )


def reads_as_heading(text: str) -> bool:
    """Not a number, an address, a note, a page's number or a sentence."""
    words = text.split()
    return (
        any(sum(map(str.isalpha, word)) > 1 or ord(word[0]) > 0x2E80 for word in words)
        and len(words) <= _HEADING_WORDS
        and not (len(words) >= _SENTENCE_WORDS and text.endswith((".", ";", ",")))
        and not _ADDRESS.search(text)
        and not _NUMBERED_PAGE.fullmatch(text)
        and not _ROMAN.fullmatch(text)
        and not _NOTE.match(text)
    )


def rounded(size: float) -> float:
    """To half a point: two lines in one font may differ by less."""
    return round(2 * size) / 2


class Words:
    """The words of a document, which decide whether a hyphen at a line's end is part of one."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._known = {word.lower() for line in lines for word in _WORD.findall(line.text)}

    def joined(self, passage: Sequence[Line]) -> str:
        """A passage's text; a word that was divided at a line's end is whole again."""
        text = "\n".join(line.text for line in passage)
        return clean(_HYPHEN.sub("-", _DIVIDED.sub(self._whole, text))).strip()

    def _whole(self, found: re.Match[str]) -> str:
        before, after = found.groups()
        return before + ("-" if self._keeps_hyphen(before, after) else "")

    def _keeps_hyphen(self, before: str, after: str) -> bool:
        """``ISO-8859``, ``Anglo-Saxon`` and ``tea-things`` have one, ``extraordinary`` has none.

        The document's own words decide; then whether both parts are words, and not one together.
        """
        *chain, last = before.split("-")
        one_case = last.isupper() == after.isupper() or len(last) == 1
        divided = one_case and (after[0].islower() or after.isupper())
        if not divided or f"{before}-{after}".lower() in self._known:
            return True
        if f"{last}{after}".lower() in self._known:
            return False
        shortest = 1 if chain else _COMMON_WORD  # `in-the-box`
        both_known = all(self._is_word(part, shortest) for part in (last, after))
        return both_known and _tokens(last + after) >= _tokens(last) + _tokens(after)

    def _is_word(self, part: str, shortest: int) -> bool:
        return part.lower() in self._known or (len(part) >= shortest and _tokens(part) == 1)


def _tokens(word: str) -> int:
    """Common words are one token, rare ones several."""
    return count_tokens(f" {word.lower()}")
