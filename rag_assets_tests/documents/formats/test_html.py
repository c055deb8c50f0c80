"""HTML: all that a reader sees, and nothing else."""

from __future__ import annotations

import pytest

from rag_assets.documents.formats.html import declared_encoding, read_html
from rag_assets.documents.formats.remarks import Remarks


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
        ("<svg><title>t</title><style>p{}</style><metadata>m</metadata></svg>yes", ["t yes"]),
        (
            "<p>a<svg><text>The Tagus</text><text>1007 km</text></svg>",
            ["a", "The Tagus", "1007 km"],
        ),
        ("<p>one <svg><g><path d='M0'/><rect></rect></g></svg>two", ["one two"]),
        ("<svg><text display=none>no</text></svg>yes", ["yes"]),
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


ROWS = "<tr><th>Region<th>Month<th>Sales</tr>"


@pytest.mark.parametrize(
    ("html", "texts"),
    [
        ("shown<p style='color:red; DISPLAY : none'>no</p>", ["shown"]),
        ("<span style='visibility:hidden'>no</span>shown", ["shown"]),
        ("<p hidden>no<p>shown", ["shown"]),
        ("<div><p hidden>no</div>shown", ["shown"]),
        ("<ul><li hidden>no<ul><li>nor this</ul><li>shown</ul>", ["- shown"]),
        ("<ul><li>shown<li hidden>no</ul>after", ["- shown", "after"]),
        ("<table><tr><td>shown<td hidden>no<tr><td>two</table>", ["shown\ntwo"]),
        ("<input hidden>shown<br hidden>", ["shown"]),
        ("<div hidden><div>no</div>nor this</div>shown", ["shown"]),
        ("<noscript>Enable JS.</noscript>shown", ["shown"]),
        ("<dialog>no</dialog><dialog open>shown</dialog>", ["shown"]),
        ("<nav><a href=x>Home</a></nav><div role=navigation>Menu</div>shown", ["shown"]),
        ("<div id='cookie-banner'>We use cookies</div>shown", ["shown"]),
        ("<section class='gdpr-consent x'>Accept</section>shown", ["shown"]),
        ("<section id=gdpr><h2>Rights</h2>You may ask.</section>", ["Rights", "You may ask."]),
        ("<section id=gdpr>You may ask.</section>end", ["You may ask.", "end"]),
        ("<div class='cookie-recipe-sidebar'>Bake.</div>", ["Bake."]),
        ("<div class=cookie_law_bar>No</div><div id=cookieBar>no</div>yes", ["yes"]),
        (
            "<div class=cookie-box><h2>Cookies</h2>Bake.<div class=cookie-box><h3>Two</h3></div>"
            "</div><div class=cookie-bar>no</div>yes",
            ["Cookies", "Bake.", "Two", "yes"],
        ),
        (f"<div class=cookie-notice>{'word ' * 150}</div>end", [("word " * 150).strip(), "end"]),
        ("<p class='cookie-recipe'>Bake cookies.</p>", ["Bake cookies."]),
        ("<div class='cookies'>Cookies are small files.</div>", ["Cookies are small files."]),
        ("<nav><a href=x>One</a> <a href=y>Two</a></nav>", ["One Two"]),
        (
            "<nav>Menu<p>All the text stands in a nav without end.",
            ["Menu", "All the text stands in a nav without end."],
        ),
        ("See <img src=x alt='the river Tagus'>here", ["See the river Tagus here"]),
        ("<img alt=''><img alt><p>text", ["text"]),
    ],
)
def test_what_is_hidden_is_left_out_and_what_a_picture_shows_is_said(
    html: str, texts: list[str]
) -> None:
    assert [block.text for block in read_html(html).blocks] == texts


@pytest.mark.parametrize(
    ("rows", "read"),
    [
        (
            "<tr><td rowspan=2>North<td>Jan<td>10</tr><tr><td>Feb<td>20</tr><tr><td>South<td>x",
            "North | Jan | 10\nNorth | Feb | 20\nSouth | x",
        ),
        (
            "<tr><td>North<td rowspan='2'>Jan<td>10<tr><td>South<td>20",
            "North | Jan | 10\nSouth | Jan | 20",
        ),
        (
            "<tr><td>North<td>Jan<td rowspan=2>10<tr><td>South<td>Feb",
            "North | Jan | 10\nSouth | Feb | 10",
        ),
        ("<tr><td colspan=2>Total<td>10", "Total |  | 10"),
        ("<tr><td rowspan=2 colspan=2>All<td>1<tr><td>2", "All |  | 1\nAll |  | 2"),
        ("<tr><td><p>North</p><td><div>Jan<br>Feb</div><td>10", "North | Jan Feb | 10"),
        ("<tr><td>North<td><td>10", "North |  | 10"),
        ("<tr><td rowspan=x>North<td>Jan<tr><td>a<td>b", "North | Jan\na | b"),
    ],
)
def test_each_cell_stands_in_its_column(rows: str, read: str) -> None:
    (block,) = read_html(f"<table>{ROWS}{rows}</table>").blocks
    assert block.text == f"Region | Month | Sales\n{read}"


def test_a_table_in_a_cell_and_a_heading_in_a_cell_end_what_stands_before() -> None:
    html = (
        "<table><tr><td>a<td>before<table><tr><td>in<td>ner</table>behind<td><h2>H</h2>x</table>end"
    )
    assert [block.text for block in read_html(html).blocks] == [
        "a | before",
        "in | ner",
        "behind",
        "H",
        "x",
        "end",
    ]


def test_what_is_left_out_is_reported_with_its_beginning() -> None:
    remarks = Remarks()
    read_html(
        "<script>x</script><p hidden>Secret <b>words</b></p><nav>Home</nav><nav>Menu</nav>t"
        "<a role=doc-noteref>1</a>",
        remarks,
    )
    assert [(one.kind, one.what, one.count, one.examples) for one in remarks.all()] == [
        ("left_out", "hidden element", 1, ("Secret words",)),
        ("left_out", "navigation", 2, ("Home", "Menu")),
        ("left_out", "footnote mark", 1, ("1",)),
    ]


@pytest.mark.parametrize("tag", ["script", "template", "style"])
def test_text_after_a_script_without_an_end_is_reported_as_lost(tag: str) -> None:
    remarks = Remarks()
    read_html(f"<p>Before.</p><{tag}>x = 1;<p>All the words after it.</p>", remarks)
    ((kind, what),) = [(one.kind, one.what) for one in remarks.all()]
    assert (kind, what) == ("lost", f"{tag} without an end, and the text after it")
    assert "All the words" in remarks.all()[0].examples[0]


def test_the_page_s_title_is_not_that_of_a_drawing() -> None:
    html = "<svg><title>Menu</title></svg><title>Rivers</title><svg><title>x</title></svg>"
    assert read_html(html).title == "Rivers"


@pytest.mark.parametrize("cell", ["<td rowspan=1000>North and south", "<td colspan=100>x"])
def test_spans_do_not_multiply_the_text_of_a_table(cell: str) -> None:
    remarks = Remarks()
    html = "<table>" + f"<tr>{cell}</td><td>x</td></tr>" * 3000 + "</table>"
    read = "".join(block.text for block in read_html(html, remarks).blocks)
    assert len(read) < 2 * len(html)
    (one,) = remarks.all()
    assert one.what == "repetition of a cell over several rows"
