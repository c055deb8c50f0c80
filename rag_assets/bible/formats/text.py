"""Turns the raw characters between two verse markers into the plain text that is stored.

Only characters are handled here; which of them belong to a verse is each format's business.
"""

from __future__ import annotations

import re
import unicodedata

BOUNDARY = "\x00"
"""Put by a reader where inline markup begins or ends; never left in a text.

It tells a blank that only the markup caused (``\\add heaven \\add*,``) from one that the
translator wrote. NUL is free for this: no source may hold it, and PostgreSQL cannot store it.
"""

# An ellipsis may follow a blank; a single full stop may not.
_BLANKS = re.compile(r"([\s\x00]+)([,;:!?)\]”]|\.(?!\.))?")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ufeff]")


def normalise(raw: str) -> str:
    """Returns ``raw`` in NFC, with single spaces, no control characters, stripped."""
    text = raw
    if BOUNDARY in text:
        text = _BLANKS.sub(_without_caused_blank, text)
    text = " ".join(_CONTROLS.sub("", text).split())
    return unicodedata.normalize("NFC", text)


def _without_caused_blank(match: re.Match[str]) -> str:
    blanks, punctuation = match[1], match[2] or ""
    return punctuation if punctuation and BOUNDARY in blanks else blanks + punctuation
