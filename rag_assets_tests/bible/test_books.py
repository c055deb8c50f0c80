"""Names of books, and the canon's counts."""

from __future__ import annotations

import pytest

from rag_assets.bible.books import (
    CANON,
    SCRIPTURE,
    Language,
    book_code,
    book_position,
    display_name,
)
from rag_assets.bible.canon import canon_verses, verse_counts


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("GEN", "GEN"),
        ("1jn", "1JN"),
        ("Gen", "GEN"),
        ("1Chr", "1CH"),
        ("Ps", "PSA"),
        ("PSS", "PSS"),
        ("I Samuel", "1SA"),
        ("III John", "3JN"),
        ("1 John", "1JN"),
        ("1John", "1JN"),
        ("First Kings", "1KI"),
        ("Revelation of John", "REV"),
        ("  song  of solomon ", "SNG"),
        ("Jó", "JOB"),
        ("Jo\u0301", "JOB"),
        ("JÓ", "JOB"),
        ("Jo", "JHN"),
        ("João", "JHN"),
        ("Joao", "JHN"),
        ("Êx", "EXO"),
        ("Exodo", "EXO"),
        ("1Rs", "1KI"),
        ("1ª Coríntios", "1CO"),
        ("Lamentações de Jeremias", "LAM"),
        ("Gn.", "GEN"),
        ("Is", "ISA"),
        ("I S", None),
        ("Nowhere", None),
        ("", None),
    ],
)
def test_book_names(name: str, code: str | None) -> None:
    assert book_code(name) == code


def test_the_language_settles_an_abbreviation_of_two_books() -> None:
    assert book_code("Jn") == "JHN"
    assert book_code("Jn", Language.PORTUGUESE) == "JON"


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("code", SCRIPTURE)
def test_every_display_name_leads_back_to_its_book(code: str, language: Language) -> None:
    assert book_code(display_name(code, language), language) == code


def test_display_names_of_both_languages() -> None:
    assert display_name("JHN") == "John"
    assert display_name("JHN", Language.PORTUGUESE) == "João"
    assert display_name("FRT") == "FRT"


def test_the_order_is_old_testament_new_testament_others() -> None:
    codes = ["TOB", "REV", "FRT", "MAT", "GEN", "MAL"]

    assert sorted(codes, key=book_position) == ["GEN", "MAL", "MAT", "REV", "TOB", "FRT"]


def test_the_canon_is_that_of_the_king_james_version() -> None:
    assert len(CANON) == 66
    assert sum(len(verse_counts(book)) for book in CANON) == 1189
    assert sum(len(canon_verses(book)) for book in CANON) == 31_102
    assert verse_counts("3JN") == (14,)
    assert (12, 18) not in canon_verses("REV")
    assert canon_verses("TOB") == frozenset()
