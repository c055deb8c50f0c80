"""Maintaining one index: what is decided, recorded and dropped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rag_assets.errors import IndexBuildError
from rag_assets.index.maintain import IndexRequest
from rag_assets.index.policy import IndexAction
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import EXACT_SUBJECT, RecordedDecision, index_subject
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.tables import VectorTable, bible_table, revision
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version
from rag_assets_tests.index.corpus import (
    Heard,
    clustered,
    fill,
    filled_table,
    generation_states,
    index_names,
    index_settings,
    maintained,
    republish,
    texts_of,
)
from rag_assets_tests.vectors.vectors import space_of

ROWS = 1200


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    return filled_table(database, settings, {"EN_A": ROWS})


def decided(database: Database, table: VectorTable) -> RecordedDecision:
    with database.connect() as connection:
        found = generations.last_decision(connection, table)
    assert found is not None
    return found


def now(database: Database, table: VectorTable) -> int:
    with database.connect() as connection:
        return revision(connection, table).number


def test_below_the_minimum_rows_exact_search_serves_and_says_why(
    database: Database, make_settings: MakeSettings, table: VectorTable
) -> None:
    settings = index_settings(make_settings, rag_index_min_rows=ROWS + 1)
    heard = Heard()
    outcome = maintained(database, settings, table, progress=heard)
    reason = "1,200 rows are fewer than 1,201: exact search serves"
    assert outcome.decision.action is IndexAction.EXACT
    assert outcome.decision.reasons == (reason,)
    assert (outcome.rows, outcome.generation, outcome.tuning) == (ROWS, None, None)
    found = decided(database, table)
    assert (found.action, found.generation, found.reasons) == ("exact", None, (reason,))
    assert (found.rows, found.revision) == (ROWS, now(database, table))
    assert heard.lines == [f"{table}: exact because {reason}"]
    with database.connect() as connection:
        assert generation_states(connection) == []


@pytest.mark.parametrize("force", [False, True])
def test_an_empty_table_is_searched_exactly_whatever_is_requested(
    database: Database, make_settings: MakeSettings, force: bool
) -> None:
    settings = index_settings(make_settings, rag_index_min_rows=0)
    table = bible_table(space_of(database, settings))
    outcome = maintained(database, settings, table, force=force)
    assert outcome.decision.action is IndexAction.EXACT
    assert decided(database, table).action == "exact"


def test_a_first_build_is_recorded_with_the_revision_it_saw(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.BUILD
    assert outcome.decision.reasons == ("first build",)
    assert outcome.generation is not None
    assert (outcome.generation.lists, outcome.generation.lists_from) == (64, "profile")
    assert outcome.generation.probes is not None
    assert (outcome.leftovers, outcome.dropped) == ((), ())
    found = decided(database, table)
    assert (found.action, found.generation, found.rows) == ("build", 1, ROWS)
    assert found.revision == now(database, table)


def test_a_suitable_index_is_kept_and_the_decision_records_the_new_revision(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    first = maintained(database, settings, table)
    before = decided(database, table)
    republish(database, table.space, "EN_A", texts_of("EN_A", ROWS)[:240], clustered(240, seed=7))
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.KEEP
    assert outcome.decision.reasons == (
        "20.0% of the rows changed since the build (limit 20%), lists 64 suit 1,200 rows",
    )
    assert outcome.generation == first.generation
    assert outcome.tuning is None
    found = decided(database, table)
    assert (found.action, found.generation, found.rows) == ("keep", 1, ROWS)
    assert found.revision == now(database, table) > before.revision
    with database.connect() as connection:
        assert generation_states(connection) == [(1, "ready")]


def test_rewritten_vectors_count_as_changed_without_new_rows(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    for seed in (7, 8):  # the same rows twice: each write is a change since the build
        republish(
            database, table.space, "EN_A", texts_of("EN_A", ROWS)[:121], clustered(121, seed=seed)
        )
    outcome = maintained(database, settings, table)
    assert outcome.rows == ROWS
    assert outcome.decision.action is IndexAction.BUILD
    assert outcome.decision.reasons == (
        "242 rows changed since the build on 1,200, more than the limit of 20%",
    )
    assert outcome.dropped == (1,)
    with database.connect() as connection:
        assert generation_states(connection) == [(1, "dropped"), (2, "ready")]
        assert index_names(connection) == ["verse_embeddings_s1_ivf_g2"]


def test_growth_calls_for_another_build(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    fill(database, table.space, "EN_B", clustered(600, seed=7))
    outcome = maintained(database, settings, table)
    assert outcome.decision.reasons == (
        "600 rows changed since the build on 1,200, more than the limit of 20%",
    )
    assert outcome.generation is not None
    assert (outcome.generation.rows_at_build, outcome.generation.changed_at_build) == (1800, 1800)
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP


def test_deleted_verses_count_as_changed(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    fill(database, table.space, "EN_B", clustered(400, seed=7))
    maintained(database, settings, table)
    load_version(database, "EN_B", texts_of("EN_B", 400)[:79])
    outcome = maintained(database, settings, table)
    assert outcome.rows == ROWS + 79
    assert outcome.decision.reasons == (
        "321 rows changed since the build on 1,600, more than the limit of 20%",
    )


def test_a_table_that_shrank_below_the_minimum_rows_loses_its_index(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    load_version(database, "EN_A", texts_of("EN_A", 900))
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.EXACT
    assert outcome.dropped == (1,)
    assert decided(database, table).generation is None


def record(
    database: Database,
    table: VectorTable,
    check: str,
    reasons: Sequence[str],
    generation: int,
    *,
    more_probes: int = 0,
    lost: Sequence[str] = (),
) -> None:
    """Evidence as the checks record it, for the generation's tuned probes.

    :param lost: golden queries, of which one may be lost.
    """
    with database.connect() as connection:
        made = generations.ready_generations(connection, table)[-1]
        assert made.probes is not None
        record_check(
            connection,
            table,
            subject=index_subject(generation),
            check=check,
            reasons=tuple(reasons),
            measured={
                "probes": made.probes.plain + more_probes,
                "lost_max": 1,
                "classes": {"golden_queries": {"lost": list(lost)}},
            },
            revision=1,
            run_id="check",
        )


@pytest.mark.parametrize(
    ("check", "lost", "reason"),
    [
        ("recall_at_10", (), "the recall check failed"),
        ("filtered_recall_at_10", (), "the recall check failed"),
        ("retrieval_latency_slo", (), "the latency check failed"),
        ("golden_queries", ("one", "two"), "queries that exact search answers were lost"),
    ],
)
def test_failed_evidence_causes_another_build_which_is_judged_again(
    database: Database,
    settings: Settings,
    table: VectorTable,
    check: str,
    lost: Sequence[str],
    reason: str,
) -> None:
    maintained(database, settings, table)
    for name in ("recall_at_10", "filtered_recall_at_10", "retrieval_latency_slo"):
        record(database, table, name, (), 1)
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP
    record(database, table, check, ("too low",), 1, lost=lost)
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.BUILD
    assert outcome.decision.reasons == (reason,)
    again = maintained(database, settings, table)
    assert again.decision.action is IndexAction.KEEP, "that evidence was the old generation's"


def test_evidence_for_other_probes_does_not_count_against_the_index(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    """As if an operator were trying out PG_IVFFLAT_PROBES."""
    maintained(database, settings, table)
    record(database, table, "recall_at_10", ("too low",), 1, more_probes=1)
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP


@pytest.mark.parametrize(
    ("check", "lost"),
    [("index_valid_and_used", ()), ("golden_queries", ()), ("golden_queries", ("one",))],
)
def test_failures_that_no_build_would_fix_cause_none(
    database: Database, settings: Settings, table: VectorTable, check: str, lost: Sequence[str]
) -> None:
    maintained(database, settings, table)
    record(database, table, check, ("wrong",), 1, lost=lost)
    record(database, table, "recall_at_10", ("of another generation",), 77)
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP


def test_the_profile_does_not_override_requested_lists(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    asked = maintained(database, settings, table, lists=7)
    assert asked.decision.reasons == ("asked for 7 lists",)
    assert asked.generation is not None
    assert asked.generation.lists_from == "asked"
    kept = maintained(database, settings, table)
    assert kept.decision.action is IndexAction.KEEP
    assert kept.generation == asked.generation


def test_forcing_builds_what_the_policy_would_keep(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    outcome = maintained(database, settings, table, force=True)
    assert outcome.decision.reasons == ("forced",)
    assert outcome.generation is not None
    assert (outcome.generation.number, outcome.generation.lists_from) == (2, "profile")


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        (IndexRequest(), None),
        (IndexRequest(force=True), "forced"),
        (IndexRequest(lists=9), "asked for 9 lists"),
        (IndexRequest(lists=9, force=True), "asked for 9 lists"),
        (IndexRequest(precision="halfvec"), "asked for precision halfvec"),
        (IndexRequest(lists_candidates=(8, 9)), "asked for the best of 8, 9 lists"),
        (IndexRequest(maintenance_work_mem="1GB"), None),
    ],
)
def test_a_request_is_described_in_words(request_: IndexRequest, asked: str | None) -> None:
    assert request_.build_reason == asked


def test_an_index_dropped_by_another_client_is_built_again(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP INDEX verse_embeddings_s1_ivf_g1")
    outcome = maintained(database, settings, table)
    assert outcome.decision.reasons == ("first build",)
    assert outcome.generation is not None
    assert outcome.generation.number == 2


def test_an_index_whose_tuning_was_interrupted_is_no_candidate_and_is_dropped(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE index_generations SET probes = NULL, filtered_probes = NULL, max_probes = NULL"
        )
    outcome = maintained(database, settings, table)
    assert outcome.decision.reasons == ("first build",)
    assert outcome.dropped == (1,)


def release(
    database: Database, state: str, generation: int | None, previous: int | None = None
) -> int:
    with database.connect() as connection:
        row = connection.execute(
            "INSERT INTO releases (state, versions, reasons, manifest, previous_id, code_version,"
            " run_id) VALUES (%s, '{EN_A}', '{}', '{}', %s, 'test', 'run') RETURNING release_id",
            (state, previous),
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO release_spaces (release_id, corpus, role, space_id, generation)"
            " VALUES (%s, 'bible', 'small', 1, %s)",
            (row[0], generation),
        )
    return int(row[0])


def test_generations_that_releases_need_are_kept_and_others_dropped(
    database: Database, make_settings: MakeSettings, table: VectorTable
) -> None:
    settings = index_settings(make_settings, rag_releases_kept=1)
    previous = None
    for number in (1, 2, 3):
        outcome = maintained(database, settings, table, lists=8)
        assert outcome.generation is not None
        assert outcome.generation.number == number
        with database.connect() as connection:
            connection.execute("UPDATE releases SET state = 'superseded' WHERE state = 'active'")
        previous = release(database, "active", number, previous)
    assert maintained(database, settings, table).dropped == (1,), "one before the active is kept"
    outcome = maintained(database, settings, table, lists=8)
    assert outcome.dropped == ()
    with database.connect() as connection:
        assert generation_states(connection) == [
            (1, "dropped"), (2, "ready"), (3, "ready"), (4, "ready")
        ]  # fmt: skip
    outcome = maintained(database, settings, table, lists=8)
    assert outcome.dropped == (4,), "built, never released, and no longer the next"
    with database.connect() as connection:
        assert index_names(connection) == [
            f"verse_embeddings_s1_ivf_g{number}" for number in (2, 3, 5)
        ]


def test_a_failed_build_keeps_the_last_decision_and_its_index(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    before = decided(database, table)
    with pytest.raises(IndexBuildError):
        maintained(database, settings, table, lists=30_000)
    assert decided(database, table) == before
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP


def test_a_candidate_that_cannot_be_built_leaves_no_other_candidates_behind(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    """An incomplete comparison has no winner: what served before serves next."""
    first = maintained(database, settings, table)
    with pytest.raises(IndexBuildError):
        maintained(database, settings, table, lists_candidates=(8, 30_000))
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.KEEP
    assert outcome.generation == first.generation
    with database.connect() as connection:
        assert index_names(connection) == ["verse_embeddings_s1_ivf_g1"]


def test_the_subject_of_a_check_names_its_generation() -> None:
    assert (index_subject(7), index_subject(None)) == ("generation 7", EXACT_SUBJECT)


def test_versions_that_may_not_be_served_are_indexed_but_not_tuned_for(
    database: Database, settings: Settings
) -> None:
    space = space_of(database, settings)
    fill(database, space, "EN_A", clustered(900))
    fill(database, space, "EN_X", clustered(900, seed=2), enabled=False)
    outcome = maintained(database, settings, bible_table(space))
    assert outcome.rows == 1800
    assert outcome.tuning is not None
    assert set(outcome.tuning.curves) == {"everything"}
