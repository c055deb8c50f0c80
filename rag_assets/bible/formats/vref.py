"""BibleNLP pairs: ``vref.txt`` names a verse on each line, the other file holds its text.

A blank line is an absent verse; ``<range>`` means "joined to the line above".
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rag_assets.bible.books import is_usfm_code
from rag_assets.bible.files import decode
from rag_assets.bible.formats.passages import Passage, Source, VerseNumber
from rag_assets.bible.formats.text import normalise, visible_only
from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.errors import CorpusError

REFERENCE = re.compile(r"([0-9A-Z]{3}) ([0-9]{1,3}):([0-9]{1,3})")
"""One line of ``vref.txt``."""

_RANGE = "<range>"


def read_vref(list_path: Path, list_data: bytes, text_path: Path, text_data: bytes) -> Source:
    """Passages of one pair of files.

    :raises CorpusError: for a line that is not a reference, or differing numbers of lines.
    """
    references = _lines(decode(list_path, list_data))
    texts = _lines(decode(text_path, text_data))
    if len(references) != len(texts):
        reason = (
            f"{len(texts)} lines, but {list_path.name} has {len(references)}: "
            "line n of one must belong to line n of the other"
        )
        raise CorpusError(text_path, reason, line=min(len(texts), len(references)) + 1)
    passages: list[Passage] = []
    oddities: list[Oddity] = []
    above: Passage | None = None
    for line, (printed, raw) in enumerate(zip(references, texts, strict=True), 1):
        met = _passage(printed, raw, list_path, line)
        if met.text != _RANGE:
            above = met if met.text else None
            passages.extend([met] if met.text else [])
        elif above is not None and _follows(met, above):
            above = replace(above, number=VerseNumber(above.number.start, met.number.end))
            passages[-1] = above
        else:
            detail = f"line {line}: {_RANGE} without a verse above to join; left out"
            oddities.append(Oddity(OddityKind.MARKUP, met.reference, detail))
    return Source(tuple(passages), tuple(oddities))


def _lines(text: str) -> list[str]:
    # Not splitlines(): a text may hold U+2028, which ends no line here.
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _passage(printed: str, raw: str, path: Path, line: int) -> Passage:
    match = REFERENCE.fullmatch(visible_only(printed))
    if match is None or not is_usfm_code(match[1]) or int(match[2]) == 0:
        reason = f"{printed!r} is not a reference: write it like JHN 3:16"
        raise CorpusError(path, reason, line=line)
    verse = int(match[3])
    return Passage(match[1], int(match[2]), VerseNumber(verse, verse), normalise(raw))


def _follows(met: Passage, above: Passage) -> bool:
    same_chapter = (met.book, met.chapter) == (above.book, above.chapter)
    return same_chapter and met.number.start == above.number.end + 1
