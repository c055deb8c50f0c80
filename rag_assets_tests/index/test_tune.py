"""Probes by measurement: the minimum that keeps recall, with and without a filter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.index.cases import EVERYTHING, filter_cases
from rag_assets.index.measuring import Alone, Point, min_probes, recall_of, target_of
from rag_assets.index.questions import ask, held_out_queries
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Database
from rag_assets.retrieval.plan import Target, choose_plan
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    Heard,
    clustered,
    fill,
    filled_table,
    generation_states,
    index_names,
    index_settings,
    maintained,
    on_trial,
)
from rag_assets_tests.vectors.vectors import space_of

VERSIONS = {"EN_A": 1500, "EN_B": 450, "PT_C": 900, "PT_D": 60}
LANGUAGES = {"EN_A": "en", "EN_B": "en-GB", "PT_C": "pt-BR", "PT_D": "pt"}

HARD = 1.1
"""A spread at which clusters overlap, so that one list is not enough."""


def point(probes: int, low: float) -> Point:
    return Point(probes, recall=low, recall_low=low, k_returned=10, p50_ms=1, p95_ms=1)


@given(st.integers(1, 5000), st.data())
def test_the_probes_found_keep_recall_and_are_within_a_tenth_of_the_minimum(
    lists: int, data: st.DataObject
) -> None:
    least = data.draw(st.integers(1, lists + 1), label="least that keeps it")
    measured: list[int] = []

    def measure(probes: int) -> Point:
        measured.append(probes)
        return point(probes, 1.0 if probes >= least else 0.0)

    chosen, curve = min_probes(measure, lists, 0.95)
    least = min(least, lists)  # reading every list counts as exact
    assert least <= chosen.probes <= lists
    assert chosen.probes - least < max(1, chosen.probes // 10)
    assert chosen in curve
    assert [one.probes for one in curve] == sorted(set(measured))
    assert len(measured) == len(set(measured)), "nothing is measured twice"
    assert all(1 <= probes <= lists for probes in measured)


@given(st.integers(1, 300), st.lists(st.floats(0, 1), min_size=300, max_size=300))
def test_whatever_the_curve_the_choice_was_measured_and_keeps_recall(
    lists: int, lows: list[float]
) -> None:
    chosen, curve = min_probes(lambda probes: point(probes, lows[probes - 1]), lists, 0.9)
    assert chosen in curve
    assert chosen.recall_low >= 0.9 or chosen.probes == lists


@pytest.mark.parametrize(
    ("lists", "least", "measured", "chosen"),
    [
        (1, 1, [1], 1),
        (1, 9, [1], 1),
        (64, 1, [1], 1),
        (64, 2, [1, 2], 2),
        (64, 3, [1, 2, 3, 4], 3),
        (5, 9, [1, 2, 4, 5], 5),
        (64, 64, [1, 2, 4, 8, 16, 32, 48, 56, 60, 64], 64),
    ],
)
def test_probes_are_doubled_until_recall_is_kept_then_the_gap_is_halved(
    lists: int, least: int, measured: list[int], chosen: int
) -> None:
    found, curve = min_probes(lambda probes: point(probes, float(probes >= least)), lists, 1)
    assert found.probes == chosen
    assert [one.probes for one in curve] == measured


@pytest.mark.parametrize(
    ("scopes", "cases"),
    [
        ({}, {}),
        ({"EN_A": 5}, {}),
        (
            {"EN_A": 5, "PT_C": 9},
            {"smallest version (EN_A)": ("EN_A",), "largest version (PT_C)": ("PT_C",)},
        ),
        (
            {"EN_A": 5, "EN_B": 5},
            {"smallest version (EN_A)": ("EN_A",), "largest version (EN_B)": ("EN_B",)},
        ),
        (
            VERSIONS,
            {
                "smallest version (PT_D)": ("PT_D",),
                "largest version (EN_A)": ("EN_A",),
                "language en": ("EN_A", "EN_B"),
                "language pt": ("PT_C", "PT_D"),
            },
        ),
        (
            {"EN_A": 9, "EN_B": 5, "XX_X": 7},
            {
                "smallest version (EN_B)": ("EN_B",),
                "largest version (EN_A)": ("EN_A",),
                "language en": ("EN_A", "EN_B"),
            },
        ),
    ],
)
def test_the_filters_are_the_smallest_and_largest_version_and_each_language(
    scopes: dict[str, int], cases: dict[str, tuple[str, ...]]
) -> None:
    assert filter_cases(scopes, LANGUAGES) == cases


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


@pytest.fixture
def table(database: Database, settings: Settings) -> VectorTable:
    return filled_table(database, settings, VERSIONS, spread=HARD, languages=LANGUAGES)


def made(database: Database, table: VectorTable) -> Generation:
    with database.connect() as connection:
        return generations.ready_generations(connection, table)[-1]


def measured(
    database: Database, target: Target, cases: dict[str, Sequence[str]], *, seed: int = 50
) -> dict[str, Point]:
    with database.connect() as connection:
        queries = held_out_queries(connection, target.table, 200, seed=seed)
        questions = ask(connection, target.table, queries, cases.values())
    settings = Settings(rag_search_exact_rows=400)
    return recall_of(
        Alone(database.connect, settings, on_trial(database, target), questions.queries),
        questions,
        cases,
    )


def test_the_probes_chosen_keep_recall_with_and_without_filters_for_other_queries(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    outcome = maintained(database, settings, table)
    assert outcome.tuning is not None
    assert outcome.generation is not None
    probes = outcome.generation.probes
    assert probes is not None
    assert set(outcome.tuning.chosen) == {
        EVERYTHING, "largest version (EN_A)", "language en", "language pt",
    }, "the smallest version is searched exactly"  # fmt: skip
    assert probes.plain == outcome.tuning.chosen[EVERYTHING].probes
    # Text queries may need more than the mixtures did.
    assert probes.filtered >= max(one.probes for one in outcome.tuning.chosen.values())
    assert probes.limit == 64
    cases = {EVERYTHING: tuple(VERSIONS), **filter_cases(VERSIONS, LANGUAGES)}
    found = measured(database, target_of(table, VERSIONS, outcome.generation, None), cases)
    assert {name: one.recall for name, one in found.items() if one.recall < 0.95} == {}
    assert {one.k_returned for one in found.values()} == {10.0}
    assert found["smallest version (PT_D)"].probes == 0
    assert found["smallest version (PT_D)"].recall == 1.0
    assert found["language pt"].probes == probes.filtered


def test_fewer_probes_lose_recall_on_these_very_vectors(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    """Otherwise the previous test would prove nothing."""
    outcome = maintained(database, settings, table)
    one_probe = target_of(table, VERSIONS, outcome.generation, 1)
    found = measured(database, one_probe, {EVERYTHING: tuple(VERSIONS)})[EVERYTHING]
    assert found.probes == 1
    assert found.recall < 0.95
    assert outcome.generation is not None
    assert outcome.generation.probes is not None
    assert outcome.generation.probes.plain > 1


def test_a_higher_floor_never_takes_fewer_probes(
    database: Database, make_settings: MakeSettings
) -> None:
    low, high = (index_settings(make_settings, rag_recall_floor=floor) for floor in (0.6, 1.0))
    table = filled_table(database, low, {"EN_A": 1200, "EN_B": 500}, spread=HARD)
    chosen = []
    for settings in (low, high):
        outcome = maintained(database, settings, table, lists=16)
        assert outcome.generation is not None
        assert outcome.generation.probes is not None
        chosen.append(outcome.generation.probes)
    assert chosen[0].plain < chosen[1].plain
    assert chosen[0].filtered < chosen[1].filtered


def test_the_curve_is_stored_with_the_generation_and_reported(
    database: Database, settings: Settings, table: VectorTable
) -> None:
    heard = Heard()
    outcome = maintained(database, settings, table, progress=heard)
    assert outcome.tuning is not None
    with database.connect() as connection:
        (kept,) = connection.execute("SELECT tuning FROM index_generations").fetchone() or ({},)
    assert kept["queries"] == 200
    assert kept == outcome.tuning.as_json() | {
        "curves": {case: [dict(one) for one in curve] for case, curve in kept["curves"].items()}
    }
    for case, curve in outcome.tuning.curves.items():
        assert [one["probes"] for one in kept["curves"][case]] == [one.probes for one in curve]
    assert made(database, table).probes == outcome.tuning.probes
    reported = [line for line in heard.lines if "probes of 64 lists, recall@10" in line]
    assert len(reported) == len(outcome.tuning.chosen)


def test_the_fastest_of_several_candidates_is_kept_and_the_others_dropped(
    database: Database, settings: Settings
) -> None:
    table = filled_table(database, settings, {"EN_A": 1200})
    before = maintained(database, settings, table)
    outcome = maintained(database, settings, table, lists_candidates=(8, 32, 100))
    assert before.generation is not None
    assert outcome.generation is not None
    assert outcome.tuning is not None
    assert outcome.decision.reasons == ("asked for the best of 8, 32, 100 lists",)
    kept = outcome.generation
    assert kept.lists in (8, 32, 100)
    assert kept.lists_from == "measured"
    assert outcome.dropped == (before.generation.number,)
    with database.connect() as connection:
        states = dict(generation_states(connection))
        worst = dict(
            connection.execute(
                "SELECT generation, (SELECT max((p->>'p95_ms')::float) FROM jsonb_each("
                " tuning->'curves') AS c, jsonb_array_elements(c.value) AS p) FROM"
                " index_generations WHERE lists_from = 'measured'"
            ).fetchall()
        )
        assert index_names(connection) == [f"verse_embeddings_s1_ivf_g{kept.number}"]
    assert len(worst) == 3, "each of them was measured"
    assert states == {
        number: "ready" if number == kept.number else "dropped" for number in (1, 2, 3, 4)
    }


GENERATION_PROBES = Probes(4, 9, 64)


@pytest.mark.parametrize(
    ("override", "probes"),
    [
        (None, GENERATION_PROBES),
        (1, Probes(1, 1, 64)),
        (64, Probes(64, 64, 64)),
        (100, Probes(100, 100, 100)),
    ],
)
def test_probes_from_the_setting_override_the_tuned_ones(
    database: Database,
    settings: Settings,
    override: int | None,
    probes: Probes,
) -> None:
    table = filled_table(database, settings, {"EN_A": 200})
    maintained(database, settings, table, lists=4)
    with database.connect(autocommit=True) as connection:
        generations.tuned(connection, 1, GENERATION_PROBES, {})
    target = target_of(table, {"EN_A": 200}, made(database, table), override)
    assert (target.generation, target.precision, target.probes) == (1, "halfvec", probes)
    assert target_of(table, {"EN_A": 200}, None, override).probes is None
    if override is not None:
        found = measured(database, target, {EVERYTHING: ("EN_A",)})[EVERYTHING]
        assert found.probes == override
        assert found.k_returned == 10


def test_more_probes_than_there_are_lists_is_exact(database: Database, settings: Settings) -> None:
    table = filled_table(database, settings, VERSIONS, languages=LANGUAGES)
    outcome = maintained(database, settings, table, lists=8)
    target = target_of(table, VERSIONS, outcome.generation, 32768)
    found = measured(database, target, {EVERYTHING: tuple(VERSIONS), "en": ("EN_A", "EN_B")})
    assert {name: one.recall for name, one in found.items()} == {EVERYTHING: 1.0, "en": 1.0}


def test_a_filter_that_the_index_answers_more_slowly_than_a_scan_is_searched_exactly(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are far from the queries: their lists are read last, row by row."""
    monkeypatch.setattr("rag_assets.index.tune._FAST_ENOUGH_MS", 0.0)  # these rows take no time
    space = space_of(database, settings)
    fill(database, space, "EN_A", clustered(6000))
    fill(database, space, "EN_B", clustered(900, place=2, clusters=5))
    rows = {"EN_A": 6000, "EN_B": 900}
    queries = clustered(200, seed=9)
    outcome = maintained(database, settings, bible_table(space), lists=64, queries=queries)
    assert outcome.generation is not None
    assert outcome.generation.probes is not None
    assert outcome.generation.probes.exact_rows >= 900
    assert outcome.tuning is not None
    assert outcome.tuning.chosen["smallest version (EN_B)"].probes == 0
    target = target_of(bible_table(space), rows, outcome.generation, None)
    assert choose_plan(target, ("EN_B",), exact_rows=400).kind == "exact"
    assert choose_plan(target, tuple(rows), exact_rows=400).kind == "ivfflat"
    points = measured(database, target, {"b": ("EN_B",)})
    assert points["b"].recall == 1.0
