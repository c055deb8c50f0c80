"""The documents' index: decided on, built, tuned and checked by the same code as the verses'."""

from __future__ import annotations

import pytest

from rag_assets.index.cases import EVERYTHING, cases_of
from rag_assets.index.checks import CHUNK_INDEX_CHECKS, INDEX_CHECKS, IndexVerdict, judge_index
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.maintain import IndexRequest
from rag_assets.index.policy import IndexAction
from rag_assets.index.sql import generations
from rag_assets.index.sql.builds import builds_in_progress
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import check_results
from rag_assets.vectors.sql.spaces import Space, SpaceSpec
from rag_assets.vectors.sql.tables import VectorTable, bible_table, documents_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.corpus import filled_documents
from rag_assets_tests.index.corpus import (
    filled_table,
    index_names,
    index_settings,
    maintained,
)
from rag_assets_tests.vectors.vectors import space_of

pytestmark = pytest.mark.long

LANGUAGES = {"en": 1500, "pt": 600}
NAME = "chunk_embeddings_s1_ivf_g1"
SPACE = Space(1, "small", SpaceSpec("offline", "m", 64, "halfvec"), 0.0)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    return filled_documents(database, settings, LANGUAGES)


def judged(database: Database, settings: Settings, table: VectorTable) -> dict[str, IndexVerdict]:
    verdicts = judge_index(
        database, settings, table, tuple(INDEX_CHECKS), run_id="check", progress=Silent()
    )
    return {verdict.check: verdict for verdict in verdicts}


def test_an_index_is_built_tuned_and_passes_every_check_but_golden_queries(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table, lists=16)
    assert (outcome.decision.action, outcome.rows) == (IndexAction.BUILD, 2100)
    assert outcome.tuning is not None
    assert set(outcome.tuning.curves) == {
        EVERYTHING,
        "smallest language (pt)",
        "largest language (en)",
    }
    with database.connect() as connection:
        assert index_names(connection) == [NAME]
        assert builds_in_progress(connection) == 0
    verdicts = judged(database, settings, table)
    assert set(verdicts) == set(CHUNK_INDEX_CHECKS)
    assert {name: verdict.failures for name, verdict in verdicts.items()} == dict.fromkeys(
        CHUNK_INDEX_CHECKS, ()
    )
    with database.connect() as connection:
        results = {one.check: one for one in check_results(connection, table)}
    assert set(results) == set(CHUNK_INDEX_CHECKS)
    facts = results["recall_at_10"].measured
    assert (facts["languages"], facts["rows"], facts["lists"]) == (["en", "pt"], 2100, 16)
    plans = results["index_valid_and_used"].measured["plans"]
    assert isinstance(plans, dict)
    of_texts = {"document_chunks_pkey", "documents_pkey"}
    assert {mode: set(names) - of_texts for mode, names in plans[EVERYTHING].items()} == {
        "custom": {NAME},
        "generic": {NAME},
    }
    latency = results["retrieval_latency_slo"].measured["latency"]
    assert isinstance(latency, dict)
    assert set(latency) == {
        f"{name}, concurrency {count}" for name in (EVERYTHING, "language en") for count in (1, 8)
    }


