"""Word: each sample's words in their order, as the XML library of Python reads them, too."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets_tests.conftest import SHARED_CASES
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
UNREAD = {"del", "moveFrom", "instrText", "Fallback", "rPr", "pPr", "tblPr", "sectPr"}
APART = {"tab", "br", "cr", "ptab", "p", "tc"}


def second_reading(element: Element) -> Iterator[str]:
    """The text below an element, with blanks where words are apart."""
    name = element.tag.rsplit("}", 1)[-1]
    hidden = element.find(f"{WORD}rPr/{WORD}vanish") if name == "r" else None
    if name in UNREAD or (hidden is not None and hidden.get(f"{WORD}val") != "0"):
        return
    if name == "t":
        yield element.text or ""
    elif name == "noBreakHyphen":
        yield "\u2011"
    for child in element:
        yield from second_reading(child)
    if name in APART:
        yield " "


def second_words(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = [archive.read("word/document.xml")]
        parts += [archive.read(one) for one in archive.namelist() if one == "word/footnotes.xml"]
    return " ".join("".join(second_reading(fromstring(part))) for part in parts).split()


def read(content: bytes) -> ChunkedDocument:
    return read_document(content, "file.docx", LIMITS)


def words(content: bytes) -> list[str]:
    """Without the bars between cells and the dashes of lists, which are ours."""
    text = " ".join(chunk.text for chunk in read(content).chunks)
    return [word for word in text.split() if word not in ("|", "-")]


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def cell(*content: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{''.join(content)}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def plain(*texts: str) -> str:
    return "".join(cell(paragraph(run(text))) for text in texts)


WIDE = '<w:gridSpan w:val="2"/>'
TALL, BELOW = '<w:vMerge w:val="restart"/>', "<w:vMerge/>"
BOX = (
    '<w:r><mc:AlternateContent xmlns:mc="m"><mc:Choice Requires="wps"><w:drawing><w:txbxContent>'
    f"{paragraph(run('In a box.'))}</w:txbxContent></w:drawing></mc:Choice><mc:Fallback><w:pict>"
    f"<w:txbxContent>{paragraph(run('In a box.'))}</w:txbxContent></w:pict></mc:Fallback>"
    "</mc:AlternateContent></w:r>"
)
SAMPLES = {
    "no-break hyphen": paragraph(
        "<w:r><w:t>cost</w:t><w:noBreakHyphen/><w:t>reimbursement</w:t></w:r>"
    ),
    "soft hyphen": paragraph("<w:r><w:t>over</w:t><w:softHyphen/><w:t>looked</w:t></w:r>"),
    "footnote": paragraph(
        run("word"), '<w:r><w:footnoteReference w:id="2"/></w:r>', run(", and on")
    ),
    "endnote": paragraph(run("word"), '<w:r><w:endnoteReference w:id="2"/></w:r>', run(".")),
    "comment": paragraph(run("word"), '<w:r><w:commentReference w:id="1"/></w:r>', run(" on")),
    "hidden": paragraph(run("seen "), run("unseen", "<w:vanish/>"), run("again")),
    "not hidden": paragraph(run("seen", '<w:vanish w:val="0"/>')),
    "bold table": table(
        cell(paragraph(run("Bold", "<w:b/>"), run("ly", "<w:i/>"))) + plain("2 * 3 * 4"),
        plain("struck", "x_y_z"),
    ),
    "styled table": table(cell(paragraph(run("Strong", '<w:rStyle w:val="Strong"/>')))),
    "link in a table": table(
        cell(paragraph(f'<w:hyperlink w:anchor="a">{run("the link")}</w:hyperlink>'))
    ),
    "formula": paragraph(
        run("So E = "),
        '<m:oMath xmlns:m="m"><m:r><w:t>mc</w:t></m:r></m:oMath>',
        run(" is known."),
    ),
    "tracked": paragraph(
        f"<w:ins>{run('new')}</w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
    ),
    "field": paragraph(
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>'
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r>',
        run("7"),
        '<w:r><w:fldChar w:fldCharType="end"/></w:r>',
    ),
    "box": paragraph(BOX, run(" Behind it.")),
    "content control": f"<w:sdt><w:sdtContent>{paragraph(run('In one.'))}</w:sdtContent></w:sdt>",
    "table in a table": table(
        cell(paragraph(run("before")), table(plain("in", "ner")), paragraph(run("after")))
        + plain("x")
    ),
    "merged": table(
        cell(paragraph(run("Wide")), properties=WIDE) + plain("C3"),
        cell(paragraph(run("Tall")), properties=TALL) + plain("b2", "c2"),
        cell("<w:p/>", properties=BELOW) + plain("b3", "c3"),
    ),
    "sub and super": paragraph(run("H"), run("2", '<w:vertAlign w:val="subscript"/>'), run("O")),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_words_of_a_sample_in_their_order(name: str) -> None:
    content = office.docx([(1, "R&D"), (0, "a < b")], markup=SAMPLES[name])
    assert words(content) == second_words(content)


@pytest.mark.parametrize("path", sorted(Path(SHARED_CASES).glob("**/*.docx")), ids=lambda p: p.name)
def test_the_words_of_the_shared_samples_in_their_order(path: Path) -> None:
    assert words(path.read_bytes()) == second_words(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-break hyphen", "cost\u2011reimbursement"),
        ("footnote", "word, and on"),
        ("bold table", "Boldly | 2 * 3 * 4\nstruck | x_y_z"),
        ("link in a table", "the link"),
        ("formula", "So E = mc is known."),
        ("merged", "Wide |  | C3\nTall | b2 | c2\n | b3 | c3"),
    ],
)
def test_what_is_read(name: str, text: str) -> None:
    content = office.docx([], markup=SAMPLES[name])
    assert read(content).chunks[0].text == text.strip()


def test_a_row_that_begins_further_right_keeps_its_columns() -> None:
    markup = table(
        plain("a1", "b1", "c1"),
        '<w:trPr><w:cantSplit/><w:gridBefore w:val="2"/></w:trPr>' + plain("c2"),
    )
    assert read(office.docx([], markup=markup)).chunks[0].text == "a1 | b1 | c1\n |  | c2"


def test_hidden_and_deleted_text_is_reported() -> None:
    content = office.docx([], markup=SAMPLES["hidden"] + SAMPLES["tracked"])
    assert {one.what: one.count for one in read(content).remarks} == {
        "hidden text": 1,
        "deleted text (tracked change)": 1,
    }
