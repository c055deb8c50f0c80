"""Workbooks: what each cell shows, in its column; hidden sheets left out; large ones in bounds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.model import ChunkedDocument
from rag_assets.documents.sandbox import Extractor, extraction_limits
from rag_assets.errors import CorruptDocumentError
from rag_assets.settings.model import Settings
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS, extract

SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
STYLES = (
    "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='dd/mm/yyyy'/>"
    "<numFmt numFmtId='165' formatCode='0.0 \"days\"'/>"
    "<numFmt numFmtId='166' formatCode='[hh]:mm;\"[h]\"'/></numFmts><cellXfs>"
    "<xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164'/><xf numFmtId='165'/>"
    "<xf numFmtId='22'/><xf numFmtId='20'/><xf numFmtId='166'/><xf numFmtId='46'/></cellXfs>"
    "</styleSheet>"
)
TEXTS = (
    "<sst><si><t>plain &amp; simple</t></si><si><r><t>rich </t></r><r><t>text</t></r></si>"
    "<si><t>東京</t><rPh sb='0' eb='2'><t>トウキョウ</t></rPh></si></sst>"
)


def changed(content: bytes, parts: Mapping[str, str], *, also: Mapping[str, str] = {}) -> bytes:
    """The archive with these parts in the place of its own; in ``also`` old to new text."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {
            name: archive.read(name).decode() for name in archive.namelist()
        }
    for old, new in also.items():
        members = {name: str(text).replace(old, new) for name, text in members.items()}
    return office.zipped(members | parts)


def sheet(markup: str) -> bytes:
    """A workbook of one sheet with this content."""
    parts = {
        "xl/worksheets/sheet1.xml": f"{SHEET.removesuffix('<sheetData>')}{markup}</worksheet>",
        "xl/styles.xml": STYLES,
        "xl/sharedStrings.xml": TEXTS,
    }
    return changed(office.xlsx({"A": [["x"]]}), parts)


def read(content: bytes) -> ChunkedDocument:
    return read_document(content, "book.xlsx", LIMITS)


def rows(cells: str) -> str:
    """What is read of one row, between bars."""
    (chunk,) = read(sheet(f"<sheetData><row>{cells}</row></sheetData>")).chunks
    return chunk.text.split("\n")[2]


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        ('<c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>', "plain & simple | rich text"),
        ('<c r="A1" t="s"><v>2</v></c>', "東京"),
        ('<c r="A1"><v>0.10000000000000001</v></c><c r="B1"><v>3</v></c>', "0.1 | 3"),
        ('<c r="A1"><v>12345678901234567</v></c><c r="B1"><v>3.0</v></c>', "12345678901234567 | 3"),
        ('<c r="A1" s="1"><v>45352</v></c><c r="B1" s="2"><v>1</v></c>', "2024-03-01 | 1899-12-31"),
        ('<c r="A1" s="3"><v>45352</v></c>', "45352"),
        ('<c r="A1" s="4"><v>45352.75</v></c>', "2024-03-01 18:00:00"),
        ('<c r="A1" s="5"><v>0.5</v></c>', "12:00:00"),
        ('<c r="A1" s="6"><v>1.25</v></c><c r="B1" s="7"><v>-0.5</v></c>', "30:00:00 | -12:00:00"),
        ('<c r="A1" t="b"><v>1</v></c><c r="B1" t="e"><v>#N/A</v></c>', "true | #N/A"),
        ('<c r="A1" t="str"><f>A2</f><v>made</v></c>', "made"),
        ('<c r="B1"><v>1</v></c><c r="AA1"><v>2</v></c>', " | 1" + " | " * 25 + "2"),
        ("<c><v>1</v></c><c><v>2</v></c>", "1 | 2"),
    ],
)  # fmt: skip
def test_what_a_cell_shows(cells: str, row: str) -> None:
    assert rows(cells) == f"| {row} |"


@pytest.mark.parametrize(
    ("cell", "shown", "remark"),
    [
        ("<c r='B1'><f>A1*2</f></c>", "", "lost: formula without a stored value (1): A!B1"),
        ("<c r='B1'><f>A1*2</f><v/></c>", "", "lost: formula without a stored value (1): A!B1"),
        ("<c r='B1' t='str'><f>T(A1)</f><v></v></c>", "", ""),
        ("<c r='B1' t='s'><v>99</v></c>", "", "lost: text of a cell that is not in the file"),
        ("<c r='B1' t='s'><v>-1</v></c>", "", "lost: text of a cell that is not in the file"),
        ("<c r='B1' s='1'><v>99999999999</v></c>", " | 99999999999",
         "repaired: impossible date or number, kept as stored (1): A!B1: 99999999999"),
        ("<c r='B1'><v>many</v></c>", " | many", "repaired: impossible date or number"),
    ],
)  # fmt: skip
def test_a_cell_without_a_possible_value_costs_no_other(cell: str, shown: str, remark: str) -> None:
    document = read(sheet(f"<sheetData><row><c><v>5</v></c>{cell}</row></sheetData>"))
    assert document.chunks[0].text.split("\n")[2] == f"| 5{shown} |"
    assert "".join(map(str, document.remarks)).startswith(remark)
    assert len(document.remarks) == bool(remark)


