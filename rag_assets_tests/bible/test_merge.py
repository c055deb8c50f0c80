"""Segments, bridges, duplicates, blanks and the canon, on passages made by hand."""

from __future__ import annotations

import pytest

from rag_assets.bible.canon import canon_verses
from rag_assets.bible.formats.passages import Passage, VerseNumber, parse_verse_number
from rag_assets.bible.merge import merge
from rag_assets.bible.model import BibleText, Oddity, OddityKind


def merged(*printed: tuple[str, str], book: str = "JOB") -> BibleText:
    passages = []
    for number_text, text in printed:
        number = parse_verse_number(number_text)
        assert number is not None
        passages.append(Passage(book, 3, number, text))
    return merge("usfm", passages, [])


def told(text: BibleText) -> list[tuple[str, str]]:
    return [(verse.reference, verse.text) for verse in text.verses]


def kinds(text: BibleText, kind: OddityKind) -> list[str]:
    return [oddity.reference for oddity in text.oddities if oddity.kind is kind]


@pytest.mark.parametrize(
    ("printed", "verses", "count", "kind", "reported"),
    [
        ([("9-10", "a")], [("JOB 3:9-10", "a")], 2, OddityKind.BRIDGE, ["JOB 3:9-10"]),
        ([("5,6", "a")], [("JOB 3:5-6", "a")], 2, OddityKind.BRIDGE, ["JOB 3:5-6"]),
        ([("4", ""), ("5", "b")], [("JOB 3:5", "b")], 2, OddityKind.BLANK, ["JOB 3:4"]),
        (
            [("4-6", ""), ("7", "b")],
            [("JOB 3:7", "b")],
            4,
            OddityKind.BLANK,
            ["JOB 3:4-6"],
        ),
        ([("4", "a"), ("4", "b")], [("JOB 3:4", "a")], 1, OddityKind.DUPLICATE, ["JOB 3:4"]),
        ([("4", ""), ("4", "b")], [("JOB 3:4", "b")], 1, OddityKind.BLANK, []),
        ([("4", ""), ("4", "b")], [("JOB 3:4", "b")], 1, OddityKind.DUPLICATE, []),
        ([("4-5", "a"), ("5", "b")], [("JOB 3:4-5", "a")], 2, OddityKind.DUPLICATE, ["JOB 3:5"]),
        (
            [("4a", "a"), ("9b", "y"), ("4b", "b"), ("4c", "c"), ("9a", "x"), ("9c", "z")],
            [("JOB 3:4", "a b c"), ("JOB 3:9", "x y z")],
            2,
            OddityKind.SEGMENTS,
            ["JOB 3:4", "JOB 3:9"],
        ),
        (
            [("40c", "c"), ("40", "a")],
            [("JOB 3:40", "a c")],
            1,
            OddityKind.SEGMENTS,
            ["JOB 3:40"],
        ),
        (
            [("4a", "a"), ("4b-5", "b")],
            [("JOB 3:4-5", "a b")],
            2,
            OddityKind.SEGMENTS,
            ["JOB 3:4-5"],
        ),
        ([("4a", "a"), ("4a", "b")], [("JOB 3:4", "a")], 1, OddityKind.DUPLICATE, ["JOB 3:4"]),
    ],
)
def test_passages_become_verses(
    printed: list[tuple[str, str]],
    verses: list[tuple[str, str]],
    count: int,
    kind: OddityKind,
    reported: list[str],
) -> None:
    text = merged(*printed)

    assert told(text) == verses
    assert text.reference_count == count
    assert kinds(text, kind) == reported


def test_a_duplicate_says_what_the_other_said() -> None:
    text = merged(("4", "a"), ("4", "something else"))

    duplicate = next(one for one in text.oddities if one.kind is OddityKind.DUPLICATE)
    assert duplicate.detail == "left out: 'something else'"


def test_missing_verses_are_listed_within_the_books_of_the_version_only() -> None:
    passages = [
        Passage("JUD", chapter, number, "x")
        for chapter, verse in sorted(canon_verses("JUD"))
        if verse != 7 and (number := parse_verse_number(str(verse)))
    ]

    text = merge("usfm", passages, [])

    assert kinds(text, OddityKind.MISSING) == ["JUD 1:7"]
    assert len(kinds(text, OddityKind.MISSING_BOOK)) == 65


