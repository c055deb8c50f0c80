"""What every reader of a format returns: headings and passages in order, before they are cut up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST_TITLE = 200  # characters; what is longer is a paragraph that looks like a heading


@dataclass(frozen=True, slots=True)
class Block:
    """A heading or a passage: a paragraph, a list, a table, a piece of code.

    :param text: cleaned, never blank; of a heading, as it is written.
    :param level: of a heading, from 1; 0 for a passage.
    :param title: of a heading, without markup.
    :param page: from 1; ``None`` where the format has none.
    :param prose: whether it tells the document's language; code does not.
    """

    text: str
    level: int = 0
    title: str = ""
    page: int | None = None
    prose: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """A document as its format's reader gives it.

    :param title: as the document declares it; empty where it does not.
    :param language: as the document declares it, any tag; empty where it does not.
    :param pages: ``None`` where the format has none.
    """

    blocks: Sequence[Block]
    title: str = ""
    language: str = ""
    pages: int | None = None


def heading(text: str, level: int, title: str | None = None, page: int | None = None) -> Block:
    """A heading's block, or a passage's where it is too long for one.

    :param title: without markup, if ``text`` has any.
    """
    title = one_line(text if title is None else title)
    if not title or len(title) > _LONGEST_TITLE:
        return Block(text, page=page)
    return Block(text, level, title, page)


def one_line(text: str) -> str:
    """The text with each run of blanks and line ends as one blank."""
    return re.sub(r"\s+", " ", text).strip()
