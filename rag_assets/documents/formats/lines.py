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
from rag_assets.documents.formats.remarks import Remarks

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_NOT_UNDERLINED = re.compile(r" {0,3}(?:[-*+>|]|\d{1,9}[.)])(?:\s|$)| {4}|\t")
_COMMENT = re.compile(r"<!--.*?-->")
_FRONT = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*$\n?", re.DOTALL | re.MULTILINE)
_FRONT_LONGEST = 20_000  # characters
_ENTRY = re.compile(r"^(\w[\w-]*)[ \t]*[:=][ \t]*(.*(?:\n(?:[ \t]+|- ).*)*)", re.MULTILINE)
_SENTENCE_WORDS = 5  # an entry of this many words is written to be read
_DESCRIPTIONS = frozenset({"description", "summary", "abstract", "subtitle", "excerpt"})
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
    for entry in front.left_out:
        remarks.left_out("entry of the front matter", entry)
    passages = _Passages()
    for line in front.sentences:
        passages.add(line)
    passages.flush()
    fence = ""
    commented: list[str] = []
    for line in _lines(text, start):
        if commented:
            commented.append(line)
            if "-->" in line:
                remarks.left_out("comment", " ".join(commented).rpartition("-->")[0])
                passages.add(line.split("-->", 1)[1].strip())
                commented.clear()
        elif fence:
            passages.add_code(line)
            closing = line.strip()
            if len(closing) >= len(fence) and closing == fence[0] * len(closing):
                passages.flush()
                fence = ""
        elif found := _FENCE.match(line):
            passages.flush()
            passages.add_code(line)
            fence = found.group(1)
        elif line.startswith("<!--") and "-->" not in line:
            commented.append(line)
        elif not _takes_heading(passages, line):
            shown = _without_comments(line, remarks) if "<!--" in line else line
            if shown or not line:
                passages.add(shown)
    for line in commented:  # never closed: so it is none
        passages.add(line)
    return Reading(titled(passages.end(), front.title, remarks), front.title, front.language)


def _without_comments(line: str, remarks: Remarks) -> str:
    for comment in _COMMENT.findall(line):
        remarks.left_out("comment", comment)
    return _COMMENT.sub("", line).rstrip()


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
    """Whether the line is a heading, or makes one of what stands above it; then it is added."""
    if found := _ATX.match(line):
        passages.flush()
        title = plain_markdown(found.group(2) or "")
        passages.add_heading(line.strip(), len(found.group(1)), title)
        return True
    found = _UNDERLINE.match(line)
    if found is None or not passages.may_be_underlined():
        return False
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


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands before the text, in YAML or TOML.

    :param sentences: descriptions, and entries of five words and more, a line each, but for the
        title; ``left_out`` the others.
    """

    title: str = ""
    language: str = ""
    sentences: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def split_front_matter(text: str) -> tuple[FrontMatter, int]:
    """The front matter, and where the text behind it begins. Nested entries are not looked into."""
    found = _FRONT.match(text[:_FRONT_LONGEST]) if text.startswith(("---", "+++")) else None
    if found is None:
        return FrontMatter(), 0
    entries = {
        name.lower(): one_line(value).lstrip("|>").strip(" \"'")
        for name, value in _ENTRY.findall(found.group(2))
    }
    title = entries.pop("title", "")
    sentences = tuple(
        f"{name}: {value}"
        for name, value in entries.items()
        if len(value.split()) >= _SENTENCE_WORDS or (value and name in _DESCRIPTIONS)
    )
    language = entries.get("lang") or entries.get("language") or ""
    left_out = tuple(
        entry
        for name, value in entries.items()
        if value and (entry := f"{name}: {value}") not in sentences
    )
    return FrontMatter(title, language, sentences, left_out), found.end()


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
        """A line as it is; a blank one ends nothing."""
        self.lines.append(line)
        self.code = True

    def add_heading(self, text: str, level: int, title: str) -> None:
        self.blocks.append(heading(text, level, title))

    def may_be_underlined(self) -> bool:
        """Whether what stands above a line of ``---`` is a heading, no list, table or quotation."""
        return 0 < len(self.lines) <= 3 and not _NOT_UNDERLINED.match(self.lines[0])

    def at_beginning(self) -> bool:
        """Whether no paragraph is open; what stands in brackets tells of the one that follows."""
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
