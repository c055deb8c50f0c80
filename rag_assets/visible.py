"""Text for people: numbers with their nouns, and text by others, made safe to show.

What moves a terminal's cursor, ends a line or turns the order of writing round is shown as an
escape, ``\\x1b`` or ``\\n``, and does nothing. The CLI's console, the formatters of log lines and
Slack's messages apply it themselves, so that no caller can forget it.
"""

from __future__ import annotations

import logging
import re

_ACTIVE = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ANY = re.compile(f"[\n{_ACTIVE}]")
_IN_JSON = re.compile(f"[{_ACTIVE}]")


def visible(text: str) -> str:
    """One line in which every character shows itself; half of a surrogate pair, too."""
    if text.isprintable():
        return text
    return _ANY.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """The same of each line of a text that may have several."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """A JSON document that means the same: JSON itself escapes only what is below a blank."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class LineFormatter(logging.Formatter):
    """A record is one line; a trace's lines are set in, so that none looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """The line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 -- logging's name
        """The trace."""
        trace = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {visible(line)}" for line in trace.split("\n"))


def count(number: int, noun: str) -> str:
    """``1 document``, ``1,200 documents``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
