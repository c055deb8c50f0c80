"""Each index check, passing and failing for its own cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_assets.embedding.sql.purchases import new_owner
from rag_assets.index.cases import EVERYTHING
from rag_assets.index.checks import (
    INDEX_CHECKS,
    IndexVerdict,
    judge_index,
    judge_recall,
)
from rag_assets.index.latency import judge_latency, production_conditions
from rag_assets.index.measuring import Alone, Point, recall_of
from rag_assets.index.policy import IndexAction
from rag_assets.index.questions import ask, held_out_queries
from rag_assets.index.sql import generations
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.timing import Latency
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import CheckResult, check_results
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.tables import VectorTable, bible_table, revision
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.index.corpus import (
    Heard,
    clustered,
    fill,
    filled_table,
    index_settings,
    maintained,
    on_trial,
)
from rag_assets_tests.vectors.vectors import space_of

SCOPES = {"EN_A": 1500, "EN_B": 600}
GONE = "the index of generation 1 is gone or invalid: materialize verse_embeddings_index"
HARD = 1.3  # overlapping clusters: one list is not enough


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return index_settings(make_settings)


def judged(
    database: Database, settings: Settings, table: VectorTable, *wanted: str
) -> dict[str, IndexVerdict]:
    verdicts = judge_index(
        database, settings, table, wanted or tuple(INDEX_CHECKS), run_id="check", progress=Silent()
    )
    return {verdict.check: verdict for verdict in verdicts}


def recorded(database: Database, table: VectorTable) -> dict[str, CheckResult]:
    with database.connect() as connection:
        return {result.check: result for result in check_results(connection, table)}


def run_sql(database: Database, statement: str) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def test_a_sound_index_passes_every_check_and_its_evidence_says_what_was_judged(
    database: Database, settings: Settings
) -> None:
    table = filled_table(database, settings, SCOPES)
    outcome = maintained(database, settings, table, lists=32)
    verdicts = judged(database, settings, table)
    assert list(verdicts) == list(INDEX_CHECKS)
    assert {name: verdict.failures for name, verdict in verdicts.items()} == dict.fromkeys(
        INDEX_CHECKS, ()
    )
    assert outcome.generation is not None
    probes = outcome.generation.probes
    assert probes is not None
    facts = {
        "rows": 2100,
        "lists": 32,
        "probes": probes.plain,
        "filtered_probes": probes.filtered,
        "max_probes": 32,
    }
    with database.connect() as connection:
        seen = revision(connection, table)
    results = recorded(database, table)
    assert set(results) == set(INDEX_CHECKS)
    for name, result in results.items():
        assert (result.passed, result.reasons, result.subject) == (True, (), "generation 1")
        assert (result.revision, result.run_id) == (seen.number, "check")
        assert facts.items() <= result.measured.items()
        assert dict(result.measured).keys() == dict(verdicts[name].measured).keys()
    used = results["index_valid_and_used"].measured["plans"]
    assert set(used) == {EVERYTHING, "smallest version (EN_B)", "largest version (EN_A)"}
    of_texts = {"verses_pkey", "bible_versions_pkey"}
    for plans in used.values():
        assert set(plans) == {"custom", "generic"}
        for names in plans.values():
            assert set(names) - of_texts == {"verse_embeddings_s1_ivf_g1"}
    latency = results["retrieval_latency_slo"].measured["latency"]
    assert isinstance(latency, dict)
    assert {name: one["queries"] for name, one in latency.items()} == {
        f"{name}, concurrency {many}": queries
        for name in (EVERYTHING, "version EN_A")
        for many, queries in ((1, 180), (8, 200))  # alone, the first 20 are to warm up
    }


def test_the_judged_lists_are_the_indexs_and_not_a_settings(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1100})
    maintained(database, settings, table, lists=16)
    run_sql(database, "DROP INDEX verse_embeddings_s1_ivf_g1")
    run_sql(
        database,
        "CREATE INDEX verse_embeddings_s1_ivf_g1 ON verse_embeddings_s1 USING ivfflat"
        " (embedding halfvec_cosine_ops) WITH (lists = 5) WHERE verse_id <> -1",
    )
    other = index_settings(make_settings, rag_index_lists=99)
    verdict = judged(database, other, table, "recall_at_10")["recall_at_10"]
    assert verdict.measured["lists"] == 5


def test_only_the_requested_checks_are_run_and_reported(
    database: Database, settings: Settings
) -> None:
    table = filled_table(database, settings, {"EN_A": 1100})
    maintained(database, settings, table, lists=16)
    heard = Heard()
    wanted = ["recall_at_10", "index_valid_and_used"]
    found = list(judge_index(database, settings, table, wanted, run_id="c", progress=heard))
    assert [verdict.check for verdict in found] == ["index_valid_and_used", "recall_at_10"]
    assert set(recorded(database, table)) == set(wanted)
    assert [line for line in heard.lines if line.startswith("checking")] == [
        "checking index_valid_and_used", "checking recall_at_10",
    ]  # fmt: skip
    assert sum(line.startswith("comparing") for line in heard.lines) == 1, "the truth is found once"
    assert "index_valid_and_used" in heard.lines[0]
    assert "recall_at_10" in heard.lines[1]


@pytest.mark.parametrize(
    "spoil",
    [
        "DROP INDEX verse_embeddings_s1_ivf_g1",
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'verse_embeddings_s1_ivf_g1'::regclass",
    ],
    ids=["dropped", "invalid"],
)
def test_a_missing_or_invalid_index_fails_every_check(
    database: Database, settings: Settings, spoil: str
) -> None:
    table = filled_table(database, settings, {"EN_A": 1100})
    maintained(database, settings, table, lists=16)
    run_sql(database, spoil)
    for verdict in judged(database, settings, table).values():
        assert verdict.failures == (GONE,)
    for result in recorded(database, table).values():
        assert (result.passed, result.reasons, result.subject) == (False, (GONE,), "generation 1")


def test_an_index_that_the_search_would_not_use_fails(
    database: Database, settings: Settings
) -> None:
    """As if the index had been rebuilt manually for another distance."""
    table = filled_table(database, settings, SCOPES)
    maintained(database, settings, table, lists=16)
    run_sql(database, "DROP INDEX verse_embeddings_s1_ivf_g1")
    run_sql(
        database,
        "CREATE INDEX verse_embeddings_s1_ivf_g1 ON verse_embeddings_s1 USING ivfflat"
        " (embedding halfvec_l2_ops) WITH (lists = 16) WHERE verse_id <> -1",
    )
    failures = judged(database, settings, table, "index_valid_and_used")[
        "index_valid_and_used"
    ].failures
    assert len(failures) == 6, "three filters, each planned in two ways"
    assert failures[0].startswith(
        "everything: the custom plan does not use verse_embeddings_s1_ivf_g1 but "
    )


def test_too_few_probes_fail_the_recall_checks(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, SCOPES, spread=HARD)
    maintained(database, settings, table)
    checks = ("recall_at_10", "filtered_recall_at_10")
    assert not any(one.failures for one in judged(database, settings, table, *checks).values())
    forced = index_settings(make_settings, pg_ivfflat_probes=1)
    verdicts = judged(database, forced, table, *checks)
    failure = verdicts["recall_at_10"].failures[0]
    assert failure.startswith("mixtures: recall@10 0.")
    assert failure.endswith("is under 0.95 at 1 probes")
    assert any("recall@10" in one for one in verdicts["filtered_recall_at_10"].failures)
    assert verdicts["recall_at_10"].measured["probes"] == 1
    assert not recorded(database, table)["recall_at_10"].passed


def test_a_stale_index_fails_recall_and_the_next_maintenance_fixes_it(
    database: Database, make_settings: MakeSettings
) -> None:
    """Built on a few subjects; then verses on others are added that do not fit its lists."""
    settings = index_settings(make_settings, rag_index_rebuild_share=100)
    space = space_of(database, settings)
    table = bible_table(space)
    fill(database, space, "EN_A", clustered(1000, clusters=3, spread=0.1))
    maintained(database, settings, table, lists=50)
    assert not judged(database, settings, table, "recall_at_10")["recall_at_10"].failures
    fill(database, space, "EN_B", clustered(3000, clusters=40, spread=HARD, place=2))
    (failure,) = judged(database, settings, table, "recall_at_10")["recall_at_10"].failures
    assert "is under 0.95" in failure
    outcome = maintained(database, settings, table)
    assert outcome.decision.reasons == ("the recall check failed",)
    assert not judged(database, settings, table, "recall_at_10")["recall_at_10"].failures


def test_a_filtered_search_that_stops_too_early_returns_too_few_hits(
    database: Database, settings: Settings
) -> None:
    """The filter's rows are far from the queries: their lists are read last."""
    space = space_of(database, settings)
    table = bible_table(space)
    fill(database, space, "EN_A", clustered(1500))
    fill(database, space, "EN_B", clustered(600, place=2, clusters=5))
    outcome = maintained(database, settings, table)
    assert outcome.generation is not None
    cases = {"a few": ("EN_B",), EVERYTHING: ("EN_A", "EN_B")}
    with database.connect() as connection:
        queries = held_out_queries(connection, table, 200, seed=4)
        questions = ask(connection, table, queries, cases.values())
    tight = Target(table, SCOPES, 1, "halfvec", Probes(64, 1, 64))
    for probes, sound in ((tight.probes, True), (Probes(64, 1, 1), False)):
        served = on_trial(database, replace(tight, probes=probes))
        alone = Alone(database.connect, settings, served, questions.queries)
        points = recall_of(alone, questions, cases)
        searches = alone.searches("a few", cases["a few"])
        assert alone.searches("EN_B", ["EN_B"]) is searches, "the latency check's name for it"
        assert (points["a few"].k_returned == 10) is sound
        assert points["a few"].probes == 1
        failures = judge_recall(points, {"a few": 600, EVERYTHING: 2100}, floor=0.0001)
        assert bool(failures) is not sound
    assert failures[-1].startswith("a few: ")
    assert failures[-1].endswith(" hits on average instead of 10")
    with database.connect(autocommit=True) as connection:
        generations.tuned(connection, 1, Probes(64, 1, 1), {})
    verdict = judged(database, settings, table, "filtered_recall_at_10")["filtered_recall_at_10"]
    assert any(one.startswith("smallest version (EN_B): recall@10") for one in verdict.failures)
    assert any("instead of 10" in one for one in verdict.failures)


