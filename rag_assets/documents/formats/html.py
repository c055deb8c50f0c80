"""HTML and XHTML into blocks, however badly they are written.

With the standard library's parser: it keeps all text, also what stands outside paragraphs, never
fails, and does not recurse.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.cells import Cells
from rag_assets.documents.formats.front_matter import split_front_matter
from rag_assets.documents.formats.lines import titled
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.unseen import (
    CONSENT,
    NAVIGATION,
    SCRIPT,
    VOID,
    Unseen,
    unseen,
)

_BLANKS = re.compile(r"[ \t\n]+")
_DECLARED = re.compile(
    rb"""<(?:meta\b[^>]*?charset|\?xml\b[^>]*?encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_INLINE = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i img input ins kbd label mark "
    "nobr q rp rt ruby s samp small span strike strong sub sup time tt u var wbr "
    "svg g path rect circle ellipse line polyline polygon use defs symbol marker mask pattern "
    "image clippath lineargradient radialgradient stop filter desc tspan textpath animate"
)
_FLOWS_ON = frozenset(_INLINE.split())
_NESTED_BOXES = 3  # times a page is read again because a box in a box is text
_CELLS = frozenset({"td", "th"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def declared_encoding(content: bytes) -> str | None:
    """The encoding named in the first 2,048 bytes."""
    found = _DECLARED.search(content[:2048])
    return found.group(1).decode("ascii", "replace") if found else None


def read_html(text: str, remarks: Remarks | None = None) -> Reading:
    """All visible text, headings as headings, cells of a table's row on one line.

    Hidden elements, navigation and cookie banners are left out; but navigation stays where it is
    all the text, or has no end.
    """
    front, start = split_front_matter(text)
    text = text[start:]
    reader = _read(text, keep_navigation=False)
    for _ in range(_NESTED_BOXES):
        if reader.boxes_of_text <= reader.kept:
            break
        reader = _read(text, keep_navigation=False, kept=reader.kept | reader.boxes_of_text)
    if reader.lacks_text:
        reader = _read(text, keep_navigation=True)
    remarks = remarks or Remarks()
    for tag, said in reader.endless:
        remarks.lost(f"{tag} without an end, and the text after it", said)
    if reader.cells_cut:
        remarks.left_out("repetition of a cell over several rows", count=reader.cells_cut)
    front.report(remarks)
    for why, said in reader.left_out:
        remarks.left_out(why, said)
    described = [Block(sentence) for sentence in front.sentences]
    blocks = titled([*described, *reader.blocks], front.title, remarks) if reader.blocks else []
    return Reading(blocks, front.title or one_line(reader.title), reader.language or front.language)


def _read(
    text: str, *, keep_navigation: bool, kept: frozenset[tuple[int, int]] = frozenset()
) -> _Reader:
    reader = _Reader(keep_navigation=keep_navigation, kept=kept)
    reader.feed(text)
    reader.close()
    reader.end()
    return reader


class _Reader(HTMLParser):
    """Takes tags as they come, closed or not.

    :param kept: positions of elements that are named like cookie banners and are text.
    """

    def __init__(self, *, keep_navigation: bool, kept: frozenset[tuple[int, int]]) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self.language = ""
        self.left_out: list[tuple[str, str]] = []
        self.endless: list[tuple[str, str]] = []
        self.cells_cut = 0
        self.kept = kept
        self.boxes_of_text: frozenset[tuple[int, int]] = frozenset()
        self._keep_navigation = keep_navigation
        self._parts: list[str] = []
        self._level = 0  # of the heading that is open
        self._in_title = False
        self._drawings = 0  # SVG elements that are open; their titles are text
        self._unseen: Unseen | None = None
        self._preformatted = 0
        self._tables: list[Cells] = []

    @property
    def lacks_text(self) -> bool:
        """Whether navigation took all the text, or has no end."""
        skipped = any(why in (NAVIGATION, CONSENT) for why, _ in self.left_out)
        return skipped and (not self.blocks or self._unseen is not None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_block = tag not in _FLOWS_ON
        if self._unseen is not None:
            if self._unseen.goes_on_at(tag, is_block=is_block):
                return
            self._end_unseen()
        named = dict(attrs)
        why = unseen(tag, named, keep_navigation=self._keep_navigation)
        self._drawings += tag == "svg" and not why
        if why and not (why == CONSENT and self.getpos() in self.kept):
            if tag not in VOID:
                self._unseen = Unseen(tag, why, self.getpos())
        elif tag == "html":
            self.language = named.get("lang") or named.get("xml:lang") or ""
        elif tag == "title":
            self._in_title = not self._drawings
            self._parts.append(" ")
        elif tag == "br":
            self._parts.append("\n")
        elif tag in ("img", "area") and (said := (named.get("alt") or "").strip()):
            self._parts.append(f" {one_line(said)} ")
        elif is_block:
            self._begin(tag, named)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # In HTML `<div/>` opens; in XHTML it also closes, and nothing depends on that but these.
        if tag != "title" and not unseen(tag, dict(attrs), keep_navigation=True):
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        is_block = tag not in _FLOWS_ON
        if self._unseen is not None:
            own = tag == self._unseen.tag
            if self._unseen.goes_on_behind(tag, is_block=is_block):
                return
            self._end_unseen()
            if own:
                return
        self._drawings -= tag == "svg" and self._drawings > 0
        if tag == "title":
            self._in_title = False
            self._parts.append(" ")
        elif tag in _CELLS or tag == "tr":
            self._end_cell()
            if tag == "tr" and self._tables:
                self._tables[-1].end_row()
        elif tag == "table" and self._tables:
            self._end_table()
        elif tag == "pre":
            self.flush()
            self._preformatted -= self._preformatted > 0
        elif is_block and tag not in VOID:
            self._part()

    def handle_data(self, data: str) -> None:
        if self._unseen is not None:
            self._unseen.text.append(data)
        elif self._in_title:
            self.title = self.title or data.strip()
        else:
            self._parts.append(data if self._preformatted else _BLANKS.sub(" ", data))

    def unknown_decl(self, data: str) -> None:
        """A CDATA section of XHTML is text."""
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def end(self) -> None:
        """End the text, whatever is open."""
        if self._unseen is not None:
            if self._unseen.why == SCRIPT:
                # The parser keeps the rest of a script that has no end tag.
                self.endless.append((self._unseen.tag, "".join(self._unseen.text) + self.rawdata))
            self._note(self._unseen)
        while self._tables:
            self._end_table()
        self.flush()

    def flush(self) -> None:
        """End the heading or the passage that is open."""
        lines = "".join(self._parts).split("\n")
        if not self._preformatted:
            lines = [_BLANKS.sub(" ", line.strip()) for line in lines]
        text = "\n".join(line.rstrip() for line in lines).strip("\n")
        if text.strip() and self._level:
            self.blocks.append(heading(one_line(text), self._level))
        elif text.strip(" \n-"):
            self.blocks.append(Block(text, prose=not self._preformatted))
        self._parts.clear()
        self._level = 0

    def _begin(self, tag: str, named: dict[str, str | None]) -> None:
        if tag in _CELLS and self._tables:
            self._end_cell()
            self._tables[-1].begin_cell(named.get("rowspan"), named.get("colspan"))
        elif tag == "tr" and self._tables:
            self._end_cell()
            self._tables[-1].end_row()
        elif tag == "table":
            self._end_rows()
            self._tables.append(Cells())
        elif tag in _HEADINGS or tag == "pre":
            self._end_rows()
            self._level = _HEADINGS.get(tag, 0)
            self._preformatted += tag == "pre"
        else:
            self._part()
            if tag == "li":
                self._parts.append("- ")

    def _part(self) -> None:
        """End the passage at the border of a block element; within a cell, only the line."""
        if self._tables and self._tables[-1].in_cell and not self._level:
            self._parts.append("\n")
        else:
            self.flush()

    def _end_cell(self) -> None:
        if self._tables and self._tables[-1].in_cell:
            lines = (line.strip() for line in "".join(self._parts).split("\n"))
            self._tables[-1].end_cell("\n".join(line for line in lines if line))
            self._parts.clear()

    def _end_rows(self) -> None:
        """Add the rows of the innermost table, and any open passage, to the blocks."""
        if not self._tables or self._level:
            self.flush()
            return
        was_in_cell = self._tables[-1].in_cell
        self._end_cell()
        self._tables[-1].end_row()
        if rows := self._tables[-1].take():
            self.blocks.append(Block(rows))
        self.flush()
        if was_in_cell:
            self._tables[-1].begin_cell(None, None)

    def _end_table(self) -> None:
        self._end_rows()
        self.cells_cut += self._tables.pop().cut

    def _end_unseen(self) -> None:
        if self._unseen is not None:
            self._note(self._unseen)
        self._unseen = None

    def _note(self, hidden: Unseen) -> None:
        if hidden.is_text:
            self.boxes_of_text |= {hidden.position}
        if hidden.why != SCRIPT and (said := one_line("".join(hidden.text))):
            self.left_out.append((hidden.why, said))
