"""The gate reports texts and vectors that other clients changed, and says what to do."""

from __future__ import annotations

import numpy as np
import pytest

from rag_assets.bible.embed_verses import VERIFIED_SAMPLE
from rag_assets.bible.sql.verses import remove_version
from rag_assets.errors import GateRefusedError
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import Database, one
from rag_assets.release.releasing import evaluate_gate
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.release.corpus import (
    active_number,
    check,
    embed,
    index,
    prepare,
    release_corpus,
    release_settings,
)
from rag_assets_tests.vectors.other_clients import run, small, unverified
from rag_assets_tests.vectors.vectors import space_of

RANDOM = """
    UPDATE verse_embeddings_s1 SET embedding = l2_normalize(
        (SELECT array_agg(random() - 0.5) FROM generate_series(1, 64 + 0 * verse_id))::vector(64)
    )::halfvec WHERE verse_id % 100 < 96
"""
"""Most of a version's vectors overwritten with random ones of length 1."""


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return release_settings(make_settings)


def reasons(database: Database, settings: Settings) -> list[str]:
    with database.connect() as connection:
        _, verdict = evaluate_gate(connection, settings)
    return [str(reason) for reason in verdict.reasons]


def paid(database: Database) -> int:
    with database.connect() as connection:
        (inputs,) = one(connection.execute("SELECT sum(inputs)::int FROM embedding_ledger"))
    return int(inputs)


def assert_right(database: Database, settings: Settings, code: str) -> None:
    """Every verse of the version has the vector that the embedder gives its text."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT v.text, e.embedding::real[] FROM verses v"
            " LEFT JOIN verse_embeddings_s1 e USING (verse_id) WHERE v.version_code = %s",
            (code,),
        ).fetchall()
    given = embed_queries(settings, space_of(database, settings).spec, [row[0] for row in rows])
    stored = np.array([row[1] for row in rows])
    assert np.sum(stored * given, axis=1).min() > 0.999


def test_77_deleted_vectors_are_named_and_nothing_is_released(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(120))
    before = release_corpus(database, settings).release
    removed = run(
        database,
        "DELETE FROM verse_embeddings_s1 WHERE verse_id IN"
        " (SELECT verse_id FROM verses ORDER BY verse_id LIMIT 77)",
    )
    assert removed == 77
    found = reasons(database, settings)
    assert (
        "EN_A: completeness: small: 77 of 120 verses have no vector in "
        "offline/lexical-char-ngrams-v1 halfvec(64) (GEN 1:1: no vector; GEN 1:2: no vector; "
        "GEN 1:3: no vector; GEN 1:4: no vector; GEN 1:5: no vector; …)"
    ) in found
    with pytest.raises(GateRefusedError):
        release_corpus(database, settings)
    assert active_number(database) == before.release_id

    embed(database, settings, "EN_A")
    check(database, settings, "EN_A")
    index(database, settings)
    release_corpus(database, settings)


def test_vectors_deleted_without_a_trigger_are_detected_by_their_count(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(20))
    run(
        database,
        "SET session_replication_role = replica;"
        "DELETE FROM verse_embeddings_s1 WHERE verse_id = (SELECT max(verse_id) FROM verses)",
    )
    (reason,) = reasons(database, settings)
    assert "1 of 20 verses have no vector" in reason
    assert "GEN 1:20" in reason


def test_672_random_vectors_are_refused_until_a_run_has_replaced_them(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(700))
    release_corpus(database, settings)
    assert run(database, RANDOM) == 672
    check(database, settings, "EN_A")  # which finds nothing wrong with them
    index(database, settings)
    (reason,) = reasons(database, settings)
    assert reason.startswith(
        "EN_A: provenance: small: 672 vectors were not written by an embedding run (GEN "
    )
    (finding,) = (f for f in diagnose(survey(settings), settings) if f.area == "provenance")
    assert finding.evidence == "EN_A: 672 vectors not written by an embedding run"
    assert finding.command == "`rag-assets bible embed EN_A`"

    before = paid(database)
    embed(database, settings, "EN_A")
    assert paid(database) - before == 672, "the sample's answers serve to replace, too"
    assert unverified(database, small(database, settings)) == {}
    assert_right(database, settings, "EN_A")
    check(database, settings, "EN_A")
    index(database, settings)
    assert reasons(database, settings) == []


def test_correct_vectors_of_another_client_are_accepted_if_a_sample_agrees(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(300))
    release_corpus(database, settings)
    run(
        database,
        "CREATE TABLE copied AS SELECT * FROM verse_embeddings_s1;"
        "TRUNCATE verse_embeddings_s1;"
        "INSERT INTO verse_embeddings_s1 SELECT * FROM copied",
    )
    table = small(database, settings)
    assert unverified(database, table) == {"EN_A": 300}
    before = paid(database)
    embed(database, settings, "EN_A")
    assert paid(database) - before == VERIFIED_SAMPLE
    assert unverified(database, table) == {}
    with database.connect() as connection:
        kept = one(
            connection.execute(
                "SELECT count(*) FROM verse_embeddings_s1 e JOIN copied c USING (verse_id)"
                " WHERE e.created_at = c.created_at"
            )
        )
        left = one(connection.execute("SELECT count(*) FROM answered_texts_s1"))
    assert kept == (300 - VERIFIED_SAMPLE,)
    assert left == (0,)
    check(database, settings, "EN_A")
    index(database, settings)
    assert reasons(database, settings) == []


def test_a_mark_cannot_be_cleared_by_hand(database: Database, settings: Settings) -> None:
    embed(database, settings, "EN_A", sentences(20))
    table = small(database, settings)
    run(database, RANDOM)
    run(database, "UPDATE verse_embeddings_s1 SET unverified = false")
    assert unverified(database, table) == {"EN_A": 20}


def test_unverified_vectors_are_not_reused_for_the_same_text(
    database: Database, settings: Settings
) -> None:
    embed(database, settings, "EN_A", sentences(20))
    run(database, RANDOM.replace("< 96", "< 100"))
    before = paid(database)
    embed(database, settings, "EN_B", sentences(20))
    assert paid(database) - before == 20
    assert_right(database, settings, "EN_B")

    run(database, "DELETE FROM verses WHERE version_code = 'EN_A'")
    with database.connect() as connection:
        remove_version(connection, "EN_B")
        assert one(connection.execute("SELECT count(*) FROM answered_texts_s1")) == (0,)


def test_changing_a_text_without_its_hash_makes_its_vector_stale(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(20))
    run(database, "UPDATE verses SET text = 'Something else.' WHERE verse = 3")
    found = reasons(database, settings)
    assert any(
        "freshness: small: 1 vectors belong to an earlier text" in reason and "GEN 1:3" in reason
        for reason in found
    )


def test_evidence_from_before_a_change_does_not_count_after_it(
    database: Database, settings: Settings
) -> None:
    """An uncommitted change is in no evidence, whatever the order of commits."""
    prepare(database, settings, "EN_A", sentences(20))
    with database.connect() as late:
        late.execute("UPDATE verse_embeddings_s1 SET embedding = embedding WHERE verse_id = 1")
        load_version(database, "EN_B", sentences(5, word="brook"))
        check(database, settings, "EN_A")
        index(database, settings)
    assert any("the data changed since it was checked" in r for r in reasons(database, settings))
