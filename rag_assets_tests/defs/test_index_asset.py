"""The asset ``verse_embeddings_index`` and its checks: what a run decides, reports and refuses."""

from __future__ import annotations

import base64
import re
from typing import Any

import dagster as dg
import pytest

from rag_assets.defs.index.config import IndexConfig
from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.index.maintain import IndexRequest
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run
from rag_assets_tests.defs.releasing import INDEX, release_lane, run_job

pytestmark = pytest.mark.long

SMALL = {"verse_embeddings": {"small_only": True}}


@pytest.fixture
def indexed(make_lane: MakeLane) -> Lane:
    """A lane with 60 verses embedded, that indexes from the first row on."""
    lane = release_lane(make_lane, rag_index_min_rows=1)
    embed(lane, "EN_A")
    return lane


def embed(lane: Lane, code: str) -> None:
    """One more version of 60 verses, in the small space."""
    lane.drop(code, sentences(60, word=code))
    assert lane.run(code, config={"small_only": True}).success


def decide(lane: Lane, *, checks: bool = False, **config: object) -> Run:
    """Run the index, with its checks or, three times as fast, without."""
    return run_job(lane, "corpus_index", config={INDEX: config}, only=None if checks else [INDEX])


def test_nothing_embedded_is_a_failure_that_says_what_to_do_first(make_lane: MakeLane) -> None:
    failure = decide(release_lane(make_lane)).failure(INDEX)
    assert failure.description == (
        "nothing is embedded yet in openai/text-embedding-3-small halfvec(64): materialize "
        "verse_embeddings first"
    )
    assert failure.metadata == {"error_class": "ConfigurationError", "may_pass_later": False}


def test_few_rows_are_searched_exactly_with_a_reason(
    make_lane: MakeLane,
) -> None:
    lane = release_lane(make_lane)
    embed(lane, "EN_A")
    run = decide(lane, checks=True)
    assert run.success
    told = run.metadata(INDEX)
    assert (told["decision"], told["dagster/row_count"]) == ("exact", 60)
    assert told["reasons"] == "- 60 rows are fewer than 10,000: exact search serves"
    assert told["space"] == "openai/text-embedding-3-small halfvec(64)"
    assert "generation" not in told
    assert "recall_and_latency" not in told
    assert run.failed_checks() == []
    assert run.checks()["index_valid_and_used"].metadata["judged"].value == "exact"


def test_codes_are_shown_with_what_a_scan_of_them_gives(make_lane: MakeLane) -> None:
    lane = release_lane(make_lane, rag_code_bits=None)
    embed(lane, "EN_A")
    run = decide(lane, checks=True)
    assert run.success
    told = run.metadata(INDEX)
    assert told["decision"] == "codes"
    assert told["reasons"] == (
        "- 60 rows are fewer than 50,000: a scan of the codes serves, recall@10 1.000"
    )
    assert (told["code_set"], told["code_bits"], told["scan_recall_at_10"]) == (1, 64, 1.0)
    assert told["recall_by_candidates"].startswith("![recall over candidates](data:image/png;")
    assert run.failed_checks() == []
    assert run.checks()["recall_at_10"].metadata["judged"].value == "code set 1"


def test_a_build_shows_its_figures_and_a_picture_of_recall_and_latency(indexed: Lane) -> None:
    run = decide(indexed)
    assert run.success
    told = run.metadata(INDEX)
    assert (told["decision"], told["generation"], told["lists"]) == ("build", 1, 4)
    assert told["reasons"].startswith("- ")
    assert (told["precision"], told["dagster/row_count"]) == ("halfvec", 60)
    assert 1 <= told["probes"] <= told["filtered_probes"] <= told["max_probes"] == 4
    assert told["index_mb"] >= 0
    assert told["build_seconds"] >= 0
    assert (told["invalid_leftovers_dropped"], told["generations_dropped"]) == ("none", "none")
    assert "| verse_embeddings_s1 (openai/" in told["tables"]
    assert "| everything |" in told["tuning"]
    picture = re.fullmatch(
        r"!\[recall and latency over probes\]\(data:image/png;base64,(.+)\)",
        told["recall_and_latency"],
    )
    assert picture is not None
    assert base64.b64decode(picture.group(1)).startswith(b"\x89PNG")
    assert len(picture.group(1)) < 200_000


