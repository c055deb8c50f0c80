"""Notebooks, XML and SVG: their text, not their markup."""

from __future__ import annotations

import json

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets.errors import EmptyDocumentError
from rag_assets_tests.documents.formats.conftest import LIMITS

CELLS = [
    {"cell_type": "markdown", "source": ["# Rivers\n", "They run *down*."]},
    {
        "cell_type": "code",
        "source": "length = 1007\nprint(length)",
        "outputs": [
            {"output_type": "stream", "text": ["1007\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "'Tagus'"}},
            {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}},
            {"output_type": "display_data", "data": {"text/html": "<b>km</b>"}},
            {"output_type": "error", "ename": "ValueError", "evalue": "no river"},
        ],
    },
    {"cell_type": "raw", "source": "The end."},
]


def read(content: str | bytes, name: str) -> ChunkedDocument:
    raw = content if isinstance(content, bytes) else content.encode()
    return read_document(raw, name, LIMITS)


def text(content: str | bytes, name: str) -> str:
    return "\n\n".join(chunk.text for chunk in read(content, name).chunks)


def test_the_cells_of_a_notebook_and_what_they_have_printed() -> None:
    document = read(json.dumps({"cells": CELLS, "nbformat": 4}), "a.ipynb")
    assert document.title == "Rivers"
    assert document.chunks[0].text == (
        "# Rivers\n\nThey run *down*.\n\nlength = 1007\nprint(length)\n\n1007\n\n'Tagus'\n\nkm\n\n"
        "ValueError: no river\n\nThe end."
    )
    assert [(one.what, one.examples) for one in document.remarks] == [
        ("output that is no text", ("image/png",))
    ]


def test_an_old_notebook() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Rivers"},
        {
            "cell_type": "code",
            "input": ["x = 1"],
            "outputs": [{"output_type": "pyout", "text": "1"}],
        },
    ]
    book = {"worksheets": [{"cells": cells}], "nbformat": 3}
    assert text(json.dumps(book), "a.ipynb") == "Rivers\n\nx = 1\n\n1"


@pytest.mark.parametrize(
    ("cell", "shown", "remark"),
    [
        ({"source": "words"}, "words", ("repaired", "cell of an unknown kind, read as text")),
        (["words"], "", ("lost", "cell that is no cell")),
        ({"cell_type": "heading", "level": "x", "source": "words"}, "words", None),
        ({"cell_type": "code", "outputs": [{"data": None}]}, "", ("lost", "output without data")),
        ({"cell_type": "code", "outputs": [{"data": {"text/latex": "$a$"}}]}, "$a$", None),
        ({"cell_type": "markdown", "source": "x <!-- y -->"}, "x", ("left_out", "comment")),
    ],
)
def test_an_odd_cell_of_a_notebook_does_not_spoil_the_others(
    cell: object, shown: str, remark: tuple[str, str] | None
) -> None:
    cells = [{"cell_type": "raw", "source": "one"}, cell, {"cell_type": "raw", "source": "two"}]
    document = read(json.dumps({"cells": cells}), "a.ipynb")
    assert document.chunks[0].text == "\n\n".join(filter(None, ["one", shown, "two"]))
    assert [(one.kind, one.what) for one in document.remarks] == ([remark] if remark else [])


@pytest.mark.parametrize("content", ["no JSON", '{"cell": [{"source": 1}]}', "[]"])
def test_a_notebook_that_is_none_is_read_as_text_and_reported(content: str) -> None:
    document = read(content, "a.ipynb")
    assert document.chunks[0].text == content
    assert [one.kind for one in document.remarks] == ["repaired"]


FEED = (
    '<?xml version="1.0" encoding="iso-8859-1"?><!-- c --><rss><channel><title>Rivers &amp; '
    "hills</title><item><title>Tagus</title><link>x</link></item><item><d>&lt;p&gt;It &lt;b&gt;"
    "runs&lt;/b&gt;&lt;/p&gt;</d></item><p>To the <i>sea</i>, at last: \xe9.</p></channel></rss>"
).encode("latin-1")


