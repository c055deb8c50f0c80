"""The JSON of thiagobodruk/biblia: ``[{"abbrev", "chapters": [[verse, …], …], "name"}, …]``.

Chapters and verses are numbered by their position.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rag_assets.bible.books import Language, book_code
from rag_assets.bible.files import decode
from rag_assets.bible.formats.passages import Passage, Source, VerseNumber
from rag_assets.bible.formats.text import normalise
from rag_assets.errors import CorpusError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape one; it cannot be stored
_SHAPE = 'expected [{"abbrev": …, "chapters": [[verse, …], …], "name": …}, …]'


def read_bodruk_json(path: Path, data: bytes) -> Source:
    """Passages of one JSON file.

    :raises CorpusError: for malformed JSON (with its line), another shape, or an unknown book.
    """
    try:
        parsed: object = json.loads(decode(path, data))
    except json.JSONDecodeError as error:
        reason = f"not valid JSON ({error.msg}): correct it or fetch it again"
        raise CorpusError(path, reason, line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(path, f"cannot be read as JSON ({error}); {_SHAPE}") from error
    books = _list(parsed, path, "the file")
    passages: list[Passage] = []
    for index, book in enumerate(books):
        passages.extend(_book_passages(book, path, f"book {index + 1}"))
    return Source(tuple(passages))


def _book_passages(book: Any, path: Path, where: str) -> list[Passage]:
    if not isinstance(book, dict):
        raise CorpusError(path, f"{where} is not an object; {_SHAPE}")
    code = _code(book, path, where)
    passages: list[Passage] = []
    for chapter, verses in enumerate(_list(book.get("chapters"), path, f"{where} ({code})"), 1):
        place = f"{code} {chapter}"
        for verse, text in enumerate(_list(verses, path, place), 1):
            if not isinstance(text, str):
                raise CorpusError(path, f"{place}:{verse} is not a string; {_SHAPE}")
            if _LONE_SURROGATE.search(text):
                raise CorpusError(path, f"{place}:{verse} holds half a character: correct it")
            passages.append(Passage(code, chapter, VerseNumber(verse, verse), normalise(text)))
    return passages


def _code(book: dict[str, Any], path: Path, where: str) -> str:
    """By name, then by abbreviation: in this layout ``jn`` is Jonah in every language."""
    for key in ("name", "abbrev"):
        name = book.get(key)
        code = book_code(name, Language.PORTUGUESE) if isinstance(name, str) else None
        if code is not None:
            return code
    named = f"name {book.get('name')!r}, abbrev {book.get('abbrev')!r}"
    raise CorpusError(path, f"{where} is not a known book ({named}): correct its abbrev; {_SHAPE}")


def _list(value: object, path: Path, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise CorpusError(path, f"{where} holds no array; {_SHAPE}")
    return value
