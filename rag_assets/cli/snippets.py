"""Snippets: the part of a long passage that a list of hits shows."""

from __future__ import annotations

import re
import unicodedata

LENGTH = 240
"""Characters of a snippet: most verses fit, and it takes three or four lines of a terminal."""


def snippet(text: str, query: str, length: int = LENGTH) -> str:
    """At most ``length`` characters of a passage, in one line, cut between words.

    It shows the place with the most letters of the query's words, or the beginning if it has none
    of them. ``…`` marks what is left out.
    """
    text = " ".join(text.split())
    if len(text) <= length:
        return text
    room = length - len("… " + " …")
    words = list(re.finditer(r"\S{1,60}", text))  # a longer word is cut: some scripts have no gaps
    wanted = {word for word in map(_folded, query.split()) if len(word) > 2}
    found = [_meant(_folded(word[0]), wanted) for word in words]
    start, end = _densest(words, found, room)
    left = min(max(0, start - (room - (end - start)) // 2), len(text) - room)
    shown = [word for word in words if word.start() >= left and word.end() <= left + room]
    before = "… " if shown[0] is not words[0] else ""
    after = " …" if shown[-1] is not words[-1] else ""
    return before + text[shown[0].start() : shown[-1].end()] + after


def _densest(words: list[re.Match[str]], found: list[str | None], room: int) -> tuple[int, int]:
    """Where the most letters of the query's words stand together, as close as can be."""
    best, most = (0, room), 0
    for first, meant in enumerate(found):
        seen = set[str]()
        for word, also in zip(words[first:], found[first:], strict=True):
            if meant is None or word.end() - words[first].start() > room:
                break
            if also is None or also in seen:
                continue
            seen.add(also)
            start, end, worth = words[first].start(), word.end(), sum(map(len, seen))
            if worth > most or (worth == most and end - start < best[1] - best[0]):
                best, most = (start, end), worth
    return best


def _meant(word: str, wanted: set[str]) -> str | None:
    """The word of the query that it is, or is another form of: they begin alike."""
    for one in wanted:
        if word == one or (min(len(word), len(one)) > 3 and word[: len(one)] == one[: len(word)]):
            return one
    return None


def _folded(word: str) -> str:
    """Without case, accents and punctuation."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if letter.isalnum())
