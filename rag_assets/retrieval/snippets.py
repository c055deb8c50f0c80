"""Snippets: the part of a passage that matches a query, with the query's words marked. Pure.

Which words are the same is decided by the database, which folds them as full text search does; here
are the words that it is asked about, and the places of those that it finds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

LENGTH = 240
"""Characters of a snippet: most verses fit, and it takes three or four lines of a terminal."""

MAX_WORD = 100
"""Characters; what is longer is no word, and is not marked."""

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


class Forms(NamedTuple):
    """The folded forms of a word in a passage, and in a query, which has the specific ones only."""

    text: Sequence[str]
    query: Sequence[str]


def of_query(query: str) -> set[str]:
    """The words of a query."""
    return {word for word, alone in _words(query) if alone}


def likely(asked: Collection[str], text: str, language: str) -> set[str]:
    """The words of a text that may be words of a query: those that begin like one.

    :param asked: those of the query.
    :param language: first part of the tag of the text's.
    """
    words = {word for word, _ in _words(text)}
    if language in _PREFIXED:
        return words
    starts = set(map(_start, asked))
    return {word for word in words if _start(word) in starts}


def same(asked: Collection[str], words: Collection[str], forms: Mapping[str, Forms]) -> Words:
    """The words that are the query's.

    A pair of characters is not a match if only one of them is.

    :param asked: those of the query.
    :param forms: of both.
    """
    wanted = {form for word in asked for form in forms[word].query}
    found: dict[str, str] = {}
    for word in words:
        common = [form for form in forms[word].text if form in wanted]
        if common and (not _GRAM.fullmatch(word) or _composed(word) in common):
            found[word] = common[0]
    return found


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


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """Words in lower case; of scripts without spaces, characters and pairs of them.

    Each with whether it stands for itself in a query: a character in a pair does not.
    """
    units = list(_UNIT.finditer(text))
    paired = {
        place
        for place, (one, other) in enumerate(pairwise(units))
        if one["gram"] and other["gram"] and one.end() == other.start()
    }
    for place, unit in enumerate(units):
        if unit.end() - unit.start() > MAX_WORD:
            continue
        yield unit[0].lower(), place not in paired and place - 1 not in paired
        if place in paired:
            yield unit[0] + units[place + 1][0], True


def _composed(word: str) -> str:
    return unicodedata.normalize("NFKC", word)


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
