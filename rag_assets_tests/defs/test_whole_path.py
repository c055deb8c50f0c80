"""From a version's files to a release in one job; a bad version keeps itself, or all, out."""

from __future__ import annotations

import pytest

from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run
from rag_assets_tests.defs.releasing import (
    INDEX,
    RELEASE,
    release_lane,
    releases,
    run_job,
    run_version_checks,
    served,
    spoil,
)

pytestmark = pytest.mark.long

WHOLE = "bible_to_release"


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return release_lane(make_lane)


def whole(lane: Lane, code: str, *, limit: int | None = None, leave_out: bool = False) -> Run:
    """All steps for one version; with a limit it stays incomplete."""
    lane.drop(code, sentences(20, word=code))
    config: dict[str, dict[str, object]] = {"verse_embeddings": {"small_only": True}}
    if limit is not None:
        config["verse_embeddings"]["limit"] = limit
    if leave_out:
        config[RELEASE] = {"leave_out_failing": True}
    return run_job(lane, WHOLE, partition=code, config=config)


def found(lane: Lane, code: str) -> set[str]:
    """Versions that a search for a version's own words finds."""
    result = search_text(
        lane.corpus.database,
        lane.corpus.settings,
        f"The {code} number 3 runs down to the sea before 10 days",
        SearchRequest(top_k=5),
    )
    return {hit.version for hit in result.hits}


def test_one_job_leads_from_files_to_a_release_that_a_search_reads(lane: Lane) -> None:
    run = whole(lane, "EN_A")
    assert run.success
    assert run.materialized() == ["verses", "verse_embeddings", INDEX, "retrieval_quality", RELEASE]
    assert served(lane) == ["EN_A"]
    assert found(lane, "EN_A") == {"EN_A"}
    assert whole(lane, "EN_B").success
    assert served(lane) == ["EN_A", "EN_B"]


def test_a_bad_version_stops_in_its_own_run_before_the_index(lane: Lane) -> None:
    run = whole(lane, "EN_BAD", limit=5)
    assert not run.success
    assert run.failed_checks() == ["completeness"]
    assert run.materialized() == ["verses", "verse_embeddings"]
    assert releases(lane) == []


def test_bad_first_then_good_nothing_is_released_unless_the_user_leaves_it_out(lane: Lane) -> None:
    whole(lane, "EN_BAD", limit=5)
    run = whole(lane, "EN_GOOD")
    assert "EN_BAD: completeness" in run.failure(RELEASE).description
    assert served(lane) == []
    assert releases(lane) == [(1, "refused")]
    assert whole(lane, "EN_GOOD", leave_out=True).success
    assert served(lane) == ["EN_GOOD"]
    assert found(lane, "EN_BAD") == {"EN_GOOD"}, "what is not released is not found"


def test_good_first_then_bad_the_active_release_stays(lane: Lane) -> None:
    assert whole(lane, "EN_GOOD").success
    whole(lane, "EN_BAD", limit=5)
    assert served(lane) == ["EN_GOOD"]
    run = run_job(lane, "corpus_release")
    assert "EN_BAD: completeness" in run.failure(RELEASE).description
    assert served(lane) == ["EN_GOOD"]
    assert found(lane, "EN_BAD") == {"EN_GOOD"}


def test_a_repaired_version_is_released_with_the_others(lane: Lane) -> None:
    assert whole(lane, "EN_GOOD").success
    whole(lane, "EN_BAD", limit=5)
    assert whole(lane, "EN_BAD").success
    assert served(lane) == ["EN_BAD", "EN_GOOD"]


def test_a_version_that_goes_bad_while_it_is_served_refuses_the_next_release(lane: Lane) -> None:
    for code in ("EN_A", "EN_B"):
        assert whole(lane, code).success
    spoil(lane, "EN_A")
    assert not run_version_checks(lane, "EN_A").success
    run = run_job(lane, "corpus_release")
    assert "EN_A: finite_and_normalised" in run.failure(RELEASE).description
    assert served(lane) == ["EN_A", "EN_B"], "what was released is not taken away"
