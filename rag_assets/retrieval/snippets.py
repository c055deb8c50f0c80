"""Snippets: the part of a passage that matches a query, with the query's words marked. Pure.

Which words are the same is decided by the database, which folds them as full text search does; here
are the words that it is asked about, and the places of those that it finds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

LENGTH = 240
"""Characters of a snippet: most verses fit, and it takes three or four lines of a terminal."""

Snippets = Literal["none", "part", "full"]
Words = Mapping[str, str]
"""Words of passages, in lower case, that are words of the query, with the query's folded form."""

# As is_gram in migration 0028: what is found by pairs of characters.
_GRAMS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_BREAKS = (
    r"\s!-/:-@\[-`{-~\xa1-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7\u2000-\u206f\u3000-\u3004"
    r"\u3006-\u303f\uff01-\uff0f\uff1a-\uff20"
)
_UNIT = re.compile(f"(?P<gram>[{_GRAMS}])|[^{_GRAMS}{_BREAKS}]+")
_GRAM = re.compile(f"[{_GRAMS}]+")
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "y": "i"}
)
_PREFIXED = frozenset({"ar", "ara", "id", "ind", "ta", "tam"})
"""Languages whose stemmers also change how a word begins."""


@dataclass(frozen=True)
class Part:
    """A piece of a text, and whether it is a word of the query."""

    text: str
    match: bool = False


def likely(query: str, text: str, language: str) -> set[str]:
    """The words of a text that may be words of the query: those that begin like one.

    :param language: first part of the tag of the text's.
    """
    words = set(_words(text))
    if language in _PREFIXED:
        return words
    starts = set(map(_start, _words(query)))
    return {word for word in words if _start(word) in starts}


def same(found: Mapping[str, Sequence[str]]) -> Words:
    """The words that are the query's, from what the database found in common with it.

    A pair of characters is not a match if only one of them is.
    """
    return {
        word: forms[0]
        for word, forms in found.items()
        if not _GRAM.fullmatch(word) or unicodedata.normalize("NFKC", word) in forms
    }


def marked(text: str, words: Words) -> tuple[Part, ...]:
    """The whole text, in parts."""
    return _parts(text, _matches(text, words), 0, len(text))


def snippet(text: str, words: Words, length: int = LENGTH) -> tuple[Part, ...]:
    """At most ``length`` characters of a passage, in one line, cut between words.

    It is the place with the most letters of the query's words, or the beginning if it has none of
    them. ``…`` shows that something is left out.
    """
    text = " ".join(text.split())
    found = _matches(text, words)
    if len(text) <= length:
        return _parts(text, found, 0, len(text))
    room = length - len("… " + " …")
    tokens = list(re.finditer(r"\S{1,60}", text))  # a longer one is cut: some scripts have no gaps
    start, end = _densest(found, room)
    left = min(max(0, start - (room - (end - start)) // 2), len(text) - room)
    shown = [token for token in tokens if token.start() >= left and token.end() <= left + room]
    before = (Part("… "),) if shown[0] is not tokens[0] else ()
    after = (Part(" …"),) if shown[-1] is not tokens[-1] else ()
    return before + _parts(text, found, shown[0].start(), shown[-1].end()) + after


@dataclass(frozen=True)
class _Match:
    start: int
    end: int
    form: str


def _words(text: str) -> Iterator[str]:
    """Words in lower case; of scripts without spaces, characters and pairs of them."""
    before = None
    for unit in _UNIT.finditer(text):
        yield unit[0].lower()
        if unit["gram"] and before is not None and before.end() == unit.start():
            yield before[0] + unit[0]
        before = unit if unit["gram"] else None


@lru_cache(maxsize=50_000)
def _start(word: str) -> str:
    """How all forms of a word begin: *die* and *dying* alike."""
    letters = unicodedata.normalize("NFKD", word[:6])
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return bare.translate(_LETTERS)[:2]


def _matches(text: str, words: Words) -> list[_Match]:
    """Where the query's words are, in order; characters that belong together as one."""
    if not words:
        return []
    units = list(_UNIT.finditer(text))
    forms = [words.get(unit[0].lower()) for unit in units]
    for place, (one, other) in enumerate(pairwise(units)):
        if one["gram"] and other["gram"] and one.end() == other.start():
            form = words.get(one[0] + other[0])
            forms[place] = forms[place] or form
            forms[place + 1] = forms[place + 1] or form
    found: list[_Match] = []
    for unit, form in zip(units, forms, strict=True):
        if form is None:
            continue
        if unit["gram"] and found and found[-1].end == unit.start():
            found[-1] = _Match(found[-1].start, unit.end(), found[-1].form)
        else:
            found.append(_Match(unit.start(), unit.end(), form))
    return found


def _densest(found: Sequence[_Match], room: int) -> tuple[int, int]:
    """Where the most letters of the query's words are together, as close as can be."""
    best, most = (0, room), 0
    for place, first in enumerate(found):
        seen: dict[str, int] = {}
        for match in found[place:]:
            if match.end - first.start > room:
                break
            if match.form in seen:
                continue
            seen[match.form] = match.end - match.start
            worth = sum(seen.values())
            if worth > most or (worth == most and match.end - first.start < best[1] - best[0]):
                best, most = (first.start, match.end), worth
    return best


def _parts(text: str, found: Sequence[_Match], start: int, end: int) -> tuple[Part, ...]:
    """The text between two places, in parts."""
    parts = []
    for match in found:
        first, last = max(match.start, start), min(match.end, end)
        if first < last:
            parts += [Part(text[start:first]), Part(text[first:last], match=True)]
            start = last
    parts.append(Part(text[start:end]))
    return tuple(part for part in parts if part.text)
