"""What is written in an office file is what is read of it: entities, tabs, notes, every part."""

from __future__ import annotations

import io
import zipfile

import pytest

from rag_assets.documents.formats.extract import read_document
from rag_assets.errors import CorruptDocumentError
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS

SIGNS = "Don't say \"no\" at Smith & Sons: R&D, 5 < 7 and 9 > 2; l'eau, café, ’t"
TABBED = "Name:\tMaria\tAge:\t42"


def words(content: bytes, name: str = "file") -> str:
    """All that is read, blanks of any kind as one."""
    chunks = read_document(content, name, LIMITS).chunks
    return " ".join(" ".join(chunk.text for chunk in chunks).split())


@pytest.mark.parametrize(
    "content",
    [
        office.docx([(1, SIGNS), (0, SIGNS)]),
        office.odt([(1, SIGNS), (0, SIGNS)]),
        office.pptx([(SIGNS, SIGNS)]),
        office.xlsx({"R&D": [["Q&A", SIGNS], [SIGNS, "a < b"]]}),
        office.epub([(SIGNS, SIGNS)], "R&D"),
    ],
    ids=["docx", "odt", "pptx", "xlsx", "epub"],
)
def test_entities_are_the_signs_that_they_stand_for(content: bytes) -> None:
    assert words(content).count(SIGNS) == 2


@pytest.mark.parametrize(
    "content", [office.docx([(0, TABBED)]), office.odt([(0, TABBED)])], ids=["docx", "odt"]
)
def test_a_tab_parts_words(content: bytes) -> None:
    assert words(content) == "Name: Maria Age: 42"


@pytest.mark.parametrize(
    ("markup", "read"),
    [
        ("<w:r><w:t><![CDATA[R&D <x> 1]]>]]&gt; 2</w:t></w:r>", "R&D <x> 1]]> 2"),
        ("<w:r><w:t>one</w:t><w:cr/><w:t>two</w:t></w:r>", "one two"),
        ('<w:r><w:t>one</w:t><w:br w:type="page" /><w:t>two</w:t></w:r>', "one two"),
        ('<w:r><w:t>one</w:t><w:br w:type="column"/><w:t>two</w:t></w:r>', "one two"),
        ('<w:r><w:t>one</w:t><w:ptab w:leader="none"/><w:t>two</w:t></w:r>', "one two"),
        ("<w:r><w:t>un</w:t><w:lastRenderedPageBreak/><w:t>done</w:t></w:r>", "undone"),
        (
            '<w:rPr><w:moveFrom w:author="A>B"/></w:rPr><w:r><w:t>stays</w:t></w:r>'
            '<w:moveFromRangeStart w:id="1"/><w:moveFrom w:id="2"><w:r><w:t>old</w:t></w:r>'
            '</w:moveFrom><w:moveTo w:id="3"><w:r><w:t> moved</w:t></w:r></w:moveTo>',
            "stays moved",
        ),
    ],
    ids=["cdata", "carriage return", "page", "column", "aligned", "rendered", "moved"],
)
def test_what_the_library_would_misread_of_a_word_file(markup: str, read: str) -> None:
    content = office.docx([(0, "before")], markup=f"<w:p>{markup}</w:p>")
    assert words(content) == f"before {read}"


