"""From passages as printed to verses as stored, with every oddity named.

Pure: passages in, a :class:`BibleText` out. The order of the source files does not matter,
except for which of two duplicates is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import shorten

from rag_assets.bible.books import CANON, book_position
from rag_assets.bible.canon import canon_verses
from rag_assets.bible.formats.passages import Passage, reference
from rag_assets.bible.model import BibleText, Oddity, OddityKind, Verse

_Place = tuple[str, int, int]


def merge(format_name: str, passages: Sequence[Passage], oddities: Iterable[Oddity]) -> BibleText:
    """Joins segments, drops duplicates and blanks, and compares with the canon."""
    found = [*oddities, *_bridges(passages)]
    verses: list[Verse] = []
    by_chapter = sorted(passages, key=lambda passage: _chapter_order(passage.book, passage.chapter))
    for _, printed in groupby(by_chapter, key=lambda passage: (passage.book, passage.chapter)):
        chapter = list(printed)
        kept, duplicates = _without_duplicates(chapter)
        joined, segmented = _join(kept)
        verses.extend(joined)
        found += [*duplicates, *segmented, *_blanks(chapter, joined)]
    references = {
        (passage.book, passage.chapter, verse)
        for passage in passages
        for verse in range(passage.number.start, passage.number.end + 1)
    }
    found += _against_canon(references, {verse.book for verse in verses})
    return BibleText(format_name, tuple(verses), len(references), tuple(found))


def _chapter_order(book: str, chapter: int) -> tuple[int, str, int]:
    return (book_position(book), book, chapter)


def _bridges(passages: Sequence[Passage]) -> Iterator[Oddity]:
    for passage in passages:
        if passage.number.end > passage.number.start:
            yield Oddity(OddityKind.BRIDGE, passage.reference)


def _without_duplicates(chapter: list[Passage]) -> tuple[list[Passage], list[Oddity]]:
    """Keeps the first text of each verse, and of each of its segments."""
    kept: list[Passage] = []
    claims: dict[int, list[Passage]] = {}
    duplicates: list[Oddity] = []
    for passage in chapter:
        if not passage.text:
            continue
        covered = range(passage.number.start, passage.number.end + 1)
        rivals = [other for verse in covered for other in claims.get(verse, [])]
        if any(_same_claim(passage, other) for other in rivals):
            detail = f"left out: {shorten(passage.text, 100)!r}"
            duplicates.append(Oddity(OddityKind.DUPLICATE, passage.reference, detail))
            continue
        kept.append(passage)
        for verse in covered:
            claims.setdefault(verse, []).append(passage)
    return kept, duplicates


def _same_claim(one: Passage, other: Passage) -> bool:
    """Two segments (4a, 4b), or a verse and a later part of it (4, 4b), share a verse."""
    return one.number.segment == other.number.segment


def _join(kept: list[Passage]) -> tuple[list[Verse], list[Oddity]]:
    """Joins what overlaps, in the order of its letters, not of the page."""
    verses: list[Verse] = []
    segmented: list[Oddity] = []
    ordered = sorted(kept, key=lambda passage: (passage.number.start, passage.number.segment))
    for group in _overlapping(ordered):
        first, end = group[0], max(passage.number.end for passage in group)
        text = " ".join(passage.text for passage in group)
        start = first.number.start
        verses.append(Verse(first.book, first.chapter, start, end, text))
        if len(group) > 1 or first.number.segment:
            printed = ", ".join(f"{part.number.start}{part.number.segment}" for part in group)
            where = reference(first.book, first.chapter, start, end)
            segmented.append(Oddity(OddityKind.SEGMENTS, where, f"joined: {printed}"))
    return verses, segmented


def _overlapping(ordered: list[Passage]) -> Iterator[list[Passage]]:
    group: list[Passage] = []
    end = 0
    for passage in ordered:
        if group and passage.number.start > end:
            yield group
            group, end = [], 0
        group.append(passage)
        end = max(end, passage.number.end)
    if group:
        yield group


def _blanks(chapter: list[Passage], verses: list[Verse]) -> Iterator[Oddity]:
    told = {number for verse in verses for number in range(verse.verse, verse.verse_end + 1)}
    for passage in chapter:
        if not passage.text and passage.number.start not in told:
            told.update(range(passage.number.start, passage.number.end + 1))
            yield Oddity(OddityKind.BLANK, passage.reference)


def _against_canon(references: set[_Place], books_with_text: set[str]) -> Iterator[Oddity]:
    """Missing and extra verses of the version's books, then missing and extra books."""
    met: dict[str, set[tuple[int, int]]] = {}
    for book, chapter, verse in references:
        met.setdefault(book, set()).add((chapter, verse))
    for book in CANON:
        if book in met:
            yield from _listed(OddityKind.MISSING, book, canon_verses(book) - met[book])
            yield from _listed(OddityKind.EXTRA, book, met[book] - canon_verses(book))
        if book not in books_with_text:
            blank = "every verse number of it is blank" if book in met else ""
            yield Oddity(OddityKind.MISSING_BOOK, book, blank)
    for book in sorted(met.keys() - set(CANON), key=lambda code: (book_position(code), code)):
        yield Oddity(OddityKind.EXTRA_BOOK, book, f"{len(met[book])} verses")


def _listed(kind: OddityKind, book: str, verses: Iterable[tuple[int, int]]) -> Iterator[Oddity]:
    for chapter, verse in sorted(verses):
        yield Oddity(kind, reference(book, chapter, verse, verse))
