"""Cuts a document's blocks into chunks of a limited number of tokens, at headings and sentences.

- A chunk does not go over a heading, unless what stands before it is small and all of the next
  section fits with it: then it stands under the headings that both have.
- A section that does not fit is cut between paragraphs, or between sentences where those are long;
  never in a word that fits. Chunks within it overlap.
- Where a long section is cut depends on the text around the cut, not on how much stands before it:
  of the places that leave a chunk half full at least, the one whose following text has the least
  checksum. So a change changes the chunks around it, and those behind it stay as they were. That
  leaves chunks three quarters full on average.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from semantic_text_splitter import TextSplitter

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.model import Chunk
from rag_assets.documents.tokens import count_tokens

_BETWEEN = "\n\n"
_WINDOW = 20_000  # characters given to the splitter at once: it counts what is left at each cut
_SMALL = 4  # a section of less than a quarter of a chunk is put together with the next
_SENTENCES = 6  # a paragraph is cut into parts of at most a sixth of a chunk
_WIDEST = 40  # characters between two parts that are kept: an indentation, no empty page
_SENTENCE = re.compile(r"(?<=[.!?…؟।])[\"'”’»)\]]*\s+|(?<=[。！？])|\n\s*")
_SENTENCE_END = re.compile(rf"(?:{_SENTENCE.pattern})\Z")
_WORD = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A piece that is not cut further.

    :param tokens: its own with a blank line behind it, as they count where another unit follows.
    :param glue: what stands between it and the unit before it.
    :param within: of a paragraph that was cut: 1 where a sentence begins, 2 elsewhere.
    """

    text: str
    tokens: int
    page: int | None
    glue: str = _BETWEEN
    within: int = 0
    heading: bool = False


@dataclass(slots=True)
class _Section:
    """What stands under one heading, up to the next one."""

    path: tuple[str, ...]
    units: list[_Unit] = field(default_factory=list)
    tokens: int = 0

    def add(self, unit: _Unit) -> None:
        self.units.append(unit)
        self.tokens += unit.tokens

    @property
    def only_headings(self) -> bool:
        return all(unit.heading for unit in self.units)


def chunked(blocks: Iterable[Block], *, most: int, overlap: int) -> Iterator[Chunk]:
    """The chunks, in order.

    :param most: tokens of a chunk.
    :param overlap: tokens that a chunk may repeat from the end of the one before it.
    """
    waiting: _Section | None = None
    for section in _sections(blocks):
        if waiting is None:
            waiting = section
        elif waiting.tokens < most // _SMALL and (
            waiting.only_headings or waiting.tokens + section.tokens <= most
        ):
            _put_together(waiting, section)
        else:
            yield from _cut(waiting, most, overlap)
            waiting = section
    if waiting is not None:
        yield from _cut(waiting, most, overlap)


def _sections(blocks: Iterable[Block]) -> Iterator[_Section]:
    above: list[tuple[int, str]] = []
    section = _Section(())
    for block in blocks:
        if block.level:
            if section.units:
                yield section
            while above and above[-1][0] >= block.level:
                above.pop()
            above.append((block.level, block.title))
            section = _Section(tuple(title for _, title in above))
        tokens = count_tokens(block.text + _BETWEEN)
        section.add(_Unit(block.text, tokens, block.page, heading=bool(block.level)))
    if section.units:
        yield section


def _put_together(first: _Section, second: _Section) -> None:
    shared = second.path
    if not first.only_headings:
        same = (one == other for one, other in zip(first.path, second.path, strict=False))
        shared = tuple(title for title, _ in zip(first.path, takewhile(bool, same), strict=False))
    first.path = shared
    first.units += second.units
    first.tokens += second.tokens


def _cut(section: _Section, most: int, overlap: int) -> Iterator[Chunk]:
    if section.tokens <= most:
        yield from _chunks(section.path, "", section.units, most)
        return
    room = most - overlap - 1
    units = [part for unit in section.units for part in _parts(unit, room)]
    start, repeated = 0, ""
    while start < len(units):
        end = _end(units, start, room)
        yield from _chunks(section.path, repeated, units[start:end], most)
        repeated = _tail(units[start:end], overlap)
        start = end


