r"""Check a USFM file's markers for what the reference parser would drop without a report.

A footnote that never ends takes the rest of the chapter with it. A cross reference, another span
that is not verse text, or a bar (``|``) that begins attributes without an end takes the rest of its
verse. No text is produced here: a file passes or is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from usfmtc import Grammar

from rag_assets.bible.formats.usx_tree import APART_CHARS
from rag_assets.errors import CorpusError

_TOKEN = re.compile(r"\\\+?([a-z]+[0-9]*(?:-[se])?)(\*?)|\\(\*)|((?<!\\)\|)|\\\s*\Z")
_NOTES = frozenset({"f", "fe", "ef", "efe", "x", "ex"})
_FIGURE = "fig"
_SPANS = frozenset({"char", "listchar"})
_WITHIN_PARAGRAPHS = _SPANS | {"attribute", "footnotechar", "crossreferencechar", "milestone"}
_TEXT = frozenset({"versepara", "list", "cell"})
_APART = APART_CHARS - {"cp"}  # that one is a line of its own


@dataclass(frozen=True, slots=True)
class _Open:
    """A marker, without its backslash, and where it stands."""

    name: str
    position: int


@dataclass(slots=True)
class _Scan:
    """What is open at the current position in the file.

    :param notes: the open note, and a figure inside it.
    :param bar: the marker whose attributes are being read.
    :param last: the marker that a bar would belong to.
    :param in_text: whether the paragraph contains verse text.
    """

    path: Path
    text: str
    notes: list[_Open] = field(default_factory=list)
    spans: list[_Open] = field(default_factory=list)
    bar: _Open | None = None
    last: _Open | None = None
    in_text: bool = False

    def take(self, token: re.Match[str]) -> None:
        name, closing, milestone_end, bar = token.groups()
        if milestone_end:
            self.bar = self.last = None
        elif bar:
            self._take_bar(token.start())
        elif name is None:
            reason = "ends in the middle of a marker (cut off?): fetch the file again"
            raise self._refusal(reason, token.start())
        elif closing:
            self._close(name)
        elif name in _NOTES or name == _FIGURE:
            self._open_note(_Open(name, token.start()))
        elif not self.notes:
            self._open(_Open(name, token.start()))
        elif name in {"v", "c", "id"}:
            raise self._unclosed(self.notes[-1])

    def finish(self) -> None:
        """The file's end: it may be cut off, so that plain spans must be closed, too."""
        self._refuse_attributes()
        for left in (*self.notes[-1:], *self.spans[-1:]):
            raise self._unclosed(left)

    def _take_bar(self, position: int) -> None:
        if self.notes or self.bar:
            return
        if self.last is not None:
            self.bar = self.last
        elif self.in_text:
            reason = "a | in the text, after which the rest of the line would be lost: remove it"
            raise self._refusal(reason, position)

    def _close(self, name: str) -> None:
        if name in _NOTES or name == _FIGURE:
            self._close_note(name)
            return
        if self.notes:
            return
        if self.bar is None or self.bar.name == name:
            self.bar = self.last = None
        names = [span.name for span in self.spans]
        if name in names:
            self.spans = self.spans[: len(names) - 1 - names[::-1].index(name)]
            self.last = self.spans[-1] if self.spans else None
        elif self.in_text and names and names[-1] in _APART:
            raise self._closed_by(self.spans[-1], name)

    def _close_note(self, name: str) -> None:
        """One that was not opened is left: the parser reports it and keeps the text."""
        if self.notes and self.notes[-1].name != name:
            raise self._closed_by(self.notes[-1], name)
        self.notes = self.notes[:-1]

    def _open_note(self, note: _Open) -> None:
        within = [one.name for one in self.notes]
        if within and (note.name != _FIGURE or _FIGURE in within):
            raise self._unclosed(self.notes[-1])
        self._refuse_attributes()
        self.notes.append(note)

    def _open(self, marker: _Open) -> None:
        self._refuse_attributes()
        category = Grammar.marker_categories.get(marker.name)
        self.last = marker
        if category in _SPANS or marker.name in _APART:
            self.spans.append(marker)
        elif marker.name == "v":
            self._refuse_apart()
            self.in_text, self.last = True, None
        elif category is not None and category not in _WITHIN_PARAGRAPHS and marker.name != "ref":
            self._refuse_apart()
            self.in_text, self.last, self.spans = category in _TEXT, None, []

    def _refuse_apart(self) -> None:
        for span in self.spans:
            if self.in_text and span.name in _APART:
                raise self._unclosed(span)

    def _refuse_attributes(self) -> None:
        if self.bar is not None:
            raise self._unclosed(self.bar)

    def _unclosed(self, open_one: _Open) -> CorpusError:
        name = open_one.name
        end = r"\*" if Grammar.marker_categories.get(name) == "milestone" else rf"\{name}*"
        return self._refusal(
            rf"\{name} is not closed (cut off?): close it with {end} or fetch the file again",
            open_one.position,
        )

    def _closed_by(self, open_one: _Open, other: str) -> CorpusError:
        name = open_one.name
        reason = rf"\{name} is closed by \{other}*: close it with \{name}*"
        return self._refusal(reason, open_one.position)

    def _refusal(self, reason: str, position: int) -> CorpusError:
        return CorpusError(self.path, reason, line=self.text.count("\n", 0, position) + 1)


def refuse_swallowing(path: Path, text: str) -> None:
    """Pass a file whose markers are closed as they must be.

    :param text: the whole file, without remarks.
    :raises CorpusError: a note, a figure or attributes are open at a verse, a chapter or the file's
        end, or closed by another's marker; a span that is not verse text is open at its verse's or
        paragraph's end; another span is open at the file's end (a cut file looks like that).
    """
    scan = _Scan(path, text)
    for token in _TOKEN.finditer(text):
        scan.take(token)
    scan.finish()
