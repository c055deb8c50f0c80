"""HTML and XHTML into blocks, however badly they are written.

With the standard library's parser: it keeps all text, also what stands outside paragraphs, never
fails, and does not recurse.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.lines import split_front_matter

_BLANKS = re.compile(r"[ \t\n]+")
_DECLARED = re.compile(
    rb"""<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_HIDDEN = frozenset({"script", "style", "svg", "template"})
_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img input ins kbd label mark "
    "nobr q rp rt ruby s samp small span strike strong sub sup time tt u var wbr"
)
_FLOWS_ON = frozenset(_INLINE.split())
_CELLS = frozenset({"td", "th"})


def declared_encoding(content: bytes) -> str | None:
    """The encoding named in the first 2,048 bytes."""
    found = _DECLARED.search(content[:2048])
    return found.group(1).decode("ascii", "replace") if found else None


def read_html(text: str) -> Reading:
    """All visible text, headings as headings, cells of a table's row on one line."""
    reader = _Reader()
    reader.feed(text[split_front_matter(text)[1] :])
    reader.close()
    reader.flush()
    return Reading(reader.blocks, one_line(reader.title), reader.language)


class _Reader(HTMLParser):
    """Takes tags as they come, closed or not."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self.language = ""
        self._parts: list[str] = []
        self._level = 0  # of the heading that is open
        self._in_title = False
        self._hidden = ""  # the tag that hides what stands in it
        self._depth = 0  # of the same tag within it
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag in _HIDDEN or _is_note_mark(tag, attrs):
            self._hidden, self._depth = tag, 1
        elif tag == "html":
            named = dict(attrs)
            self.language = named.get("lang") or named.get("xml:lang") or ""
        elif tag == "title":
            self._in_title = True
        elif tag == "br":
            self._parts.append("\n")
        elif tag in _CELLS:
            if "".join(self._parts[-2:]).strip():
                self._parts.append(" | ")
        elif tag not in _FLOWS_ON:
            self._begin(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # In HTML `<div/>` opens; in XHTML it also closes, and nothing depends on that but these.
        if tag not in _HIDDEN and tag != "title":
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._depth -= tag == self._hidden
            self._hidden = self._hidden if self._depth else ""
        elif tag == "title":
            self._in_title = False
        elif tag == "tr":
            self._parts.append("\n")
        elif tag not in _FLOWS_ON and tag not in _CELLS and tag != "br":
            self.flush()
            self._preformatted -= tag == "pre" and self._preformatted > 0

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title = self.title or data.strip()
        elif not self._hidden:
            self._parts.append(data if self._preformatted else _BLANKS.sub(" ", data))

    def flush(self) -> None:
        """End the heading or the passage that is open."""
        lines = "".join(self._parts).split("\n")
        if not self._preformatted:
            lines = [line.strip().strip("|").strip() for line in lines]
        text = "\n".join(line.rstrip() for line in lines).strip("\n")
        if text.strip() and self._level:
            self.blocks.append(heading(one_line(text), self._level))
        elif text.strip(" \n-"):
            self.blocks.append(Block(text, prose=not self._preformatted))
        self._parts.clear()
        self._level = 0

    def _begin(self, tag: str) -> None:
        if tag == "tr":
            return
        self.flush()
        if re.fullmatch("h[1-6]", tag):
            self._level = int(tag[1])
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "li":
            self._parts.append("- ")


def _is_note_mark(tag: str, attrs: list[tuple[str, str | None]]) -> bool:
    """The number of a footnote, which would stick to the word before it."""
    return tag == "a" and any(
        name in ("epub:type", "role") and value in ("noteref", "doc-noteref")
        for name, value in attrs
    )
