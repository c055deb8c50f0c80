"""What every format module returns: passages as printed, before any merging.

The collector gathers text between verse markers. Joining segments, dropping duplicates and
comparing with the canon belong to :mod:`rag_assets.bible.merge`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rag_assets.bible.formats.text import normalise, visible_only
from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.errors import CorpusError

_NUMBER = re.compile(
    r"([0-9]{1,3})([a-z]*)(?:[-\u2010-\u2014]([0-9]{1,3})[a-z]*|((?:,[0-9]{1,3})+))?"
)


@dataclass(frozen=True, slots=True)
class VerseNumber:
    """A verse, a bridge when ``end`` is past ``start``, or a segment (``4a``)."""

    start: int
    end: int
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """The text printed under one verse marker; blank when there is none."""

    book: str
    chapter: int
    number: VerseNumber
    text: str

    @property
    def reference(self) -> str:
        """USFM reference without its segment: ``JOB 3:4``, ``SIR 11:15-16``."""
        return reference(self.book, self.chapter, self.number.start, self.number.end)


@dataclass(frozen=True, slots=True)
class Source:
    """Everything in one file, in its own order."""

    passages: tuple[Passage, ...]
    oddities: tuple[Oddity, ...] = ()


def reference(book: str, chapter: int, start: int, end: int) -> str:
    """USFM reference of a verse or of a bridge."""
    return f"{book} {chapter}:{start}-{end}" if end != start else f"{book} {chapter}:{start}"


def parse_verse_number(printed: str) -> VerseNumber | None:
    """Read ``4``, ``4a``, ``9-10`` and ``5,6``; ``None`` for anything else.

    0 is a number, too: some sources give it to a psalm's title. Numbers stop at 999: a larger one
    is a slip, and a bridge to 99999999 would fill the memory.
    """
    match = _NUMBER.fullmatch(visible_only(printed))
    if match is None:
        return None
    first, segment, bridge_end, listed = match.groups()
    start = int(first)
    end = int(bridge_end) if bridge_end else start
    if listed:
        numbers = [start, *(int(number) for number in listed[1:].split(","))]
        end = numbers[-1]
        if numbers != list(range(start, end + 1)):
            return None
    return VerseNumber(start, end, segment) if start <= end else None


def parse_chapter(printed: str | None, path: Path, line: int | None) -> int:
    """Read a chapter number from 1 to 999.

    :raises CorpusError: when it is anything else.
    """
    stripped = visible_only(printed or "")
    if not re.fullmatch(r"[0-9]{1,3}", stripped) or int(stripped) == 0:
        raise CorpusError(path, f"{stripped!r} is not a chapter number: correct it", line=line)
    return int(stripped)


class Collector:
    """Gathers one file's passages as a reader walks through it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passages: list[Passage] = []
        self._oddities: list[Oddity] = []
        self._noted: set[tuple[str, str]] = set()
        self._number: VerseNumber | None = None
        self._parts: list[str] = []
        self._titles: list[str] = []
        self.book: str | None = None
        self.chapter: int | None = None

    @property
    def passage_count(self) -> int:
        """The number of verse markers met, including the open one."""
        return len(self._passages) + (self._number is not None)

    @property
    def place(self) -> str:
        """The reader's position as a USFM reference, as far as it is known."""
        if self.book is None:
            return self._path.name
        if self.chapter is None:
            return self.book
        if self._number is None:
            return f"{self.book} {self.chapter}"
        return reference(self.book, self.chapter, self._number.start, self._number.end)

    def start_book(self, code: str) -> None:
        """Close what is open; the next verses belong to ``code``."""
        self.end_verse()
        self.book, self.chapter = code, None

    def start_chapter(self, chapter: int) -> None:
        """Close what is open; the next verses belong to ``chapter``."""
        self.end_verse()
        self.chapter = chapter

    def start_verse(self, number: VerseNumber, line: int | None) -> None:
        """Close what is open and open a verse.

        :raises CorpusError: before the first book or chapter.
        """
        self.end_verse()
        if self.book is None:
            raise CorpusError(self._path, "a verse before any book: name the book", line=line)
        if self.chapter is None:
            raise CorpusError(
                self._path, "a verse before the first chapter: add the chapter's start", line=line
            )
        self._number = number

    def end_verse(self) -> None:
        """Close the open verse, if any; text that no verse claims is reported.

        A psalm's title that is all that its verse holds is the verse (Hebrew numbering).
        """
        text = normalise("".join(self._parts))
        self._parts.clear()
        if self._number is not None and self.book is not None and self.chapter is not None:
            if self._titles and not text:
                text, self._titles = " ".join(self._titles), []
            self._passages.append(Passage(self.book, self.chapter, self._number, text))
        elif self.chapter is not None and text:
            self.note(f"text outside any verse is left out: {text!r}")
        for title in self._titles:
            self._oddities.append(Oddity(OddityKind.TITLE, self.place, f"left out: {title!r}"))
        self._titles = []
        self._number = None

    def add(self, text: str | None) -> None:
        """Add raw text to what is open."""
        if text:
            self._parts.append(text)

    def add_title(self, raw: str) -> None:
        """Take a psalm's title, which is not part of the verse around or after it."""
        if title := normalise(raw):
            self._titles.append(title)

    def note(self, detail: str) -> None:
        """Report markup that is not understood, once per place."""
        where = self.place
        if (where, detail) not in self._noted:
            self._noted.add((where, detail))
            self._oddities.append(Oddity(OddityKind.MARKUP, where, detail))

    def finish(self) -> Source:
        """Close what is open and return everything."""
        self.end_verse()
        return Source(tuple(self._passages), tuple(self._oddities))
