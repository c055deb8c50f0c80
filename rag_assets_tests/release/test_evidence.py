"""The gate's evidence: rows, revisions, results, policy and the index, as they are now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.postgres.database import Database
from rag_assets.release.evidence import Evidence, VersionEvidence, gather_evidence
from rag_assets.release.releasing import roll_back
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.indexes import Probes
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.release.corpus import (
    LISTS,
    check,
    embed,
    index,
    judge,
    prepare,
    release_corpus,
    release_settings,
    tamper,
)


def evidence_of(database: Database, settings: Settings) -> Evidence:
    """The current evidence."""
    with database.connect() as connection:
        return gather_evidence(connection, settings)


def of_version(evidence: Evidence, code: str) -> VersionEvidence:
    """The evidence on one version."""
    (found,) = (version for version in evidence.versions if version.code == code)
    return found


def test_an_empty_corpus_has_no_evidence(database: Database, make_settings: MakeSettings) -> None:
    found = evidence_of(database, release_settings(make_settings))
    assert (found.versions, found.index, found.active) == ((), None, None)
    assert (found.spaces, found.tables, found.rolled_back) == ({}, {}, None)


def test_a_version_that_is_only_loaded_has_verses_and_no_vectors(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    load_version(database, "EN_NEW", sentences(3, word="new"))
    new = of_version(evidence_of(database, settings), "EN_NEW")
    assert (new.verses, new.withheld) == (3, "")
    assert (new.spaces["small"].rows, new.spaces["small"].revision) == (0, None)
    assert new.spaces["small"].results == {}


def test_a_result_includes_the_revision_that_was_checked(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    embed(database, settings, "EN_A", sentences(8))
    before = of_version(evidence_of(database, settings), "EN_A").spaces["small"]
    assert (before.rows, before.results) == (8, {})
    assert before.revision

    check(database, settings, "EN_A")
    after = of_version(evidence_of(database, settings), "EN_A").spaces["small"]
    assert set(after.results) == set(QUALITY_CHECKS)
    for found in after.results.values():
        assert found.passed
        assert found.revision == after.revision == before.revision
        assert found.run_id == "check"
    assert evidence_of(database, settings).at >= found.evaluated_at


@pytest.mark.parametrize("change", ["a text", "a verse more", "a verse less", "the vectors"])
def test_a_change_of_texts_or_vectors_gives_the_version_and_the_index_a_new_revision(
    database: Database, make_settings: MakeSettings, change: str
) -> None:
    settings = release_settings(make_settings)
    texts = sentences(8)
    prepare(database, settings, "EN_A", texts)
    prepare(database, settings, "EN_B")
    before = evidence_of(database, settings)
    if change == "a text":
        load_version(database, "EN_A", ["In another beginning", *texts[1:]])
    elif change == "a verse more":
        load_version(database, "EN_A", [*texts, "And one more"])
    elif change == "a verse less":
        load_version(database, "EN_A", texts[:-1])
    else:
        load_version(database, "EN_A", ["In another beginning", *texts[1:]])
        seen = evidence_of(database, settings)
        embed(database, settings, "EN_A")
        assert _revision(seen, "EN_A") < _revision(evidence_of(database, settings), "EN_A")
    after = evidence_of(database, settings)
    assert _revision(after, "EN_A") > _revision(before, "EN_A")
    assert _revision(after, "EN_B") == _revision(before, "EN_B")
    assert after.index is not None
    assert before.index is not None
    assert after.index.revision > before.index.revision
    results = of_version(after, "EN_A").spaces["small"].results.values()
    assert {result.revision for result in results} == {_revision(before, "EN_A")}


def _revision(evidence: Evidence, code: str) -> int:
    found = of_version(evidence, code).spaces["small"].revision
    assert found is not None
    return found


def test_loading_the_same_texts_again_makes_no_evidence_stale(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    texts = sentences(8)
    prepare(database, settings, "EN_A", texts)
    before = evidence_of(database, settings)
    load_version(database, "EN_A", texts)
    embed(database, settings, "EN_A")
    assert _revision(evidence_of(database, settings), "EN_A") == _revision(before, "EN_A")


@pytest.mark.parametrize(
    ("declared", "allowed", "withheld"),
    [
        ({"enabled_for_rag": False}, "", "enabled_for_rag is false"),
        ({"ai_allowed": False}, "", "ai_allowed is false"),
        ({}, "EN_B, EN_C", "RAG_ALLOWED_VERSIONS leaves it out"),
        ({}, "EN_A,EN_B", ""),
        ({"enabled_for_rag": False}, "EN_A", "enabled_for_rag is false"),
    ],
)
def test_policy_is_read_as_it_is_now(
    database: Database,
    make_settings: MakeSettings,
    declared: dict[str, bool],
    allowed: str,
    withheld: str,
) -> None:
    settings = release_settings(make_settings, rag_allowed_versions=allowed)
    texts = sentences(4)
    embed(database, settings, "EN_A", texts)
    load_version(database, "EN_A", texts, replace(ALLOWED, **declared))
    assert of_version(evidence_of(database, settings), "EN_A").withheld == withheld


def test_a_failed_check_includes_its_reason(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    embed(database, settings, "EN_A", sentences(4), roles=("small", "large"))
    tamper(database, settings, "EN_A", "large")
    check(database, settings, "EN_A")
    spaces = of_version(evidence_of(database, settings), "EN_A").spaces
    assert all(result.passed for result in spaces["small"].results.values())
    failed = spaces["large"].results["finite_and_normalised"]
    assert not failed.passed
    (sentence,) = failed.reasons
    assert sentence.startswith("1 vectors are not finite or not of norm 1 (GEN 1:1: norm 2.99")


@pytest.mark.slow
def test_the_index_evidence_has_the_results_of_the_decided_generation(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1)
    prepare(database, settings)
    judge(database, settings)
    first = evidence_of(database, settings).index
    assert first is not None
    assert first.generation is not None
    assert first.decision is not None
    assert (first.decision.action, first.decision.revision) == ("build", first.revision)
    assert first.probes == first.generation.probes
    assert set(first.results) == set(INDEX_CHECKS)

    outcome = index(database, settings, force=True)
    judge(database, settings)
    assert outcome.generation is not None
    second = evidence_of(database, settings).index
    assert second is not None
    assert second.generation is not None
    assert second.generation.number == outcome.generation.number > first.generation.number
    subjects = {result.subject for result in second.results.values()}
    assert subjects == {f"generation {outcome.generation.number}"}


@pytest.mark.slow
def test_probes_from_the_setting_are_those_that_a_search_would_use(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1)
    prepare(database, settings)
    tuned = evidence_of(database, settings).index
    assert tuned is not None
    assert tuned.probes is not None
    chosen = 1 if tuned.probes.plain > 1 else 2
    by_hand = release_settings(make_settings, rag_index_min_rows=1, pg_ivfflat_probes=chosen)
    found = evidence_of(database, by_hand).index
    assert found is not None
    assert found.probes == Probes(chosen, chosen, LISTS)
    assert {result.measured["probes"] for result in found.results.values()} == {tuned.probes.plain}
    judge(database, by_hand)
    found = evidence_of(database, by_hand).index
    assert found is not None
    assert {result.measured["probes"] for result in found.results.values()} == {chosen}


def test_an_index_dropped_by_another_client_is_reported_missing(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1)
    prepare(database, settings)
    with database.connect() as connection:
        connection.execute("DROP INDEX verse_embeddings_s1_ivf_g1")
    found = evidence_of(database, settings).index
    assert found is not None
    assert found.decision is not None
    assert (found.decision.generation, found.generation, found.probes) == (1, None, None)


def test_the_active_release_and_what_was_rolled_back_are_known(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    first = release_corpus(database, settings).release
    prepare(database, settings, "EN_B")
    second = release_corpus(database, settings).release
    roll_back(database)
    found = evidence_of(database, settings)
    assert found.active is not None
    assert found.active.release_id == first.release_id
    assert found.rolled_back == second.release_id


def test_a_space_that_the_settings_do_not_name_is_no_evidence(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    other = release_settings(make_settings, rag_embedding_small_dimensions=80)
    found = evidence_of(database, other)
    assert (found.index, dict(found.tables)) == (None, {})
    assert of_version(found, "EN_A").spaces == {}