def test_a_latency_over_the_objective_fails_and_names_each_case(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1100})
    maintained(database, settings, table, lists=8)
    assert not judged(database, settings, table, "retrieval_latency_slo")[
        "retrieval_latency_slo"
    ].failures
    strict = index_settings(make_settings, rag_slo_p95_ms=0.001)
    verdict = judged(database, strict, table, "retrieval_latency_slo")["retrieval_latency_slo"]
    assert len(verdict.failures) == 4
    assert "everything, concurrency 1: P95 " in verdict.failures[0]
    assert "everything, concurrency 8: P95 " in verdict.failures[1]
    assert verdict.measured["slo_ms"] == 0.001
    assert verdict.measured["embedding_meanwhile"] is False
    assert maintained(database, strict, table).decision.action is IndexAction.BUILD
    with database.connect(autocommit=True) as embedder:
        new_owner(embedder)  # as while texts are being embedded
        verdict = judged(database, strict, table, "retrieval_latency_slo")["retrieval_latency_slo"]
    assert verdict.failures[0].endswith("is over 0 ms while texts were being embedded")
    assert maintained(database, strict, table).decision.action is IndexAction.KEEP
    alone = strict.model_copy(update={"rag_slo_concurrency": 1})
    verdict = judged(database, alone, table, "retrieval_latency_slo")["retrieval_latency_slo"]
    assert len(verdict.failures) == 2


