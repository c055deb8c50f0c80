"""What is judged of a version, in which of its spaces."""

from __future__ import annotations

from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.bible.quality import version_quality
from rag_assets.postgres.database import Database
from rag_assets.vectors.quality import QUALITY_CHECKS, QualityVerdict, judge_quality
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences


def failing(verdicts: tuple[QualityVerdict, ...]) -> dict[str, tuple[str, ...]]:
    return {verdict.check: verdict.failures for verdict in verdicts if verdict.failures}


def test_before_anything_is_embedded_every_check_fails(
    database: Database, make_settings: MakeSettings
) -> None:
    load_version(database, "EN_TEST", sentences(5))
    with database.connect() as connection:
        spaces = version_quality(connection, make_settings(), "EN_TEST")
    assert spaces == ()
    assert set(failing(judge_quality(spaces))) == set(QUALITY_CHECKS)


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
    assert failing(judge_quality(both)) == failing(judge_quality(small)) == {}


def test_a_version_half_filled_in_the_large_space_is_incomplete(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    load_version(database, "EN_TEST", sentences(8))
    embed_version(database, settings, "EN_TEST", EmbedOptions(), "small", run_id="r")
    embed_version(database, settings, "EN_TEST", EmbedOptions(limit=3), "large", run_id="r")
    with database.connect() as connection:
        found = failing(judge_quality(version_quality(connection, settings, "EN_TEST")))
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
        assert failing(judge_quality(version_quality(connection, changed, "EN_TEST"))) == {}
