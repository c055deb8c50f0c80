"""Text made of lines into blocks, one format a function: Markdown, AsciiDoc, plain text.

The text of a block is what stands in the document, so that the same passage in two formats is one
text. Only the blanks at the ends of lines and between blocks are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape

from rag_assets.documents.formats.blocks import Block, Reading, heading, one_line
from rag_assets.documents.formats.front_matter import split_front_matter
from rag_assets.documents.formats.remarks import Remarks

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_NOT_UNDERLINED = re.compile(r" {0,3}(?:[-*+>|]|\d{1,9}[.)])(?:\s|$)| {4}|\t")
_CODE_OR_COMMENT = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|<!--")
_INDENTED = ("    ", "\t")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}$")
_MARKUP = (
    (re.compile(r"!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),  # a picture
    (re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),  # a link
    (re.compile(r"<[^>]*>"), ""),
    (re.compile(r"\{[#.:][^}]*\}\s*$"), ""),  # an anchor
    (re.compile(r"(\*\*|__|`|~~)(.+?)\1"), r"\2"),
    (re.compile(r"(?<!\w)([*_])(.+?)\1(?!\w)"), r"\2"),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
)

_ADOC_SECTION = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?[ \t]*$")
_ADOC_VERBATIM = re.compile(r"(-{4,}|\.{4,}|\+{4,}|`{3,})(?:[\w,+-]*)[ \t]*$")
_ADOC_COMMENT = re.compile(r"/{4,}[ \t]*$")
_ADOC_HIDDEN = re.compile(
    r"//(?!/)|:!?[\w-]+!?:(?:\s|$)|(?:ifdef|ifndef|ifeval|endif)::|\[\[[^\]]+\]\]$"
)
_ADOC_DESCRIPTION = re.compile(r":description:[ \t]+(\S.*)")
_ADOC_MARKUP = (
    (re.compile(r"\[\[[^\]]*\]\]"), ""),
    (re.compile(r"(?:\w+:)?\S*?(?:image|xref|link|https?):[^\s\[]*\[([^\]]*)\]"), r"\1"),
    (re.compile(r"<<[^,>]*,?([^>]*)>>"), r"\1"),
    (re.compile(r"([*_`+#]{1,2})(\S.*?)\1"), r"\2"),
)


def read_plain(text: str, _: Remarks | None = None) -> Reading:
    """Paragraphs between blank lines; nothing is a heading."""
    passages = _Passages()
    for line in _lines(text):
        passages.add(line)
    return Reading(passages.end())


def read_markdown(text: str, remarks: Remarks | None = None) -> Reading:
    """CommonMark's headings, both kinds; a ``#`` in code or in a comment is none.

    Comments are no text, and of the front matter only the title and entries that are sentences.
    """
    remarks = remarks or Remarks()
    front, start = split_front_matter(text)
    front.report(remarks)
    passages = _Passages()
    for line in front.sentences:
        passages.add(line)
    passages.flush()
    fence = ""
    comment = _Comment(remarks)
    for line in _lines(text, start):
        if fence:
            passages.add_code(line)
            closing = line.strip()
            if len(closing) >= len(fence) and closing == fence[0] * len(closing):
                passages.flush()
                fence = ""
            continue
        for shown in comment.shown(line, is_code=passages.continues_code(line)):
            if found := _FENCE.match(shown):
                passages.flush()
                passages.add_code(shown)
                fence = found.group(1)
            elif not _takes_heading(passages, shown):
                passages.add(shown)
    for line in comment.take():
        passages.add(line)
    return Reading(titled(passages.end(), front.title, remarks), front.title, front.language)


class _Comment:
    """Takes the comments out of Markdown's lines; one within a paragraph ends with it."""

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._lines: list[str] = []  # of a comment that is open
        self._in_paragraph = False

    def shown(self, line: str, *, is_code: bool) -> list[str]:
        """Return the lines to read: none within a comment, several if it turns out to be text."""
        if not self._lines:
            return [line] if is_code or "<!--" not in line else self._without(line)
        if not line and self._in_paragraph:
            return [*self.take(), line]
        self._lines.append(line)
        if "-->" not in line:
            return []
        inside, _, behind = line.partition("-->")
        self._remarks.left_out("comment", " ".join([*self._lines[:-1], inside]))
        self._lines.clear()
        shown = self._without(behind.strip())
        return shown if behind else []

    def take(self) -> list[str]:
        """Return the lines of a comment that has no end, which are text."""
        lines, self._lines = self._lines, []
        return lines

    def _without(self, line: str) -> list[str]:
        shown, start = "", 0
        for found in _CODE_OR_COMMENT.finditer(line):
            if found.group(1) or found.start() < start:
                continue
            shown += line[start : found.start()]
            end = line.find("-->", found.end())
            if end < 0:
                self._lines.append(line[found.start() :])
                self._in_paragraph = bool(shown.strip())
                break
            start = end + 3
            self._remarks.left_out("comment", line[found.start() : start])
        else:
            shown += line[start:]
        return [shown.rstrip()] if shown.strip() else []


