"""Filters pass exactly what they name, and decide how the table is read."""

from __future__ import annotations

from typing import Any

import pytest

from rag_assets_tests.api.server import Server

QUERY = "the people of the city"


def places(found: dict[str, Any]) -> set[tuple[str, str, int]]:
    """Version, book and chapter of each hit."""
    return {
        (hit["version"], hit["usfm"][:3], int(hit["usfm"][4:].partition(":")[0]))
        for hit in found["hits"]
    }


def test_only_the_requested_versions_are_searched(server: Server) -> None:
    found = server.found(query=QUERY, versions=["PT_SAMPLE"], top_k=50)
    assert {version for version, _, _ in places(found)} == {"PT_SAMPLE"}
    both = server.found(query=QUERY, versions=["PT_SAMPLE", "EN_SAMPLE", "PT_SAMPLE"], top_k=100)
    assert {version for version, _, _ in places(both)} == {"PT_SAMPLE", "EN_SAMPLE"}


@pytest.mark.parametrize(
    ("language", "version"),
    [("en", "EN_SAMPLE"), ("EN", "EN_SAMPLE"), ("en-GB", "EN_SAMPLE"), ("pt", "PT_SAMPLE"),
     ("pt-BR", "PT_SAMPLE"), ("pt-PT", "PT_SAMPLE")],
)  # fmt: skip
def test_only_the_first_part_of_a_language_tag_counts(
    server: Server, language: str, version: str
) -> None:
    found = server.found(query=QUERY, language=language, top_k=50)
    assert {one for one, _, _ in places(found)} == {version}


@pytest.mark.parametrize(
    ("name", "code"),
    [("RUT", "RUT"), ("rut", "RUT"), ("Ruth", "RUT"), ("Rute", "RUT"), ("Psalms", "PSA"),
     ("Salmos", "PSA"), ("Jonah", "JON"), ("Jonas", "JON"), ("2 John", "2JN"), ("3 João", "3JN"),
     ("Judas", "JUD"), ("Philemon", "PHM")],
)  # fmt: skip
def test_a_book_is_found_by_its_code_and_its_common_names(
    server: Server, name: str, code: str
) -> None:
    found = server.found(query=QUERY, books=[name], top_k=100)
    assert {book for _, book, _ in places(found)} == {code}


def test_several_books_mean_any_of_them(server: Server) -> None:
    found = server.found(query=QUERY, books=["Jonah", "Filemom", "JUD"], top_k=100)
    assert {book for _, book, _ in places(found)} == {"JON", "PHM", "JUD"}


@pytest.mark.parametrize(
    ("first", "last", "chapters"),
    [(2, 3, {2, 3}), (3, None, {3, 4}), (None, 2, {1, 2}), (4, 4, {4}), (4, 200, {4})],
)
def test_chapters_go_from_the_first_to_the_last(
    server: Server, first: int | None, last: int | None, chapters: set[int]
) -> None:
    ends = {"chapter_from": first, "chapter_to": last}
    asked = {name: end for name, end in ends.items() if end is not None}
    found = server.found(query=QUERY, books=["RUT"], top_k=100, **asked)
    assert {chapter for _, _, chapter in places(found)} == chapters


def test_a_chapter_without_a_book_means_that_chapter_of_each_book(server: Server) -> None:
    found = server.found(query=QUERY, chapter_from=1, chapter_to=1, top_k=100, language="en")
    assert {chapter for _, _, chapter in places(found)} == {1}
    assert len({book for _, book, _ in places(found)}) == 7


def test_combined_filters_pass_what_each_of_them_passes(server: Server) -> None:
    found = server.found(
        query=QUERY, versions=["PT_SAMPLE"], language="pt", books=["Jonas"], chapter_from=2,
        chapter_to=2, top_k=100,
    )  # fmt: skip
    assert places(found) == {("PT_SAMPLE", "JON", 2)}
    assert found["k_returned"] == 10


def test_a_chapter_that_no_book_has_finds_nothing_and_says_so(server: Server) -> None:
    found = server.found(query=QUERY, books=["RUT"], chapter_from=9)
    assert found["hits"] == []
    assert found["why_fewer"] == "nothing else matches"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, "ivfflat"),
        ({"versions": ["EN_SAMPLE", "PT_SAMPLE"]}, "ivfflat"),
        ({"versions": ["EN_SAMPLE"]}, "iterative"),
        ({"language": "pt"}, "iterative"),
        ({"books": ["RUT"]}, "iterative"),
        ({"books": ["RUT"], "language": "en"}, "exact"),
        ({"books": ["JON"]}, "exact"),
        ({"books": ["JON", "RUT"], "language": "pt"}, "iterative"),
    ],
)
def test_the_plan_depends_on_how_many_rows_pass_the_filter(
    server: Server, asked: dict[str, object], kind: str
) -> None:
    """100 rows and fewer are searched exactly here; the corpus has 502."""
    plan = server.found(query=QUERY, **asked)["plan"]
    assert plan["kind"] == kind
    assert (plan["probes"] is None) == (plan["generation"] is None) == (kind == "exact")


def test_the_index_finds_under_a_filter_what_exact_search_finds(server: Server) -> None:
    """Ruth in both versions uses the index; in one version it is searched exactly."""
    together = server.found(query=QUERY, books=["RUT"], top_k=10)
    alone = [
        hit
        for version in ("EN_SAMPLE", "PT_SAMPLE")
        for hit in server.found(query=QUERY, books=["RUT"], versions=[version])["hits"]
    ]
    best = sorted(alone, key=lambda hit: -hit["score"])[:10]
    wanted = {(hit["version"], hit["usfm"]) for hit in best}
    found = {(hit["version"], hit["usfm"]) for hit in together["hits"]}
    assert len(wanted & found) >= 9
    assert together["k_returned"] == 10


def test_everything_means_the_bible_if_no_documents_are_released(server: Server) -> None:
    bible = server.found(query=QUERY, corpus="bible")["hits"]
    assert bible == server.found(query=QUERY, corpus="both")["hits"]
