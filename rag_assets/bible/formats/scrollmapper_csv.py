"""The CSV of scrollmapper/bible_databases: ``Book,Chapter,Verse,Text``, one verse per row."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rag_assets.bible.books import book_code
from rag_assets.bible.files import decode
from rag_assets.bible.formats.passages import (
    Passage,
    Source,
    parse_chapter,
    parse_verse_number,
)
from rag_assets.bible.formats.text import normalise, visible_only
from rag_assets.errors import CorpusError

HEADER = ("book", "chapter", "verse", "text")
"""The columns, in any case."""
HEADER_LINE = ",".join(column.title() for column in HEADER)


def read_scrollmapper_csv(path: Path, data: bytes) -> Source:
    """Passages of one CSV file.

    :raises CorpusError: with the line, for a wrong header, a short row, a bad number, an
        unknown book or a quotation that never ends.
    """
    rows = csv.reader(io.StringIO(decode(path, data), newline=""), strict=True)
    passages: list[Passage] = []
    line = 1
    try:
        header = next(rows, [])
        if tuple(column.strip().lower() for column in header) != HEADER:
            reason = f"header {','.join(header)!r}: it must be {HEADER_LINE}"
            raise CorpusError(path, reason, line=1)
        line = rows.line_num + 1
        for row in rows:
            if row:
                passages.append(_passage(row, path, line))
            line = rows.line_num + 1
    except csv.Error as error:
        reason = f"not valid CSV ({error}): correct the row's quotation marks"
        raise CorpusError(path, reason, line=line) from error
    return Source(tuple(passages))


def _passage(row: list[str], path: Path, line: int) -> Passage:
    if len(row) != len(HEADER):
        reason = f"{len(row)} columns instead of 4: quote a text that holds commas"
        raise CorpusError(path, reason, line=line)
    name, chapter, verse, text = row
    code = book_code(visible_only(name))
    if code is None:
        raise CorpusError(path, f"unknown book {name!r}: use its English name", line=line)
    number = parse_verse_number(verse)
    if number is None:
        raise CorpusError(path, f"{verse!r} is not a verse number: correct it", line=line)
    return Passage(code, parse_chapter(chapter, path, line), number, normalise(text))