def titled(blocks: list[Block], title: str, remarks: Remarks) -> list[Block]:
    """The blocks with the front matter's title as a heading, unless one of theirs is the same."""
    wanted = one_line(title).casefold()
    if not wanted or not blocks:
        return blocks
    if any(block.title.casefold() == wanted for block in blocks):
        remarks.left_out("entry of the front matter", f"title: {title}")
        return blocks
    return [heading(title, 1), *blocks]


def _takes_heading(passages: _Passages, line: str) -> bool:
    """Add the line if it is a heading, underlines one, or is a rule; return whether it is."""
    if found := _ATX.match(line):
        passages.flush()
        title = plain_markdown(found.group(2) or "")
        passages.add_heading(line.strip(), len(found.group(1)), title)
        return True
    found = _UNDERLINE.match(line)
    if found is None or not passages.may_be_underlined():
        if not _RULE.match(line):
            return False
        passages.flush()
        passages.add(line)
        passages.flush()
        return True
    above = passages.take()
    level = 1 if found.group(1)[0] == "=" else 2
    passages.add_heading(f"{above}\n{line.strip()}", level, plain_markdown(above))
    return True


def read_asciidoc(text: str, remarks: Remarks | None = None) -> Reading:
    """AsciiDoc's sections; those in listings are none. Attributes and comments are no text."""
    remarks = remarks or Remarks()
    passages = _Passages()
    verbatim, title = "", ""
    comment = False
    for line in _lines(text):
        if comment or _ADOC_COMMENT.match(line):
            comment = comment != bool(_ADOC_COMMENT.match(line))
            remarks.left_out("attribute or comment", line)
        elif verbatim:
            passages.add_code(line)
            if line.rstrip() == verbatim:
                passages.flush()
                verbatim = ""
        elif found := _ADOC_VERBATIM.match(line):
            passages.add_code(line)
            verbatim = found.group(1)
        elif (found := _ADOC_SECTION.match(line)) and passages.at_beginning():
            passages.flush()
            name = _stripped(found.group(2), _ADOC_MARKUP)
            title = title or name
            passages.add_heading(line.strip(), len(found.group(1)), name)
        elif described := _ADOC_DESCRIPTION.match(line):
            passages.add(described.group(1))
            passages.flush()
        elif _ADOC_HIDDEN.match(line):
            remarks.left_out("attribute or comment", line)
        else:
            passages.add(line)
    return Reading(passages.end(), title)


def plain_markdown(text: str) -> str:
    """A heading without its markup."""
    return unescape(_stripped(text, _MARKUP))


def _stripped(text: str, markup: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    text = text[:2000]
    for pattern, kept in markup:
        text = pattern.sub(kept, text)
    return text


def _lines(text: str, start: int = 0) -> Iterator[str]:
    """Lines without their ends; one at a time, for a list of them all takes twice the text."""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end].rstrip()
        start = end + 1


@dataclass
class _Passages:
    """Collects lines into blocks."""

    blocks: list[Block] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    code: bool = False

    def add(self, line: str) -> None:
        """A line of a paragraph, or a blank one, which ends it."""
        if line:
            self.lines.append(line)
        else:
            self.flush()

    def add_code(self, line: str) -> None:
        """Add a line as it is; a blank one does not end the passage."""
        self.lines.append(line)
        self.code = True

    def continues_code(self, line: str) -> bool:
        """Whether the line is indented code: an indented line cannot interrupt a paragraph."""
        return line.startswith(_INDENTED) and all(one.startswith(_INDENTED) for one in self.lines)

    def add_heading(self, text: str, level: int, title: str) -> None:
        self.blocks.append(heading(text, level, title))

    def may_be_underlined(self) -> bool:
        """Whether what stands above a line of ``---`` is a heading, no list, table or quotation."""
        return 0 < len(self.lines) <= 3 and not _NOT_UNDERLINED.match(self.lines[0])

    def at_beginning(self) -> bool:
        """Whether no paragraph is open; lines in brackets describe the one that follows."""
        return all(line.startswith("[") for line in self.lines)

    def take(self) -> str:
        """The lines so far, which are no passage after all."""
        text = "\n".join(self.lines).strip()
        self.lines.clear()
        return text

    def flush(self) -> None:
        text = "\n".join(self.lines).strip("\n")
        if text.strip():
            self.blocks.append(Block(text, prose=not self.code))
        self.lines.clear()
        self.code = False

    def end(self) -> list[Block]:
        self.flush()
        return self.blocks
