"""The asset ``release`` obeys the evidence, even when launched alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from rag_assets.defs.dagster_private import AUTOMATION_TAG
from rag_assets.index.checks import INDEX_CHECKS
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Failed, Lane, MakeLane, Run
from rag_assets_tests.defs.releasing import (
    INDEX,
    RELEASE,
    VERSION_CHECKS,
    release_alone,
    release_lane,
    releases,
    run_job,
    run_version_checks,
    served,
    spoil,
)
from rag_assets_tests.release.corpus import vouch


@pytest.fixture
def ready(make_lane: MakeLane) -> Lane:
    """Two versions embedded and checked, with an index that has passed its checks."""
    lane = release_lane(make_lane)
    for code in ("EN_A", "EN_B"):
        lane.drop(code, sentences(20, word=code))
        assert lane.run(code, config={"small_only": True}).success
    assert run_job(lane, "corpus_index", only=[INDEX]).success
    vouch(lane.corpus.database, lane.corpus.settings)
    return lane


def embed_without_checks(lane: Lane, code: str) -> None:
    """Load and embed a version; nothing is checked."""
    run = run_job(
        lane,
        "bible_embeddings",
        partition=code,
        config={"verse_embeddings": {"small_only": True}},
        only=["verses", "verse_embeddings"],
    )
    assert run.success
    assert run.checks() == {}


def refused(run: Run) -> tuple[Failed, list[str]]:
    """The failure of ``release`` and its reasons, one a line of its metadata."""
    assert not run.success
    failure = run.failure(RELEASE)
    assert failure.metadata["error_class"] == "GateRefusedError"
    assert failure.metadata["may_pass_later"] is False
    reasons = str(failure.metadata["reasons"]).splitlines()
    assert failure.metadata["reason_count"] == len(reasons)
    assert all(reason.removeprefix("- ") in failure.description for reason in reasons)
    return failure, reasons


def test_the_automation_releases_no_other_model_than_the_one_that_is_served(
    ready: Lane, make_lane: MakeLane
) -> None:
    assert release_alone(ready).success
    other = release_lane(make_lane, rag_embedding_small_dimensions=80)
    automatic = run_job(other, "corpus_release", only=[RELEASE], tags={AUTOMATION_TAG: "true"})
    assert automatic.success
    told = automatic.metadata(RELEASE)
    assert (told["release"], told["changed"]) == (1, False)
    assert releases(ready) == [(1, "active")], "nor is a refusal recorded"
    refused(release_alone(other))


def test_a_correct_corpus_is_released_and_the_metadata_shows_what_is_served(ready: Lane) -> None:
    run = release_alone(ready)
    assert run.success
    told = run.metadata(RELEASE)
    assert (told["release"], told["before"], told["changed"]) == (1, "none", True)
    assert (told["versions"], told["left_out"]) == ("EN_A, EN_B", "none")
    assert told["searched"] == "exactly"
    assert set(told["manifest"]["content"]["versions"]) == {"EN_A", "EN_B"}
    assert ready.rows("SELECT run_id, state FROM releases") == [(run.run_id, "active")]


def test_releasing_again_reports_no_change(ready: Lane) -> None:
    release_alone(ready)
    told = release_alone(ready).metadata(RELEASE)
    assert (told["release"], told["before"], told["changed"]) == (1, "1", False)
    assert releases(ready) == [(1, "active")]


def test_a_release_through_an_index_names_generation_and_probes(make_lane: MakeLane) -> None:
    # The sentences differ by a number: an index of four lists may lose some of their fragments.
    lane = release_lane(make_lane, rag_index_min_rows=1)
    lane.drop("EN_A", sentences(40))
    assert lane.run("EN_A", config={"small_only": True}).success
    run = run_job(lane, "corpus_release")
    assert run.success
    assert run.materialized() == [INDEX, "retrieval_quality", RELEASE]
    told = run.metadata(RELEASE)
    assert told["searched"] == "index generation 1"
    assert told["probes"] == run.metadata(INDEX)["probes"]


@pytest.mark.parametrize("subject", ["a version", "the index"])
def test_every_missing_check_is_a_reason(make_lane: MakeLane, subject: str) -> None:
    lane = release_lane(make_lane)
    lane.drop("EN_A", sentences(5))
    if subject == "a version":
        embed_without_checks(lane, "EN_A")
        run_job(lane, "corpus_index")
        due = [f"- EN_A: {name}: small: it was never checked" for name in VERSION_CHECKS]
    else:
        lane.run("EN_A", config={"small_only": True})
        run_job(lane, "corpus_index", only=[INDEX])
        due = [f"- index: {name}: it was never checked" for name in INDEX_CHECKS]
    reasons = refused(release_alone(lane))[1]
    assert len(reasons) == len(due)
    for start in due:
        assert [reason for reason in reasons if reason.startswith(start)], start
    assert served(lane) == []
    assert releases(lane) == [(1, "refused")]


def test_an_empty_corpus_is_refused(make_lane: MakeLane) -> None:
    reasons = refused(release_alone(release_lane(make_lane)))[1]
    assert reasons == ["- release: vectors: nothing is embedded with the settings' model"]


def test_a_blocking_check_of_the_index_stops_the_release_of_the_same_run_and_of_later_ones(
    ready: Lane, make_lane: MakeLane
) -> None:
    golden = release_lane(make_lane, rag_golden_queries=Path("nowhere/golden.toml"))
    run = run_job(golden, "corpus_release")
    assert run.failed_checks() == ["golden_queries"]
    assert run.materialized() == [INDEX]
    assert releases(golden) == []

    (reason,) = refused(release_alone(golden))[1]
    assert reason.startswith("- index: golden_queries: nowhere/golden.toml is not there: write")
    assert served(golden) == []


def test_a_version_that_was_tampered_with_is_refused_after_its_checks_ran(ready: Lane) -> None:
    assert release_alone(ready).success
    spoil(ready, "EN_B")
    assert run_version_checks(ready, "EN_B").failed_checks() == ["finite_and_normalised"]
    (reason,) = refused(release_alone(ready))[1]
    assert reason.startswith(
        "- EN_B: finite_and_normalised: small: 1 vectors are not finite or not of norm 1 (GEN 1:1: "
    )
    assert served(ready) == ["EN_A", "EN_B"]
    assert releases(ready) == [(1, "active"), (2, "refused")]


def test_data_that_changed_after_the_checks_is_refused_until_it_was_checked_again(
    ready: Lane,
) -> None:
    ready.drop("EN_A", ["In another beginning", *sentences(19, word="EN_A")])
    embed_without_checks(ready, "EN_A")
    reasons = refused(release_alone(ready))[1]
    told = "small: the data changed since it was checked"
    for name in VERSION_CHECKS:
        assert f"- EN_A: {name}: {told}" in reasons
    for name in INDEX_CHECKS:
        assert [reason for reason in reasons if reason.startswith(f"- index: {name}: the data")]
    assert "- index: decision: vectors changed since it was decided on" in ("\n".join(reasons))
    assert len(reasons) == len(VERSION_CHECKS) + len(INDEX_CHECKS) + 1

    assert ready.run("EN_A", config={"small_only": True}).success
    assert run_job(ready, "corpus_release").success
    assert served(ready) == ["EN_A", "EN_B"]


def test_texts_that_changed_and_were_not_embedded_again_are_refused(ready: Lane) -> None:
    ready.drop("EN_A", ["In another beginning", *sentences(19, word="EN_A")])
    assert ready.run("EN_A", job="bible_verses").success
    run = run_job(ready, "corpus_release")
    assert run.materialized() == [INDEX, "retrieval_quality"]
    reasons = refused(run)[1]
    assert {reason.split(":")[0] for reason in reasons} == {"- EN_A"}


def test_evidence_that_is_too_old_is_refused(ready: Lane) -> None:
    with ready.corpus.database.connect() as connection:
        connection.execute("UPDATE check_results SET evaluated_at = now() - interval '8 days'")
    reasons = refused(release_alone(ready))[1]
    assert len(reasons) == 2 * len(VERSION_CHECKS) + len(INDEX_CHECKS)
    assert all("checked 192 hours ago, more than 168" in reason for reason in reasons)


def test_a_failing_version_keeps_only_itself_out_when_the_launchpad_says_so(ready: Lane) -> None:
    spoil(ready, "EN_B")
    run_version_checks(ready, "EN_B")
    assert not release_alone(ready).success
    assert not release_alone(ready, leave_out_failing=False).success
    told = release_alone(ready, leave_out_failing=True).metadata(RELEASE)
    assert told["versions"] == "EN_A"
    assert told["left_out"].startswith(
        "- EN_B: small: 1 vectors are not finite or not of norm 1 (GEN 1:1: "
    )
    assert served(ready) == ["EN_A"]


def test_the_setting_leaves_out_and_the_launchpad_can_say_otherwise(
    ready: Lane, make_lane: MakeLane
) -> None:
    spoil(ready, "EN_B")
    run_version_checks(ready, "EN_B")
    lenient = release_lane(make_lane, rag_release_leave_out_failing=True)
    assert not release_alone(lenient, leave_out_failing=False).success
    assert release_alone(lenient).success
    assert served(lenient) == ["EN_A"]


def test_a_refusal_is_not_retried(ready: Lane) -> None:
    spoil(ready, "EN_A")
    run_version_checks(ready, "EN_A")
    with pytest.raises(dg.Failure) as raised:
        ready.defs().resolve_job_def("corpus_release").execute_in_process(
            instance=ready.instance, asset_selection=[dg.AssetKey(RELEASE)]
        )
    assert raised.value.allow_retries is False