def test_extra_verses_and_books_are_listed() -> None:
    assert kinds(merged(("99", "x")), OddityKind.EXTRA) == ["JOB 3:99"]
    assert kinds(merged(("1", "x"), book="TOB"), OddityKind.EXTRA_BOOK) == ["TOB"]
    assert kinds(merged(("99", "x"), book="TOB"), OddityKind.EXTRA) == []


def test_a_book_of_blank_verses_is_reported_as_a_book_not_verse_by_verse() -> None:
    text = merged(("1", ""), ("2", ""))

    missing = {o.reference: o.detail for o in text.oddities if o.kind is OddityKind.MISSING_BOOK}
    assert text.reference_count == 2
    assert missing["JOB"] == "2 blank verses"
    assert missing["GEN"] == ""
    assert kinds(text, OddityKind.BLANK) == []

    beyond = merged(("1", ""), ("2", ""), book="TOB")
    assert Oddity(OddityKind.EXTRA_BOOK, "TOB", "2 blank verses") in beyond.oddities


def test_a_blank_verse_of_a_book_with_text_is_not_buried_under_books_without() -> None:
    passages = [
        Passage(book, 1, VerseNumber(verse, verse), text)
        for book, texts in (("GEN", ["", ""]), ("MAT", ["a", ""]), ("TOB", ["", "b"]))
        for verse, text in enumerate(texts, start=1)
    ]

    assert kinds(merge("usfm", passages, []), OddityKind.BLANK) == ["MAT 1:2", "TOB 1:1"]


@pytest.mark.parametrize(
    ("printed", "text", "detail"),
    [
        ("(3:2) LORD, how many", "LORD, how many", "left out: '(3:2)'"),
        ("[118-1] Alleluia", "Alleluia", "left out: '[118-1]'"),
        ("{Ps 3.2} LORD", "LORD", "left out: '{Ps 3.2}'"),
        ("(1 Sam 24:1-2)And", "And", "left out: '(1 Sam 24:1-2)'"),
        ("(3:2)", "", "left out: '(3:2)'"),
        ("[2] LORD", "[2] LORD", "kept: '[2]'"),
    ],
)
def test_a_number_of_another_versification_at_the_head_is_no_text(
    printed: str, text: str, detail: str
) -> None:
    found = merged(("1", printed), ("2", "b"))

    assert told(found) == [*([("JOB 3:1", text)] if text else []), ("JOB 3:2", "b")]
    reported = [one for one in found.oddities if one.kind is OddityKind.OTHER_NUMBER]
    assert reported == [Oddity(OddityKind.OTHER_NUMBER, "JOB 3:1", detail)]


@pytest.mark.parametrize(
    "text", ["(as in 3:2) he said", "He said (3:2)", "[Jesus] said", "3:2 LORD"]
)
def test_other_brackets_and_numbers_are_text(text: str) -> None:
    found = merged(("1", text))

    assert told(found) == [("JOB 3:1", text)]
    assert kinds(found, OddityKind.OTHER_NUMBER) == []


def test_verse_0_is_left_out_and_reported_in_full() -> None:
    long = "A Psalm of David. " * 20
    found = merged(("0", long), ("1", "a"), book="PSA")

    assert told(found) == [("PSA 3:1", "a")]
    assert found.reference_count == 1
    title = Oddity(OddityKind.TITLE, "PSA 3:0", f"left out: {long!r}")
    assert [one for one in found.oddities if one.kind is OddityKind.TITLE] == [title]
    joined = merged(("0-1", "a"), book="PSA")
    assert told(joined) == [("PSA 3:1", "a")]
    assert kinds(joined, OddityKind.TITLE) == ["PSA 3:0-1"]
    assert kinds(joined, OddityKind.BRIDGE) == []


@pytest.mark.parametrize("number", ["", "a", "4-", "9-7", "5,7", "1-99999999", "1000", "٣"])
def test_what_is_no_verse_number(number: str) -> None:
    assert parse_verse_number(number) is None
