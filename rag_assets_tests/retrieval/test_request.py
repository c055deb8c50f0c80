"""What a request selects in the active release: versions, books, chapters and rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.errors import RequestError
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest, confine
from rag_assets.vectors.sql.spaces import Space, SpaceSpec
from rag_assets.vectors.sql.tables import bible_table

TABLE = bible_table(Space(3, "small", SpaceSpec("offline", "m", 64, "vector"), 0.0))
SERVED = Served(
    release_id=1,
    target=Target(TABLE, {"EN_A": 30, "EN_B": 20, "PT_C": 10}, None, "vector", None),
    large=None,
    languages={"EN_A": "en", "EN_B": "en-GB", "PT_C": "pt-BR"},
    books={("EN_A", "GEN"): 20, ("EN_A", "PSA"): 10, ("EN_B", "GEN"): 20, ("PT_C", "PSA"): 10},
    withheld=frozenset({"EN_X"}),
)


def refused(**asked: object) -> RequestError:
    """Why it cannot be answered."""
    with pytest.raises(RequestError) as caught:
        confine(SearchRequest(**asked), SERVED)  # type: ignore[arg-type]
    return caught.value


def test_without_a_filter_everything_is_selected() -> None:
    found = confine(SearchRequest(), SERVED)
    assert found.scopes == ("EN_A", "EN_B", "PT_C")
    assert (found.books, found.chapters, found.rows) == (None, None, None)


def test_a_version_given_twice_is_selected_once() -> None:
    found = confine(SearchRequest(versions=("PT_C", "EN_A", "PT_C")), SERVED)
    assert found.scopes == ("PT_C", "EN_A")


@pytest.mark.parametrize(
    ("language", "scopes"),
    [("en", ("EN_A", "EN_B")), ("EN-us", ("EN_A", "EN_B")), ("pt", ("PT_C",)),
     ("pt-BR", ("PT_C",))],
)  # fmt: skip
def test_a_language_selects_all_its_versions(language: str, scopes: tuple[str, ...]) -> None:
    assert confine(SearchRequest(language=language), SERVED).scopes == scopes


def test_rows_are_counted_if_books_or_chapters_are_given() -> None:
    assert confine(SearchRequest(books=("Genesis",)), SERVED).rows == 40
    assert confine(SearchRequest(books=("Salmos", "GEN")), SERVED).rows == 60
    assert confine(SearchRequest(books=("GEN",), versions=("PT_C",)), SERVED).rows == 0
    assert confine(SearchRequest(chapters=(1, 2), language="en"), SERVED).rows == 50
    assert confine(SearchRequest(versions=("EN_A",)), SERVED).rows is None


@pytest.mark.parametrize(
    ("name", "code"),
    [("1 Coríntios", "1CO"), ("1 corinthians", "1CO"), ("I Corinthians", "1CO"), ("êxodo", "EXO"),
     ("Exodo", "EXO"), ("Apocalipse", "REV"), ("jHn", "JHN"), ("João", "JHN"), ("Jó", "JOB")],
)  # fmt: skip
def test_a_book_is_found_by_many_names(name: str, code: str) -> None:
    assert confine(SearchRequest(books=(name,)), SERVED).books == (code,)


def test_an_unknown_book_suggests_similar_names() -> None:
    error = refused(books=("Genesys",))
    assert (error.kind, error.field) == ("unknown-book", "books")
    assert "Genesis" in error.choices
    assert "Did you mean" in str(error)


def test_an_unknown_version_suggests_similar_names() -> None:
    error = refused(versions=("EN_A", "en_b"))
    assert (error.kind, error.field) == ("unknown-version", "versions")
    assert error.choices[0] == "EN_B"


def test_a_withheld_version_is_not_reported_as_unknown() -> None:
    error = refused(versions=("EN_X",))
    assert error.kind == "version-withheld"
    assert "EN_X" in str(error)


def test_a_language_that_no_requested_version_has_is_reported() -> None:
    error = refused(versions=("EN_A",), language="pt")
    assert (error.kind, error.choices) == ("unknown-language", ("en", "pt"))
    assert refused(language="").kind == "unknown-language"


def test_the_first_chapter_must_not_be_after_the_last() -> None:
    assert refused(chapters=(3, 2)).kind == "bad-chapters"
    assert confine(SearchRequest(chapters=(2, 2)), SERVED).chapters == (2, 2)


def test_if_nothing_may_be_served_an_unknown_version_has_no_suggestions() -> None:
    nothing = Served(1, Target(TABLE, {}, None, "vector", None), None, {}, {}, frozenset())
    withheld = replace(nothing, withheld=frozenset({"EN_A"}))
    assert confine(SearchRequest(), withheld).scopes == ()
    with pytest.raises(RequestError, match="the active release has no Bible version"):
        confine(SearchRequest(), nothing)
    with pytest.raises(RequestError, match="It has no version"):
        confine(SearchRequest(versions=("EN_A",)), nothing)


@given(st.text(max_size=40))
def test_any_name_is_a_book_or_is_refused_with_names_that_are_books(name: str) -> None:
    try:
        found = confine(SearchRequest(books=(name,)), SERVED).books
    except RequestError as error:
        found = confine(SearchRequest(books=error.choices), SERVED).books
    assert found
    assert {len(code) for code in found} == {3}