def test_hidden_rows_and_columns_are_left_out_and_reported() -> None:
    cell = "<c t='inlineStr'><is><t>{}</t></is></c>"
    seen, secret, last = (cell.format(word) for word in ("seen", "secret", "last"))
    content = sheet(
        "<cols><col min='2' max='2' hidden='1'/><col min='4' max='16384' width='0'/></cols>"
        f"<sheetData><row>{seen}{secret}{last}{secret}</row><row/>"
        f"<row r='3' hidden='1'>{secret}</row><row ht='0'>{secret}</row></sheetData>"
    )
    document = read(content)
    assert document.chunks[0].text.split("\n")[2:] == ["| seen | last |", "| --- | --- |"]
    assert [(one.kind, one.what, one.count) for one in document.remarks] == [
        ("left_out", "cell of a hidden column", 2),
        ("left_out", "hidden row", 2),
    ]


@pytest.mark.parametrize("path", ["xl/comments1.xml", "xl/comments/comment2.xml"])
def test_comments_are_reported(path: str) -> None:
    comment = (
        "<comments xmlns='x'><comment><text><r><t>On plums</t></r></text></comment></comments>"
    )
    (remark,) = read(changed(office.xlsx({"A": [["words"]]}), {path: comment})).remarks
    assert str(remark) == "left out: comment (1): On plums"


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_a_hidden_sheet_is_left_out_and_reported(state: str) -> None:
    content = office.xlsx({"Seen": [["words"]], "Salaries": [["secret"]], "Last": [["end"]]})
    hidden = {'name="Salaries"': f'name="Salaries" state="{state}"'}
    document = read(changed(content, {}, also=hidden))
    text = "\n".join(chunk.text for chunk in document.chunks)
    assert "words" in text
    assert "end" in text
    assert "secret" not in text
    ((what, examples),) = [(one.what, one.examples) for one in document.remarks]
    assert (what, examples) == ("hidden sheet", ("Salaries",))


def test_a_hidden_sheet_of_an_opendocument_workbook_is_left_out_and_reported() -> None:
    office_ns = "urn:oasis:names:tc:opendocument:xmlns"
    sheet = (
        '<table:table table:name="{0}" table:style-name="{1}"><table:table-row><table:table-cell '
        'office:value-type="string"><text:p>{2}</text:p></table:table-cell></table:table-row>'
        "</table:table>"
    )
    content = office.zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": f'<m:manifest xmlns:m="{office_ns}:manifest:1.0"/>',
            "content.xml": (
                f'<office:document-content xmlns:office="{office_ns}:office:1.0" '
                f'xmlns:table="{office_ns}:table:1.0" xmlns:text="{office_ns}:text:1.0" '
                f'xmlns:style="{office_ns}:style:1.0"><office:automatic-styles>'
                '<style:style style:name="t1" style:family="table"><style:table-properties '
                'table:display="true"/></style:style><style:style style:name="t2" '
                'style:family="table"><style:table-properties table:display="false"/></style:style>'
                "</office:automatic-styles><office:body><office:spreadsheet>"
                + sheet.format("Seen", "t1", "words")
                + sheet.format("Salaries", "t2", "secret")
                + "</office:spreadsheet></office:body></office:document-content>"
            ),
        },
        stored_first=True,
    )
    document = read_document(content, "book.ods", LIMITS)
    assert "words" in document.chunks[0].text
    assert "secret" not in document.chunks[0].text
    assert [one.examples for one in document.remarks] == [("Salaries",)]


def test_a_workbook_whose_sheet_is_missing_is_refused() -> None:
    content = office.xlsx({"A": [["x"]]})
    with pytest.raises(CorruptDocumentError, match="cut off or damaged"):
        read(changed(content, {}, also={"worksheets/sheet1.xml": "worksheets/none.xml"}))


@pytest.mark.slow
def test_fifty_thousand_rows_stay_within_the_memory_limit(tmp_path: Path) -> None:
    cells = [[f"name {line}", f"place {line % 97}", f"{line}.5", "yes"] for line in range(50_000)]
    path = tmp_path / "large.xlsx"
    path.write_bytes(office.xlsx({"Rows": cells}))
    with Extractor(extraction_limits(Settings())) as extractor:
        document = extract(extractor, path)
    text = "\n".join(chunk.text for chunk in document.chunks)
    assert "| name 0 | place 0 | 0.5 | yes |" in text
    assert "| name 49999 | place 44 | 49999.5 | yes |" in text
