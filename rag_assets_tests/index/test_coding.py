"""Codes in the maintenance of an index: chosen, filled, measured, indexed, rejected."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.index.checks import INDEX_CHECKS, judge_index
from rag_assets.index.maintain import IndexOutcome
from rag_assets.index.measuring import Bench
from rag_assets.index.policy import IndexAction
from rag_assets.index.questions import ask, held_out_queries
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import index_subject
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.plan import Codes, Target, choose_plan
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import EXACT
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    Heard,
    clustered,
    fill,
    filled_table,
    index_names,
    index_settings,
    maintained,
    republish,
    texts_of,
)
from rag_assets_tests.vectors.vectors import space_of

VERSIONS = {"EN_A": 1500, "PT_B": 700}


def coded_settings(make_settings: MakeSettings, **overrides: object) -> Settings:
    """As :func:`index_settings`, with codes chosen by measurement."""
    values: dict[str, object] = {"rag_code_bits": None, "rag_index_min_rows": 100_000}
    return index_settings(make_settings, **(values | overrides))


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return coded_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    return filled_table(database, settings, VERSIONS, languages={"PT_B": "pt"})


def target(table: VectorTable, outcome: IndexOutcome) -> Target:
    assert outcome.codes is not None
    made = outcome.generation
    use = made.codes if made else outcome.codes.use
    assert use is not None
    codes = Codes(outcome.codes.code_set, use)
    if made is None:
        return Target(table, VERSIONS, None, "halfvec", None, codes)
    return Target(table, VERSIONS, made.number, made.precision, made.probes, codes)


def recall_of(database: Database, table: VectorTable, outcome: IndexOutcome) -> float:
    """Recall of searches over everything by their plan, with queries not used in tuning."""
    plan = choose_plan(target(table, outcome), VERSIONS, exact_rows=0)
    scopes, shares = list(VERSIONS), []
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for query in held_out_queries(connection, table, 200, seed=77):
            exact = nearest(connection, table, EXACT, query, top_k=10, scopes=scopes)
            found = nearest(connection, table, plan, query, top_k=10, scopes=scopes)
            shares.append(len(set(exact) & set(found)) / 10)
    return float(np.mean(shares))


def missed_floor(count: int, dimensions: int) -> NDArray[np.float32]:
    """Two tight clusters, far too narrow for signs to differ within one."""
    draw = np.random.default_rng(4)
    sides = np.sign(draw.normal(size=(count, 1)))
    rows = sides + 0.05 * draw.normal(size=(count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_scan_of_the_codes_serves_without_an_index(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.CODES
    assert outcome.generation is None
    assert outcome.codes is not None
    assert outcome.codes.recall >= 0.98
    assert recall_of(database, table, outcome) >= 0.97
    with database.connect() as connection:
        decision = generations.last_decision(connection, table)
        assert code_sets.count_uncoded(connection, table, outcome.codes.code_set) == 0
        assert index_names(connection) == []
    assert decision is not None
    assert (decision.action, decision.codes) == ("codes", outcome.codes.use)


def test_a_filter_that_excludes_near_rows_takes_more_candidates(
    database: Database, settings: Settings
) -> None:
    """Two distant languages: to a query in one, all rows in the other are about equally far."""
    space = space_of(database, settings)
    fill(database, space, "EN_A", clustered(2000, clusters=200, spread=0.1))
    fill(database, space, "PT_B", clustered(2000, clusters=200, spread=0.1, place=2), language="pt")
    table = bible_table(space)
    outcome = maintained(database, settings, table)
    assert outcome.codes is not None
    use = outcome.codes.use
    assert use.filtered > use.candidates
    assert set(outcome.codes.record["curves"]) >= {"everything", "largest version (PT_B)"}
    verdicts = judge_index(
        database, settings, table, list(INDEX_CHECKS), run_id="check", progress=Silent()
    )
    failures = {one.check: one.failures for one in verdicts if one.failures}
    assert failures == {}
    with database.connect() as connection:
        (ready,) = code_sets.code_sets(connection, table)
    with database.connect(autocommit=True) as connection:
        queries = held_out_queries(connection, table, 100, seed=9)
        questions = ask(connection, table, queries, [["EN_A"], ["PT_B"], ["EN_A", "PT_B"]])
        prepare_connection(connection)
        asked = {"everything": ["EN_A", "PT_B"], "pt": ["PT_B"]}
        scopes = {"EN_A": 2000, "PT_B": 2000}
        bench = Bench(connection, table, questions, asked, scopes, codes=Codes(ready, use))
        few, enough = bench.recall_by_candidates("pt", (use.candidates, use.filtered), limit=100)
    assert few < 0.98, "or nothing was gained"
    assert enough > few
    assert enough >= 0.95


def test_one_version_takes_the_candidates_that_one_version_needs(
    database: Database, settings: Settings
) -> None:
    """A language of several versions passes more rows that are equally far from such a query."""
    space = space_of(database, settings)
    for place, (code, language) in enumerate(
        (("EN_A", "en"), ("EN_B", "en"), *((f"PT_{letter}", "pt") for letter in "CDEF"))
    ):
        vectors = clustered(1200, clusters=100, spread=0.2, place=2 if language == "pt" else place)
        fill(database, space, code, vectors, language=language)
    outcome = maintained(database, settings, bible_table(space))
    assert outcome.codes is not None
    use, curves = outcome.codes.use, outcome.codes.record["curves"]
    needed = {
        name: next(int(many) for many, found in curve.items() if found >= 0.98 or many == "3200")
        for name, curve in curves.items()
    }
    versions = [many for name, many in needed.items() if "version" in name]
    assert use.one_scope == max(versions)
    assert use.filtered == max(needed.values())
    assert use.one_scope < use.filtered
    with database.connect() as connection:
        decision = generations.last_decision(connection, bible_table(space))
    assert decision is not None
    assert decision.codes == use


def test_a_measurement_is_valid_until_enough_rows_change(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    heard = Heard()
    republish(database, table.space, "EN_A", texts_of("EN_A", 300), clustered(300, seed=7))
    maintained(database, settings, table, progress=heard)
    assert not any("nearest" in line for line in heard.lines)
    republish(database, table.space, "EN_A", texts_of("EN_A", 300), clustered(300, seed=8))
    maintained(database, settings, table, progress=heard)
    assert any("nearest" in line for line in heard.lines)


def test_after_a_failed_recall_check_the_scan_is_measured_again(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table)
    assert outcome.codes is not None
    with database.connect() as connection:
        record_check(
            connection,
            table,
            subject=index_subject(None, outcome.codes.use),
            check="recall_at_10",
            reasons=["under the floor"],
            measured={},
            revision=1,
            run_id="check",
        )
    heard = Heard()
    maintained(database, settings, table, progress=heard)
    assert any("nearest" in line for line in heard.lines)


def test_a_requested_index_holds_the_codes_under_its_generation(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table, lists=16)
    assert outcome.decision.action is IndexAction.BUILD
    made = outcome.generation
    assert made is not None
    assert outcome.codes is not None
    assert made.codes is not None
    assert made.codes.code_set == outcome.codes.code_set.number
    with database.connect() as connection:
        assert index_names(connection) == [f"{outcome.codes.code_set.name}_ivf_g{made.number}"]
    assert recall_of(database, table, outcome) >= 0.94


def test_under_a_filter_probes_are_tried_from_the_unfiltered_number_to_twice_as_many(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    """If twice as many probes miss the floor, the candidates are at fault: the scan answers."""
    outcome = maintained(database, settings, table, lists=16)
    made, coded = outcome.generation, outcome.codes
    assert made is not None
    assert coded is not None
    assert made.codes is not None
    asked = {"everything": list(VERSIONS), "en": ["EN_A"]}
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        queries = held_out_queries(connection, table, 40, seed=9)
        bench = Bench(
            connection,
            table,
            ask(connection, table, queries, asked.values()),
            asked,
            VERSIONS,
            made,
            Codes(coded.code_set, made.codes),
            heard := Heard(),
        )
        found = bench.min_filtered_probes_beside_scan("en", 4, 0.0, slowest_ms=math.inf)
        assert found is not None
        assert [point.probes for point in found[1]] == [4]
        heard.lines.clear()
        assert bench.min_filtered_probes_beside_scan("en", 4, 1.1, slowest_ms=math.inf) is None
        tried = [int(re.findall(r"iterative, (\d+) of 16", line)[0]) for line in heard.lines]
        assert tried == [4, 4, 6, 8], "a glance, then each number"
        heard.lines.clear()
        assert bench.min_filtered_probes_beside_scan("en", 4, 0.0, slowest_ms=0.0) is None
        assert len(heard.lines) == 1, "a glance shows that it is too slow"


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_an_index_is_built_once_a_scan_is_too_slow(
    database: Database,
    make_settings: MakeSettings,
    table: VectorTable,
    monkeypatch: pytest.MonkeyPatch,
    concurrency: int,
) -> None:
    settings = coded_settings(make_settings, rag_index_min_rows=1, rag_slo_concurrency=concurrency)

    def allow(ms: float) -> None:
        monkeypatch.setattr("rag_assets.index.policy.SCAN_P95_MS", ms)
        monkeypatch.setattr("rag_assets.index.maintain.SCAN_P95_MS", ms)

    allow(60_000.0)
    assert maintained(database, settings, table).decision.action is IndexAction.CODES
    allow(0.001)  # one search on each connection is enough
    outcome = maintained(database, settings, table)
    assert outcome.decision.action is IndexAction.BUILD
    assert "P95" in outcome.decision.reasons[0]
    assert maintained(database, settings, table).decision.action is IndexAction.KEEP


def test_vectors_whose_codes_miss_the_floor_keep_an_index_over_vectors(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = coded_settings(
        make_settings,
        rag_index_min_rows=1,
        rag_index_lists=8,
        rag_embedding_small_dimensions=16,
    )
    space = space_of(database, settings)
    fill(database, space, "EN_A", missed_floor(7000, space.spec.dimensions))
    table = bible_table(space)
    heard = Heard()
    outcome = maintained(database, settings, table, progress=heard)
    assert outcome.codes is None
    assert outcome.decision.action is IndexAction.BUILD
    assert outcome.generation is not None
    assert outcome.generation.codes is None
    with database.connect() as connection:
        assert code_sets.code_sets(connection, table) == ()
        assert index_names(connection) == [f"{table.name}_ivf_g{outcome.generation.number}"]
    heard = Heard()
    again = maintained(database, settings, table, progress=heard)
    assert again.decision.action is IndexAction.KEEP
    assert any("missed the recall floor at 7,000 rows" in line for line in heard.lines)


def test_codes_replace_an_index_over_vectors(
    database: Database, make_settings: MakeSettings, table: VectorTable
) -> None:
    before = maintained(database, index_settings(make_settings), table)
    assert before.generation is not None
    after = maintained(database, coded_settings(make_settings), table)
    assert after.decision.action is IndexAction.CODES


@pytest.mark.parametrize("lists", [None, 16])
def test_the_checks_judge_the_codes_by_the_plan_that_serves(
    database: Database, settings: Settings, table: VectorTable, lists: int | None
) -> None:
    outcome = maintained(database, settings, table, lists=lists)
    verdicts = {
        found.check: found
        for found in judge_index(
            database, settings, table, INDEX_CHECKS, run_id="check", progress=Silent()
        )
    }
    assert {check: found.failures for check, found in verdicts.items()} == dict.fromkeys(
        INDEX_CHECKS, ()
    )
    measured = verdicts["recall_at_10"].measured
    assert outcome.codes is not None
    assert measured["code_set"] == outcome.codes.code_set.number
    assert measured["candidates"] == outcome.codes.use.candidates


def test_a_vector_without_a_code_fails_the_check(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    maintained(database, settings, table)
    with database.connect() as connection:
        connection.execute(
            "UPDATE verse_embeddings_s1 SET embedding = o.embedding"
            " FROM verse_embeddings_s1 o WHERE verse_embeddings_s1.verse_id = 7 AND o.verse_id = 8"
        )
    (verdict,) = judge_index(
        database, settings, table, ["index_valid_and_used"], run_id="check", progress=Silent()
    )
    assert len(verdict.failures) == 1
    assert verdict.failures[0].startswith("1 vector has no code, so that no search finds them")
