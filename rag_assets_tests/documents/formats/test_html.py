"""HTML: all that a reader sees, and nothing else."""

from __future__ import annotations

import pytest

from rag_assets.documents.formats.html import declared_encoding, read_html


@pytest.mark.parametrize(
    ("html", "texts"),
    [
        ("<p>one</p><p>two", ["one", "two"]),
        (
            "naked<div>in a div<p>and deeper</div>after",
            ["naked", "in a div", "and deeper", "after"],
        ),
        ("<p>a <b>bold</b>\n word,<br>next line", ["a bold word,\nnext line"]),
        ("<ul><li>one<li>two <i>x</i></ul>", ["- one", "- two x"]),
        (
            "<table><tr><th>a<th>b</tr><tr><td>1</td><td>2</td></tr></table>",
            ["a | b\n1 | 2"],
        ),
        ("<table><tr><td><h1>Head</h1><p>layout</td></tr></table>", ["Head", "layout"]),
        ("<script>x = '<p>no</p>'</script><style>p{}</style><p>yes", ["yes"]),
        ("<svg><title>t</title><text>no</text></svg>yes", ["yes"]),
        ("<template><p>no</p></template>yes", ["yes"]),
        ("<pre>  x\n\n  y</pre>z", ["  x\n\n  y", "z"]),
        ("&lt;tag&gt; &amp; &eacute;&#233;&nbsp;end", ["<tag> & éé\xa0end"]),
        ("<!-- <p>comment</p> -->text", ["text"]),
        ("<p>word<a epub:type='noteref' href='#n'>47</a> goes on", ["word goes on"]),
        ("<div/><p/>self-closed", ["self-closed"]),
        ("<ul><li></li></ul><p> </p>", []),
        ("<p>unclosed <b>everything <i>here", ["unclosed everything here"]),
        ("", []),
    ],
)
def test_what_is_seen(html: str, texts: list[str]) -> None:
    assert [block.text for block in read_html(html).blocks] == texts


def test_headings_title_and_language() -> None:
    reading = read_html(
        "<!doctype html><html lang=pt-BR><head><title>The\n title</title><body>"
        "<h1>One <small>x</small></h1>text<h3>Three</h3>"
    )
    assert (reading.title, reading.language) == ("The title", "pt-BR")
    assert [(block.level, block.title) for block in reading.blocks] == [
        (1, "One x"),
        (0, ""),
        (3, "Three"),
    ]


def test_nesting_without_end_is_read() -> None:
    reading = read_html("<div>" * 200_000 + "deep" + "</div>" * 200_000)
    assert [block.text for block in reading.blocks] == ["deep"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"<meta charset=iso-8859-1>", "iso-8859-1"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=utf-8">', "utf-8"),
        (b"<?xml version='1.0' encoding='Shift_JIS'?>", "Shift_JIS"),
        (b"<p>charset=none</p>", None),
    ],
)
def test_the_encoding_that_a_page_declares(content: bytes, encoding: str | None) -> None:
    assert declared_encoding(content) == encoding
