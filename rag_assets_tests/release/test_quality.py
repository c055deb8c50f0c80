"""The verdicts: from counts, at each boundary; and what is judged when spaces are missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.bible.sql.quality import Quality
from rag_assets.postgres.database import Database
from rag_assets.release.quality import CHECKS, SpaceQuality, Verdict, judge, version_quality
from rag_assets.vectors.sql.spaces import Role, Space, SpaceSpec
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences

FAULTS = {
    "dimension_consistency": "wrong_dimension",
    "completeness": "missing",
    "freshness": "stale",
    "finite_and_normalised": "wrong_norm",
}
GOOD = Quality(10, 10, 0, 0, 0, 0, {})


def of(counts: Quality, role: Role = "small") -> SpaceQuality:
    spec = SpaceSpec("openai", f"model-{role}", 8, "halfvec")
    return SpaceQuality(Space(1, role, spec, 0.0), counts)


def failing(verdicts: tuple[Verdict, ...]) -> dict[str, tuple[str, ...]]:
    return {verdict.check: verdict.failures for verdict in verdicts if verdict.failures}


def test_without_fault_every_check_passes_in_its_order() -> None:
    verdicts = judge([of(GOOD), of(GOOD, "large")])
    assert verdicts == tuple(Verdict(check, (), ()) for check in CHECKS)


@pytest.mark.parametrize(
    ("counts", "check", "sentence"),
    [
        (
            replace(GOOD, embedded=9, missing=1),
            "completeness",
            "small: 1 of 10 verses have no vector in openai/model-small halfvec(8)",
        ),
        (replace(GOOD, verses=0, embedded=0), "completeness", "small: the version has no verses"),
        (
            replace(GOOD, stale=1),
            "freshness",
            "small: 1 vectors belong to an earlier text: materialize verse_embeddings",
        ),
        (
            replace(GOOD, wrong_dimension=1),
            "dimension_consistency",
            "small: 1 vectors of model-small have another dimension than 8",
        ),
        (
            replace(GOOD, wrong_norm=1),
            "finite_and_normalised",
            "small: 1 vectors are not finite or not of norm 1",
        ),
    ],
)
def test_one_fault_fails_its_own_check_only(counts: Quality, check: str, sentence: str) -> None:
    found = {fault: (f"GEN 1:1: {fault}",) for fault in FAULTS.values()}
    with_example = replace(counts, examples=found)
    verdicts = judge([of(with_example), of(GOOD, "large")])
    assert failing(verdicts) == {check: (sentence,)}
    (verdict,) = (verdict for verdict in verdicts if verdict.check == check)
    assert verdict.examples == (f"small: GEN 1:1: {FAULTS[check]}",)


def test_both_spaces_are_judged() -> None:
    stale = replace(GOOD, stale=2)
    (sentences_found,) = failing(judge([of(stale), of(stale, "large")])).values()
    assert [sentence.split(":")[0] for sentence in sentences_found] == ["small", "large"]


@pytest.mark.parametrize("spaces", [[], [of(GOOD, "large")]])
def test_nothing_counted_is_a_failure_of_every_check(spaces: list[SpaceQuality]) -> None:
    found = failing(judge(spaces))
    assert set(found) == set(CHECKS)
    assert set(found.values()) == {("no vector was ever stored in the small space",)}


@given(
    st.builds(
        Quality,
        verses=st.integers(0, 5),
        embedded=st.integers(0, 5),
        missing=st.integers(0, 5),
        stale=st.integers(0, 5),
        wrong_dimension=st.integers(0, 5),
        wrong_norm=st.integers(0, 5),
        examples=st.just({}),
    )
)
def test_all_pass_if_and_only_if_there_are_verses_and_no_fault(counts: Quality) -> None:
    faults = counts.missing + counts.stale + counts.wrong_dimension + counts.wrong_norm
    assert (failing(judge([of(counts)])) == {}) == (counts.verses > 0 and faults == 0)


def test_before_anything_is_embedded_every_check_fails(
    database: Database, make_settings: MakeSettings
) -> None:
    load_version(database, "EN_TEST", sentences(5))
    with database.connect() as connection:
        spaces = version_quality(connection, make_settings(), "EN_TEST")
    assert spaces == ()
    assert set(failing(judge(spaces))) == set(CHECKS)


def test_a_version_with_small_vectors_only_is_judged_in_the_small_space(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    for code in ("EN_BOTH", "EN_SMALL"):
        load_version(database, code, sentences(5))
        embed_version(database, settings, code, EmbedOptions(), "small", run_id="r")
    embed_version(database, settings, "EN_BOTH", EmbedOptions(), "large", run_id="r")
    with database.connect() as connection:
        both = version_quality(connection, settings, "EN_BOTH")
        small = version_quality(connection, settings, "EN_SMALL")
    assert [judged.space.role for judged in both] == ["small", "large"]
    assert [judged.space.role for judged in small] == ["small"]
    assert failing(judge(both)) == failing(judge(small)) == {}


def test_a_version_half_filled_in_the_large_space_is_incomplete(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    load_version(database, "EN_TEST", sentences(8))
    embed_version(database, settings, "EN_TEST", EmbedOptions(), "small", run_id="r")
    embed_version(database, settings, "EN_TEST", EmbedOptions(limit=3), "large", run_id="r")
    with database.connect() as connection:
        found = failing(judge(version_quality(connection, settings, "EN_TEST")))
    (sentence,) = found["completeness"]
    assert sentence.startswith("large: 5 of 8 verses have no vector in offline/")


def test_vectors_of_another_model_do_not_count_for_the_settings_now_in_force(
    database: Database, make_settings: MakeSettings
) -> None:
    load_version(database, "EN_TEST", sentences(5))
    embed_version(database, make_settings(), "EN_TEST", EmbedOptions(), "small", run_id="r")
    changed = make_settings(rag_embedding_small_dimensions=64)
    with database.connect() as connection:
        assert version_quality(connection, changed, "EN_TEST") == ()
    embed_version(database, changed, "EN_TEST", EmbedOptions(), "small", run_id="r")
    with database.connect() as connection:
        assert failing(judge(version_quality(connection, changed, "EN_TEST"))) == {}
