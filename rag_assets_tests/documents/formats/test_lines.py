"""Texts made of lines: what is a heading, and what only looks like one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.html import read_html
from rag_assets.documents.formats.lines import read_asciidoc, read_markdown, read_plain
from rag_assets.documents.formats.remarks import Remarks


def headings(blocks: Sequence[Block]) -> list[tuple[int, str]]:
    return [(block.level, block.title) for block in blocks if block.level]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# One\n\ntext", [(1, "One")]),
        ("### Three ###\n", [(3, "Three")]),
        ("#No blank\n", []),
        ("####### seven\n", []),
        ("    # indented code\n", []),
        ("text\n# straight behind a paragraph\n", [(1, "straight behind a paragraph")]),
        ("# **Bold** `code` and [a link](https://x.y) {#anchor}\n", [(1, "Bold code and a link")]),
        ('# <a name="x"></a>Anchored &amp; escaped \\*\n', [(1, "Anchored & escaped *")]),
        ("Underlined\n===\n\nSecond\n---\n", [(1, "Underlined"), (2, "Second")]),
        ("- item\n---\n", []),
        ("| a | b |\n|---|---|\n| # | 2 |\n", []),
        ("text\n\n---\n\ntext\n", []),
        ("```\n# comment\n```\n# real\n", [(1, "real")]),
        ("~~~sh\n# comment\n```\n# still\n~~~\n", []),
        ("````\n```\n# inside\n```\n````\n# out\n", [(1, "out")]),
        ("```inline``` # text\n# real\n", [(1, "real")]),
        ("```\n# never closed\n", []),
        ("#\n\ntext", []),
        ("# " + "long " * 100 + "\n", []),
    ],
)
def test_headings_of_markdown(text: str, found: list[tuple[int, str]]) -> None:
    assert headings(read_markdown(text).blocks) == found


def test_passages_of_markdown_are_as_they_are_written() -> None:
    text = "# Title\n\nFirst  \nline two\n\n\n- a\n- b\n\n```py\nx = 1\n\n# note\n```\nafter\n"
    blocks = read_markdown(text).blocks
    assert [block.text for block in blocks] == [
        "# Title",
        "First\nline two",
        "- a\n- b",
        "```py\nx = 1\n\n# note\n```",
        "after",
    ]
    assert [block.prose for block in blocks] == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "title", "language", "first"),
    [
        ("---\ntitle: A title\nlang: pt-BR\n---\ntext", "A title", "pt-BR", "A title"),
        ("---\nlayout: x\ntitle: 'Quoted'\n---\n\ntext", "Quoted", "", "Quoted"),
        ('+++\ntitle = "TOML"\n+++\ntext', "TOML", "", "TOML"),
        ("---\n---\n\ntext", "", "", "text"),
        ("---\n\na line, no front matter\n", "", "", "---"),
        ("text\n\n---\ntitle: no\n---\n", "", "", "text"),
    ],
)
def test_front_matter_gives_the_title_which_can_be_found(
    text: str, title: str, language: str, first: str
) -> None:
    reading = read_markdown(text)
    assert (reading.title, reading.language) == (title, language)
    assert reading.blocks[0].text == first


@pytest.mark.parametrize(
    "text",
    [
        "---\nA paragraph between two rules.\n\nAnother one.\n\n---\n\n# Heading\n\nBody.",
        "---\n\n# Chapter One\n\nText of it.\n\n---\n\n# Chapter Two\n\nMore.",
        "---\nIntro: words of the introduction.\n\nA plain paragraph.\n\n---\n\nBody.",
        "---\n- an item\n- another\n\n---\n\nBody.",
    ],
)
def test_text_between_two_rules_is_no_front_matter(text: str) -> None:
    read = "\n".join(block.text for block in read_markdown(text).blocks)
    assert [line for line in read.split("\n") if line] == [
        line for line in text.split("\n") if line
    ]


def test_each_line_of_the_front_matter_is_used_or_reported() -> None:
    text = """---
# a comment
title: >-
  A folded
  title
"og:description": quoted key
abstract: |
  First paragraph.

  Second paragraph.
