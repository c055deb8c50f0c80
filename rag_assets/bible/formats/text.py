"""Turns the raw characters between two verse markers into the plain text that is stored.

Only characters are handled here; each format decides which of them belong to a verse.
"""

from __future__ import annotations

import re
import unicodedata

BOUNDARY = "\x00"
"""Put by a reader where inline markup begins or ends; never left in a text.

It separates a blank that only the markup caused (``\\add heaven \\add*,``) from one that the
translator wrote. NUL is free for this: no source may hold it, and PostgreSQL cannot store it.
"""

INVISIBLE = "\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
"""For a character class: soft hyphen, zero-width and direction marks."""

_INVISIBLE = re.compile(f"[{INVISIBLE}]")

# An ellipsis may follow a blank; a single full stop may not.
_BLANKS = re.compile(r"([\s\x00]+)([,;:!?)\]”]|\.(?!\.))?")
# A soft hyphen is a place where a line may be broken, not a letter: it would split words in search.
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\u00ad\ufeff]")


def normalise(raw: str) -> str:
    """Return ``raw`` in NFC with single spaces and no control characters, stripped.

    Zero-width and direction marks within the text belong to its script and stay; a text of nothing
    else is blank.
    """
    text = raw
    if BOUNDARY in text:
        text = _BLANKS.sub(_without_caused_blank, text)
    text = " ".join(_DROPPED.sub("", text).split())
    return unicodedata.normalize("NFC", text) if _INVISIBLE.sub("", text).strip() else ""


def visible_only(printed: str) -> str:
    """A number, code or reference without the marks that may surround its digits."""
    return _INVISIBLE.sub("", printed).strip()


def _without_caused_blank(match: re.Match[str]) -> str:
    blanks, punctuation = match[1], match[2] or ""
    return punctuation if punctuation and BOUNDARY in blanks else blanks + punctuation
