"""From passages as printed to verses as stored, with every oddity named.

Pure: passages in, a :class:`BibleText` out. The order of the source files does not matter,
except for which of two duplicates is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rag_assets.bible.books import CANON, book_position
from rag_assets.bible.canon import canon_verses
from rag_assets.bible.formats.passages import Passage, VerseNumber, reference
from rag_assets.bible.model import BibleText, Oddity, OddityKind, Verse
from rag_assets.visible import count

_Place = tuple[str, int, int]

# "(3:2) LORD, …", "[118-1] …", "{Ps 3:2} …". A single number in brackets may be the text's own.
_OTHER_REFERENCE = re.compile(
    r"[(\[{]\s*(?:(?:[1-4]\s?)?[^\W\d_]+\.?\s*)?[0-9]{1,3}\s*[:.,\-\u2010-\u2014]\s*[0-9]{1,3}[a-z]?"
    r"(?:\s*[-\u2010-\u2014]\s*[0-9]{1,3}[a-z]?)?\s*[)\]}]\s*"
)
_OTHER_VERSE = re.compile(r"[(\[{]\s*[0-9]{1,3}[a-z]?\s*[)\]}](?=\s)")


def merge(format_name: str, passages: Sequence[Passage], oddities: Iterable[Oddity]) -> BibleText:
    """Join segments, leave out titles, duplicates and blanks, and compare with the canon."""
    found = list(oddities)
    passages = list(_numbered(passages, found))
    found += _bridges(passages)
    with_text = {passage.book for passage in passages if passage.text}
    verses: list[Verse] = []
    by_chapter = sorted(passages, key=lambda passage: _chapter_order(passage.book, passage.chapter))
    for _, printed in groupby(by_chapter, key=lambda passage: (passage.book, passage.chapter)):
        chapter = list(printed)
        kept, duplicates = _without_duplicates(chapter)
        joined, segmented = _join(kept)
        verses.extend(joined)
        found += [*duplicates, *segmented]
        if chapter[0].book in with_text:  # a book without any text is reported once, as a book
            found += _blanks(chapter, joined)
    references = {
        (passage.book, passage.chapter, verse)
        for passage in passages
        for verse in range(passage.number.start, passage.number.end + 1)
    }
    found += _against_canon(references, with_text)
    return BibleText(format_name, tuple(verses), len(references), tuple(found))


def _numbered(passages: Iterable[Passage], found: list[Oddity]) -> Iterator[Passage]:
    """The passages without verse 0 and without numbers of another versification at their heads."""
    for passage in passages:
        number, text = passage.number, passage.text
        where = passage.reference
        if number.end == 0:
            found.append(
                Oddity(OddityKind.TITLE, where, f"left out: {text!r}" if text else "blank")
            )
            continue
        if number.start == 0:
            found.append(Oddity(OddityKind.TITLE, where, "verse 0 is joined to verse 1"))
            number = VerseNumber(1, number.end, number.segment)
        if head := _OTHER_REFERENCE.match(text):
            printed, text = head[0].strip(), text[head.end() :]
            found.append(Oddity(OddityKind.OTHER_NUMBER, where, f"left out: {printed!r}"))
        elif head := _OTHER_VERSE.match(text):
            found.append(Oddity(OddityKind.OTHER_NUMBER, where, f"kept: {head[0]!r}"))
        changed = number is not passage.number or text is not passage.text
        yield replace(passage, number=number, text=text) if changed else passage


def _chapter_order(book: str, chapter: int) -> tuple[int, str, int]:
    return (book_position(book), book, chapter)


def _bridges(passages: Sequence[Passage]) -> Iterator[Oddity]:
    for passage in passages:
        if passage.number.end > passage.number.start:
            yield Oddity(OddityKind.BRIDGE, passage.reference)


def _without_duplicates(chapter: list[Passage]) -> tuple[list[Passage], list[Oddity]]:
    """Keep the first text of each verse, and of each of its segments."""
    kept: list[Passage] = []
    claims: dict[int, list[Passage]] = {}
    duplicates: list[Oddity] = []
    for passage in chapter:
        if not passage.text:
            continue
        covered = range(passage.number.start, passage.number.end + 1)
        rivals = [other for verse in covered for other in claims.get(verse, [])]
        if any(_same_claim(passage, other) for other in rivals):
            detail = f"left out: {passage.text!r}"
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
    """Join what overlaps, in the order of its letters, not of the page."""
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
    covered = {number for verse in verses for number in range(verse.verse, verse.verse_end + 1)}
    for passage in chapter:
        if not passage.text and passage.number.start not in covered:
            covered.update(range(passage.number.start, passage.number.end + 1))
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
            blank = count(len(met[book]), "blank verse") if book in met else ""
            yield Oddity(OddityKind.MISSING_BOOK, book, blank)
    for book in sorted(met.keys() - set(CANON), key=lambda code: (book_position(code), code)):
        verses = "verse" if book in books_with_text else "blank verse"
        yield Oddity(OddityKind.EXTRA_BOOK, book, count(len(met[book]), verses))


def _listed(kind: OddityKind, book: str, verses: Iterable[tuple[int, int]]) -> Iterator[Oddity]:
    for chapter, verse in sorted(verses):
        yield Oddity(kind, reference(book, chapter, verse, verse))
