"""What PDFium's lines become: headings by their size, passages, whole words, pages."""

from __future__ import annotations

import pytest

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.extract import read_document
from rag_assets.documents.formats.pdf import read_pdf
from rag_assets.documents.formats.pdf_lines import reads_as_heading
from rag_assets.documents.formats.remarks import Remarks
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import limits

Line = tuple[int, int, int, str]


def blocks(*pages: list[Line]) -> list[Block]:
    return list(read_pdf(office.laid_out_pdf(pages), "a.pdf", ocr=False).blocks)


def lines(*texts: str, size: int = 10, left: int = 72, top: int = 700) -> list[Line]:
    """Lines one below the other."""
    return [(size, left, top - 12 * place, text) for place, text in enumerate(texts)]


def test_lines_of_a_passage_stay_together_and_a_gap_begins_another() -> None:
    page = [*lines("One goes on", "here."), *lines("Two.", top=650)]
    assert [block.text for block in blocks(page)] == ["One goes on\nhere.", "Two."]


def test_larger_lines_are_headings_and_the_largest_are_the_highest() -> None:
    body = lines(*["The body's text, which is most of the page."] * 6, top=600)
    page = [(20, 72, 740, "The title"), (14, 72, 640, "A part"), *body]
    found = [(block.level, block.title) for block in blocks(page) if block.level]
    assert found == [(1, "The title"), (2, "A part")]


def test_a_chapter_s_number_and_its_title_below_are_one_heading() -> None:
    body = lines(*["The body's text, which is most of the page."] * 6, top=600)
    page = [(20, 72, 740, "Chapter 1"), (20, 72, 690, "Down the hole"), *body]
    found = [(block.level, block.title) for block in blocks(page) if block.level]
    assert found == [(1, "Chapter 1 Down the hole")]


def test_a_long_passage_in_large_letters_and_a_list_of_contents_are_no_headings() -> None:
    body = lines(*["The body's text, which is most of the page."] * 20, top=400)
    large = [(16, 72, 740 - 18 * place, "Large but long.") for place in range(4)]
    contents = [(16, 72, 500, "Introduction . . . . . . . . . 3")]
    assert not any(block.level for block in blocks([*large, *contents, *body]))


def test_two_pages_on_a_sheet_are_read_one_after_the_other() -> None:
    left = lines("Left one.", "Left two.")
    right = lines("Right one.", "Right two.", left=400)
    assert [block.text for block in blocks([*left, *right])] == [
        "Left one.\nLeft two.",
        "Right one.\nRight two.",
    ]


def test_a_word_over_two_lines_is_whole_and_a_hyphen_before_a_name_stays() -> None:
    (block,) = blocks(lines("an extra-", "ordinary Anglo-", "Saxon word"))
    assert block.text == "an extraordinary Anglo-Saxon word"


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        (("paid by cost-", "reimbursement"), "paid by cost-reimbursement"),
        (("a cost-plus fee, or cost-", "plus fee"), "a cost-plus fee, or cost-plus fee"),
        (("any tea, and things of tea-", "things"), "any tea, and things of tea-things"),
        (("a Jack-in-the-", "box"), "a Jack-in-the-box"),
        (("an oft-over-", "looked rule"), "an oft-overlooked rule"),
        (("to under-", "stand it"), "to understand it"),
        (("the com-", "mercial one"), "the commercial one"),
        (("o trabalha-", "dor; o trabalhador"), "o trabalhador; o trabalhador"),
        (("ELE-", "MENT of it"), "ELEMENT of it"),
        (("the RFC-", "editor"), "the RFC-editor"),
    ],
)
def test_a_hyphen_at_a_line_s_end_stays_where_it_belongs_to_the_word(
    texts: tuple[str, str], read: str
) -> None:
    (block,) = blocks(lines(*texts))
    assert block.text == read


HELVETICA = {"c": 500, "o": 556, "m": 833, "e": 556, "r": 333, "i": 222, "a": 556, "l": 222}


@pytest.mark.parametrize(("gap", "parted"), [(0.0, False), (0.11, True), (0.2, True)])
def test_words_set_close_together_are_two(gap: float, parted: bool) -> None:
    width = sum(HELVETICA[letter] for letter in "commercial") / 1000
    second = 72 + 10 * (width + gap)
    page = [(10, 72, 700, "commercial"), (10, second, 700, "methodology")]
    (block,) = blocks(page)  # type: ignore[arg-type]
    assert block.text == ("commercial methodology" if parted else "commercialmethodology")


