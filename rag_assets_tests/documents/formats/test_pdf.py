"""What PDFium's lines become: headings by their size, passages, whole words, pages."""

from __future__ import annotations

from rag_assets.documents.formats.blocks import Block
from rag_assets.documents.formats.pdf import read_pdf
from rag_assets_tests.documents.formats import office

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
