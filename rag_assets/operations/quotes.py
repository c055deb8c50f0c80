"""Find where a text quotes others, and mask that. Pure.

Letters and digits are compared, without case and accents, so that a quote is found in JSON, over
the end of a line, and with other punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unicodedata import normalize

WINDOW = 24
"""Letters that are compared at once."""
STRIDE = 8
"""Letters from one window of the quoted texts to the next: every quote of WINDOW + STRIDE - 1
letters contains one."""
SHORTEST = 16
"""Letters of a text that is found where it is quoted wholly; shorter ones could be by chance."""

_ESCAPES = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|.)")
_UNITS = re.compile(rf'{_ESCAPES.pattern}|\w|"')
_OTHERS = re.compile(r"[\W_]+")
_END = "\0"
"""Between two texts, and two strings of a JSON document: no quote goes beyond."""


class Quotes:
    """The texts whose quotes are looked for."""

    def __init__(self, texts: Iterable[str]) -> None:
        kept = [letters for text in dict.fromkeys(texts) if (letters := _letters(text)[0])]
        self._all = _END + _END.join(kept) + _END
        self._places: dict[str, int] = {}
        self._short = [letters for letters in kept if SHORTEST <= len(letters) < WINDOW + STRIDE]
        start = 1
        for letters in kept:
            for at in range(0, len(letters) - WINDOW + 1, STRIDE):
                self._places.setdefault(letters[at : at + WINDOW], start + at)
            start += len(letters) + 1

    def masked(self, text: str) -> str | None:
        """The text with an asterisk for each byte of its quotes; ``None`` if there is no quote."""
        done, parts = 0, []
        for start, end in self.spans(text):
            parts += [text[done:start], "*" * len(text[start:end].encode(errors="surrogatepass"))]
            done = end
        return "".join((*parts, text[done:])) if parts else None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the quotes begin and end, in order, without overlaps."""
        if not self._may_be_in(text):
            return []
        letters, places = _letters(text)
        merged: list[tuple[int, int]] = []
        for first, last in sorted((*self._long_in(letters), *self._short_in(letters))):
            start, end = places[first][0], places[last - 1][1]
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _may_be_in(self, text: str) -> bool:
        """Whether there can be a quote: three times as fast, and nearly never wrong."""
        bare = _ESCAPES.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)
        letters = _OTHERS.sub("", normalize("NFD", bare).casefold())
        windows = range(len(letters) - WINDOW + 1)
        return any(letters[at : at + WINDOW] in self._places for at in windows) or any(
            short in letters for short in self._short
        )

    def _long_in(self, letters: str) -> Iterator[tuple[int, int]]:
        at = 0
        while at <= len(letters) - WINDOW:
            place = self._places.get(letters[at : at + WINDOW])
            if place is None:
                at += 1
                continue
            before, after = 0, WINDOW
            while before < at and self._same(letters[at - before - 1], place - before - 1):
                before += 1
            while at + after < len(letters) and self._same(letters[at + after], place + after):
                after += 1
            yield at - before, at + after
            at += after

    def _same(self, letter: str, place: int) -> bool:
        return letter != _END and self._all[place] == letter

    def _short_in(self, letters: str) -> Iterator[tuple[int, int]]:
        for short in self._short:
            at = letters.find(short)
            while at >= 0:
                yield at, at + len(short)
                at = letters.find(short, at + len(short))


def _letters(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The letters and digits that are compared, and where each is written in the text."""
    in_json = text[:1] in ("{", "[")
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    for found in _UNITS.finditer(text):
        unit = chr(int(found[1], 16)) if found[1] else found[0]
        if unit == '"':
            unit = _END if in_json else ""
        elif unit[0] == "\\":
            continue
        elif not unit.isascii():
            unit = normalize("NFD", unit)
        for letter in unit.casefold():
            if letter.isalnum() or letter == _END:
                letters.append(letter)
                places.append(found.span())
    return "".join(letters), places