def test_keeping_the_index_is_an_outcome_with_reasons(indexed: Lane) -> None:
    decide(indexed)
    told = decide(indexed).metadata(INDEX)
    assert (told["decision"], told["generation"]) == ("keep", 1)
    assert "0% of the rows changed since the build" in told["reasons"]
    assert told["probes"] >= 1


def test_the_curve_of_the_last_tuning_stays_when_nothing_is_rebuilt(indexed: Lane) -> None:
    built = decide(indexed).metadata(INDEX)
    kept = decide(indexed).metadata(INDEX)
    assert (built["decision"], kept["decision"]) == ("build", "keep")
    assert kept["tuning"] == built["tuning"]
    assert kept["recall_and_latency"] == built["recall_and_latency"]


def test_the_figures_of_a_check_are_numbers_with_their_floor_and_a_description(
    make_lane: MakeLane,
) -> None:
    lane = release_lane(
        make_lane, rag_index_min_rows=1, rag_index_text_sample=20, rag_fragment_agreement=0.5,
        rag_opening_agreement=0.5,
    )  # fmt: skip
    embed(lane, "EN_A")
    checks = decide(lane, checks=True).checks()
    recall, latency = checks["recall_at_10"], checks["retrieval_latency_slo"]
    assert 0.95 <= number(recall, "recall_at_10_mixtures") <= 1
    assert number(recall, "floor_mixtures") == 0.95
    assert number(recall, "recall_at_10_fragments") >= number(recall, "floor_fragments") == 0.5
    assert recall.description is not None
    assert recall.description.startswith("recall@10: ")
    assert ", fragments " in recall.description
    assert number(latency, "p95_ms_everything_concurrency_1") > 0
    assert number(latency, "p95_ms_largest_version_concurrency_8") > 0
    assert number(latency, "slo_ms") == 60_000
    assert {check.passed for check in checks.values()} == {True}
    assert all(check.description for check in checks.values())


def number(check: dg.AssetCheckEvaluation, name: str) -> float:
    """A figure that Dagster plots."""
    value = check.metadata[name]
    assert isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
    assert value.value is not None
    return value.value


def test_launchpad_requests_are_built_immediately_and_replace_unreleased_indexes(
    indexed: Lane,
) -> None:
    decide(indexed)
    asked: list[tuple[dict[str, Any], int, str]] = [
        ({"lists": 3}, 3, "asked for 3 lists"),
        ({"force": True}, 4, "forced"),
        ({"precision": "halfvec"}, 4, "asked for precision halfvec"),
    ]
    for before, (config, lists, reason) in enumerate(asked, start=1):
        told = decide(indexed, **config).metadata(INDEX)
        made = before + 1
        assert (told["decision"], told["generation"], told["lists"]) == ("build", made, lists)
        assert reason in told["reasons"]
        assert told["generations_dropped"] == str(before)


def test_of_several_numbers_of_lists_one_is_kept(indexed: Lane) -> None:
    told = decide(indexed, lists_candidates=[2, 5]).metadata(INDEX)
    assert told["decision"] == "build"
    assert told["lists"] in (2, 5)
    assert "asked for the best of 2, 5 lists" in told["reasons"]
    assert indexed.count("SELECT count(*) FROM index_generations WHERE state = 'ready'") == 1
    assert indexed.rows("SELECT DISTINCT lists_from FROM index_generations") == [("measured",)]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"precision": "float8"}, "precision 'float8' is unknown: it is vector or halfvec"),
    ({"lists": 3, "maintenance_work_mem": "much"}, "'much' is not a size of memory"),
    ({"precision": "vector"}, "would be twice as large and no more exact"),
    ({"lists": 200}, "too little data"),
    ({"lists": 4, "maintenance_work_mem": "64kB"}, "raise RAG_INDEX_MAINTENANCE_WORK_MEM"),
]


