"""A search uses only released data, and checks policy each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_assets.errors import NotReleasedError, RequestError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.release.corpus import (
    check,
    embed,
    prepare,
    release_corpus,
    release_settings,
    table_of,
)
from rag_assets_tests.searches import ask
from rag_assets_tests.vectors.vectors import count_rows


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return release_settings(make_settings)


def words(code: str, number: int = 3) -> str:
    """The text of a verse of a version."""
    return f"The {code} number {number} runs down to the sea before {number + 7} days"


def versions(database: Database, settings: Settings, query: str) -> set[str]:
    """The versions of the hits."""
    return {hit.version for hit in ask(database, settings, query).hits}


def test_before_anything_is_released_a_search_says_what_to_do(
    database: Database, settings: Settings
) -> None:
    with pytest.raises(NotReleasedError, match="no Bible version is loaded: add one with"):
        ask(database, settings, "light")
    load_version(database, "EN_A", sentences(5))
    with pytest.raises(NotReleasedError, match="loaded but not embedded: run `rag-assets bib"):
        ask(database, settings, words("EN_A"))
    prepare(database, settings)
    with pytest.raises(NotReleasedError, match="EN_A is embedded but not in any release: run `rag"):
        ask(database, settings, words("EN_A"))


def test_a_verse_is_found_by_its_words_with_all_of_its_details(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    found = ask(database, settings, words("EN_A"), top_k=4)
    assert (found.release_id, found.plan.kind) == (1, "exact")
    assert [hit.rank for hit in found.hits] == [1, 2, 3, 4]
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    first = found.hits[0]
    assert (first.reference, first.usfm) == ("Genesis 1:4", "GEN 1:4")
    assert (first.version, first.language, first.text) == ("EN_A", "en", words("EN_A"))
    assert first.score == pytest.approx(1, abs=0.001)


def test_a_version_that_is_embedded_and_checked_is_not_found_until_it_is_released(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B")
    assert count_rows(database, table_of(database, settings).name) == 120
    assert versions(database, settings, words("EN_B")) == {"EN_A"}
    gate = "EN_B is embedded but not in release 1: run `rag-assets release gate`"
    with pytest.raises(RequestError, match=gate) as caught:
        ask(database, settings, words("EN_B"), versions=["EN_B"])
    assert (caught.value.kind, caught.value.choices) == ("version-not-released", ("EN_A",))
    load_version(database, "EN_C", sentences(5))
    with pytest.raises(RequestError, match="EN_C is loaded but not embedded: run `rag-assets bib"):
        ask(database, settings, words("EN_B"), versions=["EN_A", "EN_C"])
    (settings.rag_bibles_dir / "EN_D").mkdir(parents=True)
    with pytest.raises(RequestError, match="EN_D has a folder but is not loaded: run `rag-a") as at:
        ask(database, settings, words("EN_B"), versions=["EN_A", "EN_D"])
    assert at.value.kind == "version-not-released"
    load_version(database, "EN_D", sentences(5), replace(ALLOWED, ai_allowed=False))
    with pytest.raises(RequestError, match=r"EN_D is withheld by version\.toml") as caught:
        ask(database, settings, words("EN_B"), versions=["EN_D"])
    assert caught.value.kind == "version-withheld"
    release_corpus(database, settings)
    assert ask(database, settings, words("EN_B")).hits[0].version == "EN_B"


def test_an_unknown_version_names_the_choice(database: Database, settings: Settings) -> None:
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
    release_corpus(database, settings)
    with pytest.raises(RequestError, match="EN_C is not in the active release") as caught:
        ask(database, settings, "river", versions=["EN_A", "EN_C"])
    assert caught.value.kind == "unknown-version"
    assert set(caught.value.choices) == {"EN_A", "EN_B"}


def test_a_search_of_some_versions_finds_only_theirs(
    database: Database, settings: Settings
) -> None:
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
    release_corpus(database, settings)
    found = ask(database, settings, words("EN_A"), versions=["EN_B"])
    assert {hit.version for hit in found.hits} == {"EN_B"}
    assert len(found.hits) == 10


@pytest.mark.parametrize("withdrawn", ["ai_allowed", "enabled_for_rag"])
def test_withdrawing_a_licence_and_restoring_it_take_effect_immediately(
    database: Database, settings: Settings, withdrawn: str
) -> None:
    texts = sentences(60, word="EN_B")
    prepare(database, settings)
    prepare(database, settings, "EN_B", texts)
    release_corpus(database, settings)
    assert "EN_B" in versions(database, settings, words("EN_B"))

    load_version(database, "EN_B", texts, replace(ALLOWED, **{withdrawn: False}))
    assert versions(database, settings, words("EN_B")) == {"EN_A"}
    with pytest.raises(RequestError, match="EN_B may not be served") as caught:
        ask(database, settings, words("EN_B"), versions=["EN_B"])
    assert caught.value.kind == "version-withheld"

    load_version(database, "EN_B", texts)
    assert "EN_B" in versions(database, settings, words("EN_B"))


def test_the_setting_narrows_what_is_served_and_never_widens_it(
    database: Database, make_settings: MakeSettings, settings: Settings
) -> None:
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
    release_corpus(database, settings)
    embed(database, settings, "EN_C", sentences(60, word="EN_C"))
    check(database, settings, "EN_C")
    narrow = release_settings(make_settings, rag_allowed_versions="EN_B, EN_C")
    assert versions(database, narrow, words("EN_A")) == {"EN_B"}
    assert versions(database, narrow, words("EN_C")) == {"EN_B"}
    nothing = release_settings(make_settings, rag_allowed_versions="EN_C")
    assert versions(database, nothing, words("EN_C")) == set()
    with pytest.raises(RequestError, match="EN_A may not be served"):
        ask(database, narrow, "river", versions=["EN_A"])


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_an_empty_query_is_refused(database: Database, settings: Settings, query: str) -> None:
    with pytest.raises(RequestError, match="the query is empty"):
        ask(database, settings, query)


def test_a_search_through_the_index_finds_what_an_exact_one_finds(
    database: Database, make_settings: MakeSettings
) -> None:
    exact = release_settings(make_settings)
    indexed = release_settings(make_settings, rag_index_min_rows=1, rag_recall_floor=1.0)
    for code in ("EN_A", "EN_B"):
        prepare(database, exact, code)
    release_corpus(database, exact)
    queries = [words(code, number) for code in ("EN_A", "EN_B") for number in range(0, 60, 7)]
    before = [ask(database, exact, query).hits[0] for query in queries]

    prepare(database, indexed, "EN_C")
    release_corpus(database, indexed)
    after = [ask(database, indexed, query) for query in queries]
    assert {found.plan.kind for found in after} == {"ivfflat"}
    assert [found.hits[0].text for found in after] == [hit.text for hit in before] == queries
    filtered = ask(database, indexed, words("EN_A"), versions=["EN_B"])
    assert {hit.version for hit in filtered.hits} == {"EN_B"}
    assert len(filtered.hits) == 10


def test_verses_deleted_since_the_release_are_not_found(
    database: Database, settings: Settings
) -> None:
    texts = sentences(60, word="EN_A")
    prepare(database, settings, "EN_A", texts)
    release_corpus(database, settings)
    assert ask(database, settings, texts[-1]).hits[0].text == texts[-1]
    load_version(database, "EN_A", texts[:-1])
    assert texts[-1] not in {hit.text for hit in ask(database, settings, texts[-1]).hits}
