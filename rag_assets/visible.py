"""Make untrusted text safe to show, format numbers with their nouns, and reword validation errors.

Characters that move a terminal's cursor, end a line or reverse the writing direction are shown as
escapes, such as ``\\x1b`` or ``\\n``. The CLI's console, the log formatters and Slack's messages
apply this themselves, so that no caller can forget it.
"""

from __future__ import annotations

import logging
import re

_ACTIVE = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ANY = re.compile(f"[\n{_ACTIVE}]")
_REWORDED = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^Value error, ", ""),
        (r"^(?:Input|String|List|Value|Data) should ", "must "),
        (r", (?:unable to|got) .*", ""),
        (r"greater than or equal to", "at least"),
        (r"less than or equal to", "at most"),
        (r"\ba valid (?=[aeiou])", "an "),
        (r"\ba valid ", "a "),
        (r"^Field required$", "is required"),
        (r"^Extra inputs are not permitted$", "is unknown"),
    )
)
_IN_JSON = re.compile(f"[{_ACTIVE}]")


def visible(text: str) -> str:
    """The text in one line, with invisible characters and unpaired surrogates escaped."""
    if text.isprintable():
        return text
    return _ANY.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """:func:`visible` for each line of a text."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """An equivalent JSON document: JSON itself only escapes characters below U+0020."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


class LineFormatter(logging.Formatter):
    """Formats a record as one line, and indents tracebacks so that no line looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """The line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 -- logging's name
        """The traceback, indented."""
        trace = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {visible(line)}" for line in trace.split("\n"))


def count(number: int, noun: str) -> str:
    """``1 document``, ``1,200 documents``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def reworded(fault: str) -> str:
    """Return Pydantic's message about a value as the rest of a sentence: ``must be at least 1``."""
    for pattern, words in _REWORDED:
        fault = pattern.sub(words, fault)
    return fault