def test_exact_search_is_judged_if_it_serves(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings, rag_index_min_rows=10_000)
    table = filled_table(database, settings, {"EN_A": 300, "EN_B": 5})
    maintained(database, settings, table)
    verdicts = judged(database, settings, table)
    assert {name: one.failures for name, one in verdicts.items()} == dict.fromkeys(INDEX_CHECKS, ())
    assert {one.subject for one in verdicts.values()} == {"exact"}
    assert verdicts["index_valid_and_used"].measured["lists"] is None
    points = verdicts["filtered_recall_at_10"].measured["cases"]
    assert isinstance(points, dict)
    assert points["smallest version (EN_B)"]["recall"] == 1.0
    assert points["smallest version (EN_B)"]["k_returned"] == 5.0


def test_without_a_decision_nothing_is_judged_and_nothing_recorded(
    database: Database, settings: Settings
) -> None:
    table = filled_table(database, settings, {"EN_A": 50})
    for verdict in judged(database, settings, table).values():
        assert verdict.failures == (
            "no decision on this index yet: materialize verse_embeddings_index",
        )
    assert recorded(database, table) == {}


def test_if_no_version_may_be_served_every_check_fails(
    database: Database, settings: Settings
) -> None:
    space = space_of(database, settings)
    fill(database, space, "EN_X", clustered(1100), enabled=False)
    table = bible_table(space)
    maintained(database, settings, table, lists=8)
    for verdict in judged(database, settings, table).values():
        assert verdict.failures == ("no version that may be served has vectors here",)


def test_only_versions_that_may_be_served_are_judged(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, SCOPES)
    maintained(database, settings, table, lists=16)
    narrowed = index_settings(make_settings, rag_allowed_versions="EN_B")
    verdict = judged(database, narrowed, table, "recall_at_10")["recall_at_10"]
    assert verdict.measured["rows"] == 600
    assert verdict.failures == ()


def test_evidence_of_the_same_check_is_replaced(database: Database, settings: Settings) -> None:
    table = filled_table(database, settings, {"EN_A": 1100})
    maintained(database, settings, table, lists=16)
    judged(database, settings, table, "index_valid_and_used")
    fill(database, table.space, "EN_B", clustered(50, seed=3))
    before = recorded(database, table)["index_valid_and_used"]
    judged(database, settings, table, "index_valid_and_used")
    after = recorded(database, table)["index_valid_and_used"]
    assert after.revision > before.revision
    assert after.evaluated_at > before.evaluated_at