def test_an_invalid_option_fails_clearly_and_does_not_affect_the_active_index(
    indexed: Lane,
) -> None:
    decide(indexed)
    before = indexed.rows("SELECT action, generation FROM index_decisions")
    for config, sentence in REFUSED:
        run = decide(indexed, checks=True, **config)
        failure = run.failure(INDEX)
        assert sentence in failure.description
        assert failure.metadata["error_class"] in ("ConfigurationError", "IndexBuildError")
        assert failure.metadata["may_pass_later"] is False
        assert run.checks() == {}
        assert indexed.rows("SELECT action, generation FROM index_decisions") == before
        assert indexed.count("SELECT count(*) FROM index_generations WHERE state = 'ready'") == 1


@pytest.mark.parametrize("config", [{"lists": 0}, {"lists": 32769}])
def test_a_number_out_of_its_range_is_refused_by_name(config: dict[str, int]) -> None:
    with pytest.raises(dg.Failure, match="lists: must be at"):
        IndexConfig(**config)


def test_the_launchpad_becomes_a_request() -> None:
    assert IndexConfig().request() == IndexRequest()
    assert IndexConfig(
        lists=7,
        lists_candidates=[1, 2],
        maintenance_work_mem="4GB",
        precision="halfvec",
        force=True,
    ).request() == IndexRequest(7, (1, 2), "halfvec", "4GB", True)
    with pytest.raises(dg.Failure, match="precision 'x' is unknown"):
        IndexConfig(precision="x")


def test_the_checks_report_their_figures_and_are_stored_as_evidence(indexed: Lane) -> None:
    run = decide(indexed, checks=True)
    found = run.checks()
    assert set(found) == set(INDEX_CHECKS)
    for name, check in found.items():
        assert check.passed, name
        assert check.blocking
        assert check.severity is dg.AssetCheckSeverity.ERROR
        told = {label: value.value for label, value in check.metadata.items()}
        assert (told["judged"], told["rows"], told["lists"]) == ("generation 1", 60, 4)
        assert told["versions"] == ["EN_A"]
    kept = indexed.rows(
        "SELECT check_name, passed, run_id FROM check_results WHERE subject = %s", "generation 1"
    )
    assert sorted(kept) == sorted((name, True, run.run_id) for name in INDEX_CHECKS)


def test_a_check_that_fails_by_its_limit_fails_the_run_and_the_next_run_builds_again(
    make_lane: MakeLane,
) -> None:
    lane = release_lane(make_lane, rag_index_min_rows=1, rag_slo_p95_ms=0.0001)
    embed(lane, "EN_A")
    run = decide(lane, checks=True)
    assert not run.success
    assert run.failed_checks() == ["retrieval_latency_slo"]
    description = run.checks()["retrieval_latency_slo"].description
    assert description is not None
    assert "everything, concurrency 1: P95" in description
    assert decide(lane).metadata(INDEX)["reasons"] == "- the latency check failed"


def test_a_single_check_can_be_run(indexed: Lane) -> None:
    decide(indexed)
    key = dg.AssetCheckKey(dg.AssetKey(INDEX), "recall_at_10")
    job = dg.define_asset_job("one_check", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions.merge(indexed.defs(), dg.Definitions(jobs=[job]))
    run = Run(defs.resolve_job_def("one_check").execute_in_process(instance=indexed.instance))
    assert list(run.checks()) == ["recall_at_10"]


def test_checks_without_a_decision_fail_and_say_so(make_lane: MakeLane) -> None:
    lane = release_lane(make_lane)
    embed(lane, "EN_A")
    keys = [dg.AssetCheckKey(dg.AssetKey(INDEX), name) for name in INDEX_CHECKS]
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys))
    defs = dg.Definitions.merge(lane.defs(), dg.Definitions(jobs=[job]))
    run = Run(
        defs.resolve_job_def("checks").execute_in_process(
            instance=lane.instance, raise_on_error=False
        )
    )
    assert run.failed_checks() == sorted(INDEX_CHECKS)
    assert {check.description for check in run.checks().values()} == {
        "no decision on this index yet: materialize verse_embeddings_index"
    }
