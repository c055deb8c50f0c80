"""The gate passes a release only with complete, fresh and passing evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.release.evidence import SpaceEvidence
from rag_assets.release.gate import Reason
from rag_assets.release.refusal import Automation, grouped
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.served import ReleasedSpace
from rag_assets_tests.release.evidence import (
    MAX_AGE,
    PROBES,
    ROWS,
    SUBJECT,
    changed_index,
    index,
    judged,
    only_reason,
    passing,
    release_of,
    result,
    space,
    version,
    with_index_result,
    with_result,
    with_space,
    with_version,
)

EVERY_VERSION_CHECK = pytest.mark.parametrize("check", QUALITY_CHECKS)
EVERY_INDEX_CHECK = pytest.mark.parametrize("check", INDEX_CHECKS)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_complete_fresh_and_passing_evidence_passes_the_gate(exact: bool, large: bool) -> None:
    verdict = judged(passing(exact=exact, large=large))
    assert verdict.passed
    assert verdict.reasons == ()
    assert verdict.versions == ("EN_A", "EN_B")
    assert verdict.left_out == {}
    small, *others = verdict.spaces
    assert small == ReleasedSpace(
        "bible", "small", 1, None if exact else 7, None if exact else PROBES
    )
    assert others == ([ReleasedSpace("bible", "large", 2, None, None)] if large else [])
    assert verdict.content["versions"]["EN_A"] == {  # type: ignore[index]
        "rows": ROWS,
        "revisions": {"small": 3, "large": 3} if large else {"small": 3},
    }


@EVERY_VERSION_CHECK
@pytest.mark.parametrize("role", ["small", "large"])
def test_a_version_that_was_never_checked_is_refused(check: str, role: str) -> None:
    without = with_result(passing(large=True), "EN_A", check, None, role)  # type: ignore[arg-type]
    assert only_reason(judged(without)) == Reason(
        "EN_A", check, "missing", f"{role}: it was never checked"
    )


@EVERY_VERSION_CHECK
@pytest.mark.parametrize("revision", [2, 4, 0])
def test_a_check_that_saw_other_data_is_stale(check: str, revision: int) -> None:
    stale = result(check, subject="EN_A", revision=revision)
    reason = only_reason(judged(with_result(passing(), "EN_A", check, stale)))
    assert (reason.check, reason.kind) == (check, "stale")
    assert reason.sentence == "small: the data changed since it was checked"


@EVERY_VERSION_CHECK
def test_a_failed_check_gives_each_of_its_reasons(check: str) -> None:
    failed = result(check, subject="EN_A", revision=3, reasons=("one thing", "another"))
    verdict = judged(with_result(passing(), "EN_A", check, failed))
    assert verdict.reasons == (
        Reason("EN_A", check, "failed", "small: one thing"),
        Reason("EN_A", check, "failed", "small: another"),
    )
    assert str(verdict.reasons[0]) == f"EN_A: {check}: small: one thing"


def test_a_fault_found_by_a_check_and_still_present_is_one_reason_with_a_fix() -> None:
    gone = "2 of 100 verses have no vector (GEN 1:1: no vector)"
    evidence = passing()
    failed = result("completeness", subject="EN_A", revision=3, reasons=(gone, "another"))
    evidence = with_result(evidence, "EN_A", "completeness", failed)
    (found,) = (one for one in evidence.versions if one.code == "EN_A")
    faulty = replace(found.spaces["small"], faults={"completeness": gone})
    verdict = judged(with_space(evidence, "EN_A", faulty))
    assert [reason.sentence for reason in verdict.reasons] == [
        f"small: {gone}",
        "small: another",
    ]


@pytest.mark.parametrize(
    ("age", "passes"),
    [
        (timedelta(0), True),
        (MAX_AGE, True),
        (MAX_AGE + timedelta(microseconds=1), False),
        (timedelta(days=7), False),
    ],
)
def test_a_result_may_be_as_old_as_the_setting_allows_and_no_older(
    age: timedelta, passes: bool
) -> None:
    of_version = result("completeness", subject="EN_A", revision=3, age=age)
    verdict = judged(with_result(passing(), "EN_A", "completeness", of_version))
    assert verdict.passed is passes
    measured = {"versions": ["EN_A", "EN_B"], "probes": 4, "filtered_probes": 9}
    of_index = result("recall_at_10", subject=SUBJECT, revision=7, measured=measured, age=age)
    assert judged(with_index_result(passing(), "recall_at_10", of_index)).passed is passes
    if not passes:
        hours = age.total_seconds() / 3600
        assert only_reason(verdict) == Reason(
            "EN_A",
            "completeness",
            "stale",
            f"small: checked {hours:.0f} hours ago, more than 24",
        )


def test_a_result_that_is_failed_stale_and_old_gives_all_three_reasons() -> None:
    worst = result(
        "freshness", subject="EN_A", revision=1, reasons=("bad",), age=timedelta(hours=48)
    )
    verdict = judged(with_result(passing(), "EN_A", "freshness", worst))
    assert [reason.kind for reason in verdict.reasons] == ["failed", "stale", "stale"]


def test_nothing_embedded_with_the_settings_model_is_refused() -> None:
    nothing = replace(passing(), spaces={}, tables={}, versions=(), index=None)
    assert only_reason(judged(nothing)) == Reason(
        "release", "vectors", "missing", "nothing is embedded with the settings' model"
    )


@pytest.mark.parametrize("exact", [True, False])
def test_a_missing_decision_on_the_index_is_refused(exact: bool) -> None:
    undecided = changed_index(passing(exact=exact), decision=None, generation=None, results={})
    assert only_reason(judged(undecided)) == Reason(
        "index", "decision", "missing", "there is no decision on an index yet"
    )


@pytest.mark.parametrize("exact", [True, False])
def test_a_decision_on_earlier_data_is_stale(exact: bool) -> None:
    evidence = passing(exact=exact)
    assert evidence.index is not None
    assert evidence.index.decision is not None
    earlier = replace(evidence.index.decision, revision=6)
    assert only_reason(judged(changed_index(evidence, decision=earlier))) == Reason(
        "index", "decision", "stale", "vectors changed since it was decided on"
    )


def test_a_missing_index_is_refused() -> None:
    gone = changed_index(passing(), generation=None, probes=None)
    assert only_reason(judged(gone)) == Reason(
        "index", "decision", "failed", "the index of generation 7 is gone or invalid"
    )


@EVERY_INDEX_CHECK
@pytest.mark.parametrize("exact", [True, False])
def test_an_index_check_that_is_missing_stale_or_failed_is_refused(check: str, exact: bool) -> None:
    evidence = passing(exact=exact)
    missing = only_reason(judged(with_index_result(evidence, check, None)))
    assert missing == Reason("index", check, "missing", "it was never checked")

    assert evidence.index is not None
    good = evidence.index.results[check]
    stale = only_reason(judged(with_index_result(evidence, check, replace(good, revision=6))))
    assert stale == Reason("index", check, "stale", "the data changed since it was checked")
    bad = replace(good, passed=False, reasons=("too slow",))
    assert only_reason(judged(with_index_result(evidence, check, bad))) == Reason(
        "index", check, "failed", "too slow"
    )


@pytest.mark.parametrize("probes", [Probes(5, 9, 64), Probes(4, 10, 64), Probes(2, 2, 64)])
def test_checks_of_other_probes_than_a_search_would_read_are_stale(probes: Probes) -> None:
    verdict = judged(changed_index(passing(), probes=probes))
    assert [reason.check for reason in verdict.reasons] == list(INDEX_CHECKS)
    assert {reason.kind for reason in verdict.reasons} == {"stale"}
    assert verdict.reasons[0].sentence == (
        f"it judged 4 probes, a search would read {probes.plain}"
    )


@EVERY_INDEX_CHECK
def test_a_check_of_other_versions_than_may_be_served_now_is_stale(check: str) -> None:
    more = with_version(passing(), version("EN_C", revision=9))
    verdict = judged(more)
    assert check in [reason.check for reason in verdict.reasons]
    assert {reason.kind for reason in verdict.reasons} == {"stale"}
    fewer = with_version(passing(), version("EN_B", revision=4, withheld="ai_allowed is false"))
    assert check in [reason.check for reason in judged(fewer).reasons]


@pytest.mark.parametrize("why", ["enabled_for_rag is false", "RAG_ALLOWED_VERSIONS leaves it out"])
@pytest.mark.parametrize("leave_out_failing", [True, False])
def test_a_version_that_policy_withholds_is_left_out_whatever_its_checks_say(
    why: str, leave_out_failing: bool
) -> None:
    withheld = version("EN_B", revision=4, withheld=why)
    evidence = with_result(with_version(passing(), withheld), "EN_B", "completeness", None)
    verdict = judged(
        replace(evidence, index=index(7, ("EN_A",))), leave_out_failing=leave_out_failing
    )
    assert verdict.passed
    assert verdict.versions == ("EN_A",)
    assert verdict.left_out == {"EN_B": why}
    assert "EN_B" not in verdict.content["versions"]  # type: ignore[operator]


def test_a_version_that_was_never_embedded_is_left_out() -> None:
    new = replace(version("EN_C", revision=0), spaces={"small": SpaceEvidence(0, None, {})})
    verdict = judged(with_version(passing(), new))
    assert verdict.passed
    assert verdict.versions == ("EN_A", "EN_B")
    assert verdict.left_out == {"EN_C": "not embedded yet"}


def test_a_served_version_must_not_be_missing_from_a_new_space() -> None:
    evidence = replace(passing(), active=release_of(judged(passing())))
    empty = with_space(evidence, "EN_A", SpaceEvidence(0, None, {}))
    verdict = judged(replace(empty, index=index(7, ("EN_B",))))
    assert only_reason(verdict) == Reason(
        "EN_A",
        "completeness",
        "missing",
        "it is served now and has no vectors in offline/m halfvec(64)",
    )
    chosen = judged(replace(empty, index=index(7, ("EN_B",))), leave_out_failing=True)
    assert chosen.passed
    assert chosen.versions == ("EN_B",)
    assert "it is served now and has no vectors" in chosen.left_out["EN_A"]


def test_a_partly_filled_large_space_is_not_released_and_does_not_refuse() -> None:
    partly = with_space(passing(large=True), "EN_B", SpaceEvidence(0, None, {}), "large")
    verdict = judged(partly)
    assert verdict.passed
    assert [found.role for found in verdict.spaces] == ["small"]
    assert verdict.versions == ("EN_A", "EN_B")


def test_a_large_space_is_judged_for_versions_with_vectors_in_it() -> None:
    one_row = replace(space("EN_B", revision=4, rows=1), results={})
    verdict = judged(with_space(passing(large=True), "EN_B", one_row, "large"))
    assert [reason.check for reason in verdict.reasons] == list(QUALITY_CHECKS)
    assert all(reason.sentence.startswith("large: ") for reason in verdict.reasons)


@pytest.mark.parametrize("leave_out_failing", [True, False])
def test_a_failing_version_refuses_the_release_unless_it_may_be_left_out(
    leave_out_failing: bool,
) -> None:
    failed = result("completeness", subject="EN_A", revision=3, reasons=("2 of 100 missing",))
    evidence = with_result(passing(), "EN_A", "completeness", failed)
    verdict = judged(evidence, leave_out_failing=leave_out_failing)
    assert verdict.passed is leave_out_failing
    assert verdict.versions == ("EN_B",)
    assert verdict.left_out == ({"EN_A": "small: 2 of 100 missing"} if leave_out_failing else {})


def test_leaving_out_versions_never_passes_a_bad_index() -> None:
    evidence = passing()
    assert evidence.index is not None
    bad = replace(evidence.index.results["recall_at_10"], passed=False, reasons=("low",))
    verdict = judged(with_index_result(evidence, "recall_at_10", bad), leave_out_failing=True)
    assert only_reason(verdict).subject == "index"


@pytest.mark.parametrize("versions", ["none", "withheld", "failing"])
def test_an_empty_release_is_refused(versions: str) -> None:
    evidence = replace(passing(), versions=(), index=index(7, ()))
    if versions == "withheld":
        evidence = with_version(evidence, version("EN_A", revision=3, withheld="no"))
    if versions == "failing":
        evidence = with_version(evidence, version("EN_A", revision=3))
        evidence = with_result(evidence, "EN_A", "freshness", None)
        evidence = replace(evidence, index=index(7, ("EN_A",)))
    assert only_reason(judged(evidence, leave_out_failing=True)) == Reason(
        "release", "versions", "missing", "there is no version that may be served"
    )


def test_after_a_rollback_nothing_is_released_until_an_operator_confirms() -> None:
    evidence = replace(passing(), rolled_back=12)
    reason = only_reason(judged(evidence))
    assert (reason.subject, reason.check, reason.kind) == ("release", "rolled_back", "failed")
    assert "rag-assets release activate 12" in reason.sentence
    (fix,) = grouped([reason], Automation())
    assert fix.command == "`rag-assets release activate --after-rollback`"
    later = changed_index(evidence, generation=replace(_generation(), number=8))
    assert only_reason(judged(later)).check == "rolled_back", "in whatever company"
    assert judged(later, after_rollback=True).passed


def test_re_ranking_is_not_lost_silently() -> None:
    whole = passing(large=True)
    verdict = judged(whole)
    assert {space.role for space in verdict.spaces} == {"small", "large"}
    evidence = replace(whole, active=release_of(verdict))
    lacking = with_space(evidence, "EN_B", SpaceEvidence(0, None, {}), "large")
    reason = only_reason(judged(lacking))
    assert (reason.subject, reason.check, reason.kind) == ("EN_B", "large_vectors", "missing")
    assert judged(replace(lacking, active=None)).passed


def test_re_ranking_is_no_reason_if_no_version_lacks_large_vectors() -> None:
    whole = passing(large=True)
    evidence = replace(whole, active=release_of(judged(whole)))
    for code in ("EN_A", "EN_B"):
        evidence = with_result(evidence, code, "freshness", None)
    checks = {reason.check for reason in judged(evidence).reasons}
    assert checks == {"freshness"}


def _generation() -> object:
    found = passing().index
    assert found is not None
    return found.generation


def test_the_served_content_is_unchanged_and_any_difference_is_detected() -> None:
    same = replace(passing(), active=release_of(judged(passing())))
    assert judged(same).unchanged
    assert judged(same).passed
    written = with_space(same, "EN_A", space("EN_A", revision=5))
    assert not judged(written).unchanged
    assert not judged(replace(same, versions=same.versions[:1])).unchanged
    assert not judged(passing()).unchanged