@pytest.mark.parametrize("name", ["a.xml", "a.txt", "a"])
def test_the_text_of_xml(name: str) -> None:
    document = read(FEED, name)
    assert (document.media_type, document.title) == ("application/xml", "Rivers & hills")
    assert document.chunks[0].text == (
        "Rivers & hills\n\nTagus\nx\n\nIt runs\n\nTo the sea, at last: \xe9."
    )


@pytest.mark.parametrize(
    "content",
    [
        "<a><b>One</b> &nbsp; two<c></a>",
        "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x 'y'>]><a>One two</a>",
    ],
)
def test_xml_that_is_not_well_formed_is_read_and_reported(content: str) -> None:
    document = read(content, "a.xml")
    assert "One" in document.chunks[0].text
    assert "<" not in document.chunks[0].text
    assert [one.kind for one in document.remarks] == ["repaired"]


def test_xml_nested_without_end_is_read() -> None:
    assert text("<a>" * 5000 + "deep" + "</a>" * 5000, "a.xml") == "deep"


def test_the_text_of_a_picture_in_svg() -> None:
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg'><title>A map</title><style>p{}</style><metadata>m"
        "</metadata><g><text x='1'>Lis<tspan>boa</tspan></text><text>Porto</text></g></svg>"
    )
    document = read(svg, "a.svg")
    assert (document.media_type, document.title) == ("image/svg+xml", "A map")
    assert document.chunks[0].text == "A map\n\nLisboa\n\nPorto"
    assert read(svg, "a").media_type == "image/svg+xml"
    with pytest.raises(EmptyDocumentError):
        read("<svg><path d='M0 0'/></svg>", "a.svg")


@pytest.mark.parametrize(
    ("xml", "passages"),
    [
        ("<p>Line one<lb/>Line two</p>", "Line one Line two"),
        ("<div>Intro<para>One</para><para>Two</para></div>", "Intro One Two"),
        ("<l>a <hi>b</hi>c, <i>d</i>e</l>", "a bc, de"),
        ("<p>shown<style>p{}</style><metadata>m</metadata> words</p>", "shown words"),
        ("<p>a<!-- c -->b</p>", "ab"),
        (
            "<svg><text>Line one<tspan>s</tspan><tspan dy='9'>two</tspan></text>"
            "<text display='none'>x</text></svg>",
            "Line ones two",
        ),
    ],
)
def test_words_of_xml_are_apart_unless_an_inline_element_joins_them(
    xml: str, passages: str
) -> None:
    assert text(f"<?xml version='1.0'?>{xml}", "a.xml") == passages


def test_what_xml_hides_within_a_passage_is_reported() -> None:
    document = read("<p>shown<style>p{}</style> and <b style='display: none'>x</b></p>", "a.xml")
    assert document.chunks[0].text == "shown and"
    assert [(one.what, one.examples) for one in document.remarks] == [
        ("script, style or metadata", ("p{}",)),
        ("hidden element", ("x",)),
    ]


def test_entities_of_the_document_s_own_are_reported_and_their_declarations_are_no_text() -> None:
    document = read(
        "<?xml version='1.0'?><!DOCTYPE r [<!ENTITY co \"ACME ]> Ltd\"><!-- ' --> "
        "<!ENTITY x 'y'>]><r><p>Made by &co; in Lisbon &amp; Porto.</p></r>",
        "a.xml",
    )
    assert document.chunks[0].text == "Made by &co; in Lisbon & Porto."
    assert [(one.kind, one.examples) for one in document.remarks] == [
        ("repaired", ()),
        ("lost", ("&co;",)),
    ]


def test_a_doctype_that_never_ends_is_read_in_time() -> None:
    document = read(
        "<r><!DOCTYPE r [" + "<!-- a --><x 'y' " * 20_000 + "<!DOCTYPE [<!--" * 9, "a.xml"
    )
    assert document.remarks[0].kind == "repaired"