def test_formulas_of_a_word_file_are_written_on_a_line() -> None:
    def run(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    half = f"<m:f><m:num>{run('1')}</m:num><m:den>{run('2')}</m:den></m:f>"
    power = f"<m:sSup><m:e>{run('10')}</m:e><m:sup>{run('6')}</m:sup></m:sSup>"
    sign = "<m:naryPr><m:chr m:val='∑'/></m:naryPr>"
    scripts = f"<m:sub>{run('i=1')}</m:sub><m:sup>{run('n')}</m:sup>"
    total = f"<m:nary>{sign}{scripts}<m:e>{power}</m:e></m:nary>"
    root = f"<m:rad><m:e><m:d><m:e>{run('a &lt; b')}</m:e></m:d></m:e></m:rad>"
    for formula, line in (
        (run("x=") + half, "x=1/2"),
        (run("2") + half + power, "2 1/2 10^6"),
        (total, "∑_(i=1)^n 10^6"),
        (root, "√((a < b))"),
    ):
        markup = f'<w:p xmlns:m="urn:m"><m:oMath>{formula}</m:oMath></w:p>'
        assert words(office.docx([(0, "before")], markup=markup)) == f"before {line}"


def test_the_alternative_text_of_a_word_file_s_picture_is_read() -> None:
    markup = (
        '<w:p xmlns:wp="urn:wp"><w:r><w:t>See</w:t></w:r><w:r><w:drawing><wp:inline><wp:docPr '
        'id="1" name="x" descr="A map &amp; rivers"/></wp:inline></w:drawing></w:r></w:p>'
    )
    assert words(office.docx([(0, "before")], markup=markup)) == "before See A map & rivers"


def test_the_numbers_of_a_sheet_are_kept() -> None:
    content = office.xlsx({"R&D": [["Q&A\tx", "1.50"]]})
    assert "| Q&A x | 1.50 |" in words(content)


def test_a_speaker_s_notes_follow_their_slide() -> None:
    read = words(office.pptx([("One", "First."), ("Two", "Second.")], ["Pears & apples.", ""]))
    assert read == "One First. Pears & apples. Two Second."


def test_a_book_with_a_chapter_that_cannot_be_unpacked_is_refused() -> None:
    content = office.epub([("One", "First. " * 50), ("Two", "Second.")], "Book")
    name = b"OEBPS/chapter1.xhtml"
    start = content.index(name) + len(name)
    broken = content[:start] + b"\xff" * 8 + content[start + 8 :]
    with pytest.raises(CorruptDocumentError, match=r"its part OEBPS/chapter1\.xhtml is cut off"):
        read_document(broken, "book.epub", LIMITS)


def test_a_slide_whose_text_looks_like_markup_is_read_as_it_is_written() -> None:
    text = "# no heading\n1. one\n2. two | three\n- * four *\n| --- | x |"
    assert words(office.pptx([("- Title *", text)])) == "- Title * " + " ".join(text.split())


def test_a_table_and_shapes_in_groups_of_a_slide_stand_in_their_order() -> None:
    box = "<p:sp><p:txBody><a:p><a:r><a:t>{0}</a:t></a:r></a:p></p:txBody></p:sp>"
    cell = "<a:tc><a:txBody><a:p><a:r><a:t>{0}</a:t></a:r></a:p></a:txBody></a:tc>"
    row = "<a:tr>" + cell + cell.replace("{0}", "{1}") + "</a:tr>"
    data = "<a:graphic><a:graphicData uri='x/{0}'>{1}</a:graphicData></a:graphic>"
    frame = f"<p:graphicFrame>{data}</p:graphicFrame>"
    shapes = (
        f"<p:grpSp>{box.format('In a group.')}<p:grpSp>{box.format('Deeper.')}</p:grpSp></p:grpSp>"
        + frame.format("table", f"<a:tbl>{row.format('a', 'b')}{row.format('', 'c')}</a:tbl>")
        + frame.format("chart", "")
        + "<p:pic><p:nvPicPr><p:cNvPr id='9' descr='A map'/></p:nvPicPr></p:pic>"
        + "<p:sp><p:nvSpPr><p:nvPr><p:ph type='sldNum'/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:fld>"
        "<a:t>1</a:t></a:fld></a:p></p:txBody></p:sp>"
    )
    content = office.pptx([("Title", "MARK")])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    slide = bytes(members["ppt/slides/slide1.xml"]).decode()
    members["ppt/slides/slide1.xml"] = slide.replace("</p:spTree>", f"{shapes}</p:spTree>")
    document = read_document(office.zipped(members), "a.pptx", LIMITS)
    assert (
        document.chunks[0].text == "Title\n\nMARK\n\nIn a group.\n\nDeeper.\n\na | b\n | c\n\nA map"
    )
    assert [(one.what, one.examples) for one in document.remarks] == [
        ("chart, diagram or object", ("chart on slide 1",)),
        ("slide number, date, header or footer", ("1",)),
    ]


def test_hidden_slides_and_comments_are_reported() -> None:
    content = office.pptx([("One", "First."), ("Two", "Secret."), ("Three", "Third.")])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    slide = bytes(members["ppt/slides/slide2.xml"]).decode()
    members["ppt/slides/slide2.xml"] = slide.replace("<p:sld ", '<p:sld show="0" ')
    members["ppt/comments/comment1.xml"] = "<a xmlns='x'><cm><text>On plums</text></cm></a>"
    document = read_document(office.zipped(members), "a.pptx", LIMITS)
    assert document.chunks[0].text == "One\n\nFirst.\n\nThree\n\nThird."
    assert document.pages == 3
    assert [(one.what, one.examples) for one in document.remarks] == [
        ("hidden slide", ("slide 2",)),
        ("comment", ("On plums",)),
    ]