SOUND = Point(4, recall=0.95, recall_low=0.9, k_returned=10, p50_ms=1, p95_ms=1)


@pytest.mark.parametrize(
    ("point", "rows", "failures"),
    [
        (SOUND, 100, ()),
        (replace(SOUND, recall=0.9499), 100, ("x: recall@10 0.950 is under 0.95 at 4 probes",)),
        (replace(SOUND, recall=0.9, probes=0, candidates=50), 100,
         ("x: recall@10 0.900 is under 0.95 with 50 candidates",)),
        (replace(SOUND, k_returned=9.995), 100, ("x: 9.99 hits on average instead of 10",)),
        (replace(SOUND, k_returned=7), 7, ()),
        (replace(SOUND, k_returned=6.5), 7, ("x: 6.50 hits on average instead of 7",)),
        (replace(SOUND, recall=1, k_returned=0), 0, ()),
        (
            replace(SOUND, recall=0, k_returned=0),
            100,
            ("x: recall@10 0.000 is under 0.95 at 4 probes",
             "x: 0.00 hits on average instead of 10"),
        ),
    ],
)  # fmt: skip
def test_recall_and_hits_are_judged_at_their_floors(
    point: Point, rows: int, failures: tuple[str, ...]
) -> None:
    assert judge_recall({"x": point}, {"x": rows}, floor=0.95) == failures


@pytest.mark.parametrize(
    ("p95", "failures"),
    [(249.9, ()), (250, ()), (250.6, ("x: P95 251 ms is over 250 ms",))],
)
def test_latency_is_judged_at_its_objective(p95: float, failures: tuple[str, ...]) -> None:
    assert judge_latency({"x": Latency(1, p95, 900, 200)}, slo_ms=250) == failures


def test_production_conditions_are_reported_only_in_the_prod_profile(
    database: Database, make_settings: MakeSettings
) -> None:
    dev = index_settings(make_settings)
    prod = index_settings(make_settings, rag_index_profile="prod")
    table = filled_table(database, prod, {"EN_A": 1100})
    outcome = maintained(database, prod, table, lists=8)
    target = Target(table, {"EN_A": 1100}, 1, "halfvec", Probes(3, 5, 8))
    exact = Target(table, {"EN_A": 1100}, None, "halfvec", None)
    assert production_conditions(dev, target, outcome.generation) is None
    assert production_conditions(prod, target, outcome.generation) == (
        "lists 8 (the objective was written for 1000 or more), probes 3 (10 or more)"
    )
    assert production_conditions(prod, exact, None) == (
        "no index: the objective's lists and probes do not apply"
    )


def test_what_nothing_has_changed_for_is_reused_and_says_why(
    database: Database, settings: Settings
) -> None:
    table = filled_table(database, settings, {"EN_A": 1100, "EN_B": 600})
    maintained(database, settings, table, lists=8)
    first, before = judged(database, settings, table), recorded(database, table)
    again, after = judged(database, settings, table), recorded(database, table)
    reused = {"recall_at_10", "filtered_recall_at_10", "golden_queries"}
    assert {name for name, one in again.items() if "reused" in one.measured} == reused
    for name in INDEX_CHECKS:
        assert again[name].failures == first[name].failures == ()
        kept = after[name].evaluated_at == before[name].evaluated_at
        assert kept == (name in reused), "evidence keeps its time, so that it expires"
    assert "neither the vectors, the way they are searched" in again["recall_at_10"].summary
    assert (
        again["recall_at_10"].measured["recall_at_10_mixtures"]
        == (first["recall_at_10"].measured["recall_at_10_mixtures"])
    )


@pytest.mark.parametrize("change", ["rows", "probes", "settings", "failed", "age", "live"])
def test_whatever_may_change_a_result_is_measured_again(
    database: Database, settings: Settings, change: str
) -> None:
    table = filled_table(database, settings, {"EN_A": 300})
    maintained(database, settings, table, lists=8)
    judged(database, settings, table, "recall_at_10")
    changed = settings
    match change:
        case "rows":
            run_sql(database, "DELETE FROM verse_embeddings_s1 WHERE verse_id = 1")
        case "probes":
            changed = settings.model_copy(update={"pg_ivfflat_probes": 8})
        case "settings":
            changed = settings.model_copy(update={"rag_recall_floor": 0.5})
        case "failed":
            run_sql(database, "UPDATE check_results SET passed = false, reasons = '{low}'")
        case "age":
            run_sql(
                database, "UPDATE check_results SET evaluated_at = now() - interval '84 h 1 min'"
            )
        case "live":
            changed = settings.model_copy(update={"rag_live_queries": True})
    verdict = judged(database, changed, table, "recall_at_10")["recall_at_10"]
    assert "reused" not in verdict.measured