def _end(units: Sequence[_Unit], start: int, room: int) -> int:
    """Behind the last unit of the chunk that begins at ``start``."""
    tokens, end = 0, start
    candidates: list[tuple[int, int, int]] = []
    while end < len(units) and (tokens + units[end].tokens <= room or end == start):
        tokens += units[end].tokens
        end += 1
        if tokens >= room // 2 and end < len(units):
            following = units[end]  # a paragraph is rather not cut, a sentence still less
            candidates.append((following.within, zlib.crc32(following.text.encode()), end))
    if end == len(units) or not candidates:
        return end
    return min(candidates)[2]


def _chunks(
    path: tuple[str, ...], repeated: str, units: Sequence[_Unit], most: int
) -> Iterator[Chunk]:
    """One chunk; more only where counting units apart gave less than counting them together."""
    text = repeated + (units[0].glue if repeated else "")
    begins: list[tuple[int, int | None]] = []
    for place, unit in enumerate(units):
        text += unit.glue if place else ""
        begins.append((len(text), unit.page))
        text += unit.text
    if repeated or any(unit.within for unit in units):
        tokens = count_tokens(text)
    else:  # no token goes over a blank line
        tokens = sum(unit.tokens for unit in units[:-1]) + count_tokens(units[-1].text)
    if tokens <= most:
        yield Chunk(text, path, units[0].page, tokens)
        return
    for offset, part in TextSplitter.from_callback(count_tokens, most).chunk_indices(text):
        page = next((page for begin, page in reversed(begins) if begin <= offset), units[0].page)
        yield Chunk(part, path, page, count_tokens(part))


def _parts(unit: _Unit, room: int) -> Iterator[_Unit]:
    """The unit itself, or its sentences where it does not fit into a chunk."""
    if unit.tokens <= room:
        yield unit
        return
    behind = 0  # where the part before ends
    for begin, part, tokens in _sentences(unit, room):
        glue, within = unit.glue, 0
        if behind:
            glue = unit.text[behind:begin]
            glue = glue if len(glue) <= _WIDEST else "\n"
            at_sentence = _SENTENCE_END.search(unit.text[max(0, behind - 10) : begin])
            within = 1 if at_sentence else 2
        # A blank or a line's end more.
        yield replace(unit, text=part, tokens=tokens + 1, glue=glue, within=within)
        behind = begin + len(part)


def _sentences(unit: _Unit, room: int) -> Iterator[tuple[int, str, int]]:
    """Parts of about a sixth of a chunk: where each begins, itself, its tokens.

    Cut by characters, which is quick; by tokens only where they stand so thickly that a part does
    not fit.
    """
    characters = max(1, len(unit.text) * room // (_SENTENCES * unit.tokens))
    splitter = TextSplitter(characters)
    exact = TextSplitter.from_callback(count_tokens, max(1, room - 1))
    for offset, window in _windows(unit.text):
        for place, part in splitter.chunk_indices(window):
            begin, tokens = offset + place, count_tokens(part)
            if tokens < room:
                yield begin, part, tokens
                continue
            for inner, smaller in exact.chunk_indices(part):
                yield begin + inner, smaller, count_tokens(smaller)


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of at most 20,000 characters, cut at a line's end, else at a blank, else anywhere."""
    start = 0
    while start < len(text):
        end = start + _WINDOW
        if end < len(text):
            for mark in ("\n", ". ", " "):
                found = text.rfind(mark, start + _WINDOW // 2, end)
                if found > 0:
                    end = found + len(mark)
                    break
        yield start, text[start:end]
        start = end


def _tail(units: Sequence[_Unit], overlap: int) -> str:
    """What the next chunk repeats: the last sentences, or words, of this one that fit."""
    if not overlap or units[-1].heading:
        return ""
    last = units[-1].text
    if count_tokens(last[-16 * overlap :]) <= overlap:
        return last[-16 * overlap :]
    last = last[-6 * overlap :]
    for boundary in (_SENTENCE, _WORD):
        for found in boundary.finditer(last):
            rest = last[found.end() :]
            if rest and count_tokens(rest) <= overlap:
                return rest
    return ""
