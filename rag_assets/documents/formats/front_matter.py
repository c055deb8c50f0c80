"""The YAML or TOML that may stand before the text of a page: its title, language, description."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_assets.documents.formats.blocks import one_line
from rag_assets.documents.formats.remarks import Remarks

_FRONT = re.compile(
    r"(?:---[ \t]*\n(?![ \t]*\n)|(\+\+\+)[ \t]*\n)(.*?)^(?(1)\+\+\+|(?:---|\.\.\.))[ \t]*$\n?",
    re.DOTALL | re.MULTILINE,
)
_LONGEST = 20_000  # characters
_NAME = r"""("[^"\n]+"|'[^'\n]+'|\w[\w.-]*)[ \t]*"""
_YAML = re.compile(_NAME + r":(?:[ \t]+(.*))?$")
_TOML = re.compile(_NAME + r"=[ \t]*(.*)$")
_CONTINUED = re.compile(r"[ \t]|-(?:[ \t]|$)|[\]}],?[ \t]*$")
_BLOCK_SCALAR = re.compile(r"^[|>][-+\d]*(?:\s|$)")
_SENTENCE_WORDS = 5  # an entry of this many words is written to be read
_DESCRIPTIONS = frozenset({"description", "summary", "abstract", "subtitle", "excerpt"})


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stands before the text.

    :param sentences: descriptions, and entries of five words or more, one line each, except for
        the title.
    :param left_out: the other entries and the comments.
    """

    title: str = ""
    language: str = ""
    sentences: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def report(self, remarks: Remarks) -> None:
        """Report the lines that are not used."""
        for entry in self.left_out:
            remarks.left_out("entry of the front matter", entry)


def split_front_matter(text: str) -> tuple[FrontMatter, int]:
    """Return the front matter and where the text after it begins. Nested entries are not parsed.

    A page may also begin with a rule of ``---``. Its lines up to the next one are front matter only
    if every line that is not blank is an entry, its continuation, a list item or a comment. As in
    Pandoc, no blank line follows the first ``---``.
    """
    found = _FRONT.match(text[:_LONGEST]) if text.startswith(("---", "+++")) else None
    entries = _entries(found.group(2), is_toml=bool(found.group(1))) if found else None
    if found is None or entries is None:
        return FrontMatter(), 0
    title = language = ""
    sentences: list[str] = []
    left_out: list[str] = []
    for name, value in entries:
        entry = f"{name}: {value}".rstrip() if name else value
        if name.lower() == "title" and not title:
            title = value
            continue
        if name.lower() in ("lang", "language"):
            language = language or value
        is_read = len(value.split()) >= _SENTENCE_WORDS or name.lower() in _DESCRIPTIONS
        (sentences if name and value and is_read else left_out).append(entry)
    return FrontMatter(title, language, tuple(sentences), tuple(left_out)), found.end()


def _entries(body: str, *, is_toml: bool) -> list[tuple[str, str]] | None:
    """Return names and values, comments without a name; ``None`` if the lines are text."""
    entries: list[tuple[str, list[str]]] = []
    value: list[str] | None = None  # of the entry that is open
    for line in body.split("\n"):
        if not line.strip():
            continue
        if found := (_TOML if is_toml else _YAML).match(line):
            value = [found.group(2) or ""]
            entries.append((found.group(1).strip("\"'"), value))
        elif line.startswith("#") or (is_toml and line.startswith("[")):
            entries.append(("", [line]))
        elif value is not None and (is_toml or _CONTINUED.match(line)):
            value.append(line)
        else:
            return None
    if entries and value is None:
        return None
    return [(name, _value("\n".join(lines))) for name, lines in entries]


def _value(text: str) -> str:
    return one_line(_BLOCK_SCALAR.sub("", text, count=1) if text[:1] in "|>" else text).strip(
        " \"'"
    )