layout: card
layout: page
lang: en
draft:
tags:
- one
---
Text."""
    for reader in (read_markdown, read_html):
        remarks = Remarks()
        reading = reader(text, remarks)
        assert (reading.title, reading.language) == ("A folded title", "en")
        assert [block.text for block in reading.blocks] == [
            "A folded title",
            "abstract: First paragraph. Second paragraph.",
            "Text.",
        ]
        (one,) = remarks.all()
        assert (one.what, one.count) == ("entry of the front matter", 7)
        assert one.examples == (
            "# a comment",
            "og:description: quoted key",
            "layout: card",
            "layout: page",
            "lang: en",
        )


def test_a_line_of_comments_without_end_is_read_in_time() -> None:
    line = "<!--" * 200_000
    assert [block.text for block in read_markdown(line).blocks] == [line]
    assert [block.text for block in read_markdown(f"x {line}").blocks] == [f"x\n{line}"]


def test_front_matter_that_is_written_to_be_read_is_text() -> None:
    text = """---
title: Five whys, or how to ask until there is an answer
layout: card
permalink: /discover/five-whys/
what: "A process of asking why, five times"
why: >
  To find the root
  of a problem.
tags:
  - one
  - two
---
Text."""
    assert [block.text for block in read_markdown(text).blocks] == [
        "Five whys, or how to ask until there is an answer",
        "what: A process of asking why, five times\nwhy: To find the root of a problem.",
        "Text.",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!--\n# hidden\n\ntext\n-->\nshown", ["shown"]),
        ("<!-- hidden -->\n\nshown <!-- hidden --> here", ["shown  here"]),
        ("<!-- hidden\n--> shown", ["shown"]),
        ("```\n<!--\n```\n\nshown\n-->", ["```\n<!--\n```", "shown\n-->"]),
        ("<!-- never closed\n\n# shown", ["<!-- never closed", "# shown"]),
        ("`<!-- code -->` and ``a ` <!-- b -->``", ["`<!-- code -->` and ``a ` <!-- b -->``"]),
        ("    <!-- indented code -->\n    more", ["    <!-- indented code -->\n    more"]),
        ("shown <!-- hid\nden --> here", ["shown\nhere"]),
        ("an open <!-- here\n\n# shown\n\nand -->", ["an open\n<!-- here", "# shown", "and -->"]),
    ],
)
def test_comments_of_markdown_are_no_text(text: str, shown: list[str]) -> None:
    assert [block.text for block in read_markdown(text).blocks] == shown


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("= Title\n:toc:\n\ntext\n\n== Section\n", [(1, "Title"), (2, "Section")]),
        ("----\n== in a listing\n----\n\n== real\n", [(2, "real")]),
        ("....\n= literal\n....\n", []),
        ("////\n= comment\n////\n// = also\n= real\n", [(1, "real")]),
        ("[[anchor]]\n[appendix]\n== Named\n", [(2, "Named")]),
        ("a line of a paragraph\n= that goes on\n", []),
        ("== xref:a.adoc[Label] and *bold*\n", [(2, "Label and bold")]),
        ("```\n# fenced\n```\n", []),
    ],
)
def test_headings_of_asciidoc(text: str, found: list[tuple[int, str]]) -> None:
    assert headings(read_asciidoc(text).blocks) == found


def test_attributes_and_comments_of_asciidoc_are_no_text() -> None:
    text = ":url: x\nifndef::a[]\n// note\nendif::[]\n////\nhidden\n////\n\nshown :not-attribute\n"
    assert [block.text for block in read_asciidoc(text).blocks] == ["shown :not-attribute"]


def test_plain_text_has_paragraphs_only() -> None:
    blocks = read_plain("# no heading\nline\n\n  indented\n\n\n").blocks
    assert [(block.level, block.text) for block in blocks] == [
        (0, "# no heading\nline"),
        (0, "  indented"),
    ]


def test_a_description_is_found_however_short_and_a_title_is_not_said_twice() -> None:
    text = "---\ntitle: Rivers\ndescription: Iberian rivers\nlayout: x\n---\n# Rivers\n\nText."
    assert [block.text for block in read_markdown(text).blocks] == [
        "description: Iberian rivers",
        "# Rivers",
        "Text.",
    ]
    assert [block.text for block in read_html(text.replace("# Rivers", "<p>")).blocks] == [
        "Rivers",
        "description: Iberian rivers",
        "Text.",
    ]
    adoc = "= Rivers\n:toc:\n:description: Iberian rivers\n\nText."
    assert [block.text for block in read_asciidoc(adoc).blocks] == [
        "= Rivers",
        "Iberian rivers",
        "Text.",
    ]
