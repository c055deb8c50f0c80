"""What a Bible reader returns: verses, and everything unusual in their source.

Plain frozen data; reading belongs to the format modules, storing to :mod:`rag_assets.bible.sql`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rag_assets.bible.books import is_usfm_code


class OddityKind(StrEnum):
    """What can be unusual in a source. Each is handled, counted and reported."""

    BRIDGE = "bridge"
    """One text for several verses, such as ``\\v 9-10``: stored once, with its end."""
    BLANK = "blank"
    """A verse number without text: nothing to embed, so it is not stored."""
    DUPLICATE = "duplicate"
    """The same reference twice: the first that has text is kept."""
    SEGMENTS = "segments"
    """A verse printed in parts (``4a``, ``4b``): joined in order."""
    MISSING = "missing"
    """A verse of the canon that a book of this version does not have."""
    EXTRA = "extra"
    """A verse that the canon does not have."""
    MISSING_BOOK = "missing_book"
    """A book of the canon that this version does not have."""
    EXTRA_BOOK = "extra_book"
    """A book outside the canon of 66."""
    SKIPPED_FILE = "skipped_file"
    """A file without verses: front matter, a glossary, a list of names."""
    MARKUP = "markup"
    """Markup that the format does not know or does not allow there; its text was kept."""
    TITLE = "title"
    """A psalm's title without a verse number of its own, or numbered 0: left out of the verses."""
    OTHER_NUMBER = "other_number"
    """A number of another versification in brackets at a verse's head, such as ``(3:2)``."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """One unusual thing. ``reference`` is a USFM reference (``ROM 16:25``), a book or a file."""

    kind: OddityKind
    reference: str
    detail: str = ""

    @property
    def book(self) -> str | None:
        """The USFM code of the book it is in; ``None`` for a file."""
        code = self.reference.split(" ")[0]
        return code if is_usfm_code(code) else None


def counts(oddities: Iterable[Oddity]) -> dict[str, int]:
    """The number of each kind, in the order met."""
    return dict(Counter(oddity.kind.value for oddity in oddities))


@dataclass(frozen=True, slots=True)
class Verse:
    """One stored passage: a verse, or a bridge of verses when ``verse_end`` is past ``verse``.

    ``book`` is the USFM code (``GEN``, ``1JN``); ``text`` is plain, normalised and never blank.
    """

    book: str
    chapter: int
    verse: int
    verse_end: int
    text: str

    @property
    def reference(self) -> str:
        """USFM reference, such as ``JHN 3:16`` or ``SIR 11:15-16``."""
        end = f"-{self.verse_end}" if self.verse_end != self.verse else ""
        return f"{self.book} {self.chapter}:{self.verse}{end}"


@dataclass(frozen=True, slots=True)
class BibleText:
    """A whole version as read from its files.

    :param format: the recognised format, for example ``usfm`` or ``osis``.
    :param verses: in canonical order of books, then chapter and verse; only those with text.
    :param reference_count: distinct (book, chapter, verse) met, blank ones and each verse of a
        bridge included.
    :param oddities: in the order met; see :class:`OddityKind`.
    """

    format: str
    verses: tuple[Verse, ...]
    reference_count: int
    oddities: tuple[Oddity, ...]