def test_a_word_in_other_letters_does_not_stick_to_the_one_before() -> None:
    (block,) = blocks([(10, 72, 700, "the commercial"), (20, 142, 700, "methodology")])
    assert block.text == "the commercial methodology"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1. Introduction", True),
        ("Who Stole the Tarts?", True),
        ("Capítulo II", True),
        ("第一章", True),
        ("12", False),
        ("3.14 / 2", False),
        ("xiv", False),
        ("A", False),
        ("Page 3 of 12", False),
        ("https://example.org/report", False),
        ("See www.example.org", False),
        ("18f.gsa.gov", False),
        ("ana@example.org", False),
        ("* Of the second edition", False),
        ("[3] Smith, Rivers", False),
        ("¹ Of the first edition", False),
        ("A simple vote that shows what a group thinks is most important.", False),
    ],
)
def test_what_reads_as_a_heading(text: str, is_one: bool) -> None:
    assert reads_as_heading(text) == is_one


def test_an_address_in_large_letters_is_text() -> None:
    body = lines(*["The body's text, which is most of the page."] * 6, top=600)
    page = [(20, 72, 740, "The title"), (14, 72, 640, "https://example.org"), *body]
    found = [(block.level, block.text) for block in blocks(page)]
    assert found[:2] == [(1, "The title"), (0, "https://example.org")]


def report(page: int, *, of: int) -> list[Line]:
    head = "Rivers of Iberia" if page % 2 else "Second edition"
    body = lines(*[f"Words of page {page}, line {line}." for line in range(8)])
    return [*lines(head, top=780), *body, *lines(f"Page {page} of {of}", top=40)]


def test_headers_of_odd_and_even_pages_and_page_numbers_stay_once_and_are_reported() -> None:
    remarks = Remarks()
    content = office.laid_out_pdf([report(page, of=8) for page in range(1, 9)])
    texts = "\n".join(block.text for block in read_pdf(content, "a.pdf", remarks, ocr=False).blocks)
    for once in ("Rivers of Iberia", "Second edition", "Page 1 of 8"):
        assert texts.count(once) == 1
    assert "Page 2" not in texts
    assert all(f"Words of page {page}, line 7." in texts for page in range(1, 9))
    ((what, count),) = [(one.what, one.count) for one in remarks.all()]
    assert (what, count) == ("running header or footer, after the first", 13)


def test_the_page_of_a_passage_is_that_on_which_its_own_text_begins() -> None:
    pages = [lines(*[f"Page {page} line {line} tells of rivers." for line in range(30)])
             for page in range(1, 9)]  # fmt: skip
    content = office.laid_out_pdf(pages)
    small = limits(chunk_tokens=100, overlap_tokens=30)
    before = ""
    for chunk in read_document(content, "a.pdf", small).chunks:
        own = chunk.text
        for line in own.split("\n"):  # what it repeats of the one before is not its own
            if line and line not in before:
                assert line.startswith(f"Page {chunk.page} ")
                break
        before = chunk.text


@pytest.mark.parametrize(
    "title", ["untitled", "pandp.dvi", "Microsoft Word - x.doc", "(unbenannt)"]
)
def test_a_title_that_a_program_has_put_there_gives_way_to_the_name(title: str) -> None:
    escaped = title.replace("(", "\\(").replace(")", "\\)")
    content = office.pdf(["Some text."]).replace(b"trailer\n<<", b"trailer\n<< /Info 99 0 R")
    info = f"99 0 obj\n<< /Title ({escaped}) >>\nendobj\n".encode()
    titled = content.replace(b"xref\n", info + b"xref\n", 1)
    assert read_document(titled, "2024/Annual report.pdf", limits()).title == "Annual report"
    kept = titled.replace(escaped.encode(), b"Rivers of Iberia")
    assert read_document(kept, "2024/Annual report.pdf", limits()).title == "Rivers of Iberia"


def test_a_page_that_is_a_picture_is_reported_where_others_have_text() -> None:
    scan = office.scanned_pdf(["Nothing that can be read."])
    remarks = Remarks()
    read_pdf(scan, "a.pdf", remarks, ocr=False)
    ((kind, what),) = [(one.kind, one.what) for one in remarks.all()]
    assert (kind, what) == ("lost", "page that is a picture")


def test_a_running_line_stays_once_and_a_title_that_comes_back_is_none() -> None:
    pages = [
        [*lines("REPORT 2024", top=780), *lines(f"Body of page {number}."), *lines("9", top=40)]
        for number in range(1, 5)
    ]
    read = [(block.page, block.text) for block in blocks(*pages)]
    assert [page for page, text in read if text == "REPORT 2024"] == [1]
    assert [text for _, text in read if text.startswith("Body")] == [
        f"Body of page {number}." for number in range(1, 5)
    ]
    twice = [lines("Summary", f"Words {number}.", "more", "end") for number in range(2)]
    assert sum("Summary" in block.text for block in blocks(*twice)) == 2
