"""The canon that verses are compared with: the 66 books of the King James Version.

The counts are those of usfmtc's English versification, which numbers two more verses.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

from usfmtc.versification import Versification

from rag_assets.bible.books import CANON

# Modern English editions split these two last verses; the KJV (31,102 verses) does not.
_KJV_COUNTS = {("3JN", 1): 14, ("REV", 12): 17}


@cache
def verse_counts(book: str) -> tuple[int, ...]:
    """Verses of each chapter, from chapter 1 on; empty for a book outside the canon."""
    if book not in CANON:
        return ()
    starts = _chapter_starts()[book]
    return tuple(
        _KJV_COUNTS.get((book, chapter), starts[chapter] - starts[chapter - 1])
        for chapter in range(1, len(starts))
    )


@cache
def _chapter_starts() -> dict[str, list[int]]:
    """For each book the running count of verses: 0, then the sum after each chapter."""
    with as_file(files("usfmtc") / "eng.vrs") as path:
        starts: dict[str, list[int]] = Versification(str(path)).vnums
    return starts


@cache
def canon_verses(book: str) -> frozenset[tuple[int, int]]:
    """All (chapter, verse) of a book; empty for a book outside the canon."""
    return frozenset(
        (chapter, verse)
        for chapter, count in enumerate(verse_counts(book), start=1)
        for verse in range(1, count + 1)
    )