def test_new_documents_use_the_index_until_too_many_were_added(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    first = maintained(database, settings, table, lists=16)
    assert first.generation is not None
    with database.connect() as connection:
        (before,) = generations.ready_generations(connection, table)
    filled_documents(database, settings, {"fr": 300})
    kept = maintained(database, settings, table)
    assert (kept.decision.action, kept.rows) == (IndexAction.KEEP, 2400)
    assert kept.generation == before
    verdicts = judged(database, settings, table)
    assert verdicts["index_valid_and_used"].failures == ()
    filled_documents(database, settings, {"de": 300})
    again = maintained(database, settings, table)
    assert again.decision.action is IndexAction.BUILD
    assert "rows changed since the build" in again.decision.reasons[0]


def test_a_missing_index_is_reported_with_a_fix(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    (failures,) = {one.failures for one in judged(database, settings, table).values()}
    assert failures == ("no decision on this index yet: materialize chunk_embeddings_index",)
    maintained(database, settings, table, lists=16)
    with database.connect(autocommit=True) as connection:
        connection.execute(f"DROP INDEX {NAME}")
    for verdict in judged(database, settings, table).values():
        assert verdict.failures == (
            "the index of generation 1 is gone or invalid: materialize chunk_embeddings_index",
        )


def test_few_documents_are_searched_exactly_and_pass(
    database: Database, settings: Settings
) -> None:
    table = filled_documents(database, settings, {"en": 30})
    assert maintained(database, settings, table).decision.action is IndexAction.EXACT
    verdicts = judged(database, settings, table)
    assert {verdict.subject for verdict in verdicts.values()} == {"exact"}
    assert [one.check for one in verdicts.values() if one.failures] == []
    assert verdicts["index_valid_and_used"].measured["plan"] == "exact"


def test_without_documents_there_is_nothing_to_fail(database: Database, settings: Settings) -> None:
    table = documents_table(space_of(database, settings))
    assert maintained(database, settings, table).decision.action is IndexAction.EXACT
    verdicts = judged(database, settings, table)
    assert set(verdicts) == set(CHUNK_INDEX_CHECKS)
    assert [one.check for one in verdicts.values() if one.failures] == []


def test_each_corpus_has_its_own_index(database: Database, settings: Settings) -> None:
    verses = filled_table(database, settings, {"EN_A": 1100})
    chunks = filled_documents(database, settings, {"en": 1100})
    maintained(database, settings, verses, lists=8)
    maintained(database, settings, chunks, lists=8)
    with database.connect() as connection:
        assert index_names(connection) == [
            "chunk_embeddings_s1_ivf_g2",
            "verse_embeddings_s1_ivf_g1",
        ]
        assert [made.number for made in generations.ready_generations(connection, verses)] == [1]
        assert [made.number for made in generations.ready_generations(connection, chunks)] == [2]
    maintained(database, settings, verses, force=True)
    with database.connect() as connection:
        assert [made.number for made in generations.ready_generations(connection, chunks)] == [2]


def test_documents_tables_are_maintained_once_there_are_documents(
    database: Database, settings: Settings
) -> None:
    with database.connect() as connection:
        assert indexed_tables(connection, settings, "documents") == ()
    space = space_of(database, settings)
    verses, chunks = bible_table(space), documents_table(space)
    with database.connect() as connection:
        assert indexed_tables(connection, settings) == (verses,)
        assert indexed_tables(connection, settings, "bible") == (verses,)
        assert indexed_tables(connection, settings, "documents") == (chunks,)
    filled_documents(database, settings, {"en": 10})
    with database.connect() as connection:
        found = indexed_tables(connection, settings)
    assert [(table.corpus, table.name) for table in found] == [
        ("bible", "verse_embeddings_s1"),
        ("documents", "chunk_embeddings_s1"),
    ]


@pytest.mark.parametrize(
    ("rows", "cases"),
    [
        ({}, {}),
        ({"en": 5}, {}),
        (
            {"en": 5, "pt": 7, "de": 5},
            {"smallest language (de)": ("de",), "largest language (pt)": ("pt",)},
        ),
    ],
)
def test_documents_are_measured_with_filters_by_language(
    rows: dict[str, int], cases: dict[str, tuple[str, ...]]
) -> None:
    assert cases_of(documents_table(SPACE), rows, {}) == cases


def test_an_explicit_request_is_built_immediately(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table, lists_candidates=(8, 16))
    assert outcome.generation is not None
    assert outcome.generation.lists in (8, 16)
    assert IndexRequest(lists_candidates=(8, 16)).build_reason in outcome.decision.reasons
