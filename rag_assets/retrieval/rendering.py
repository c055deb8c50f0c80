"""Passages as elements of a page: Markdown, in which HTML, links and images are text. Pure.

The elements are a list of tokens, never HTML: a page makes elements of them, and what a document
contains cannot become a script, an attribute or an address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

from rag_assets.retrieval.snippets import Words, marked

Tag = Literal[
    "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "table", "tbody",
    "td", "th", "thead", "tr", "ul",
]  # fmt: skip
_TAGS: frozenset[str] = frozenset(Tag.__args__)  # type: ignore[attr-defined]
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


@dataclass(frozen=True)
class Element:
    """The beginning or the end of an element, or a text in it.

    :param match: the text is a word of the query.
    """

    kind: Literal["open", "close", "text"]
    tag: Tag | None = None
    text: str = ""
    match: bool = False


def rendered(text: str, words: Words, *, markdown: bool) -> tuple[Element, ...]:
    """The elements of a passage, with the query's words marked.

    :param markdown: else it is one paragraph, whatever characters it has.
    """
    if not markdown:
        return (Element("open", "p"), *_text(text, words), Element("close", "p"))
    return tuple(_elements(_parser().parse(text), words))


@cache
def _parser() -> MarkdownIt:
    """Definitions of references stay as they are: their links may be in another passage."""
    parser = MarkdownIt("commonmark", {"html": False})
    return parser.enable(["table", "strikethrough"]).disable("reference")


def _elements(tokens: list[Token], words: Words) -> Iterator[Element]:
    address = ""
    for token in tokens:
        if token.type == "link_open":
            address = str(token.attrs.get("href", ""))
        elif token.type == "link_close" and token.markup != "autolink":
            yield from _text(f" ({address})", words)
        elif token.type == "image":
            yield from _text(token.content, words)  # its description
        elif token.children is not None:
            yield from _elements(token.children, words)
        elif token.tag in _HEADINGS:  # the page has an outline of its own
            tags: tuple[Tag, ...] = ("p", "strong")
            for tag in tags if token.nesting > 0 else reversed(tags):
                yield Element("open" if token.nesting > 0 else "close", tag)
        elif token.type in ("code_block", "fence"):
            yield Element("open", "pre")
            yield from _text(token.content, words)
            yield Element("close", "pre")
        elif token.tag in _TAGS and not token.hidden:
            yield from _element(token, words)
        elif token.type in ("text", "html_block", "html_inline"):
            yield from _text(token.content, words)


def _element(token: Token, words: Words) -> Iterator[Element]:
    tag: Tag = token.tag  # type: ignore[assignment]
    if token.nesting >= 0:
        yield Element("open", tag)
    yield from _text(token.content, words)
    if token.nesting <= 0:
        yield Element("close", tag)


def _text(text: str, words: Words) -> Iterator[Element]:
    for part in marked(text, words) if text else ():
        yield Element("text", text=part.text, match=part.match)
