"""The gate on any evidence: a missing piece refuses, and every reason is reported."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.release.evidence import Evidence
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets_tests.release.evidence import (
    AT,
    MAX_AGE,
    TABLES,
    changed_index,
    judged,
    only_reason,
    passing,
    result,
    with_index_result,
    with_result,
)

pieces = st.sampled_from(
    [
        *(
            (code, role, check)
            for code in ("EN_A", "EN_B")
            for role in TABLES
            for check in QUALITY_CHECKS
        ),
        *(("index", "", check) for check in (*INDEX_CHECKS, "decision")),
    ]
)


def without(evidence: Evidence, piece: tuple[str, str, str]) -> Evidence:
    """A copy without one piece."""
    subject, role, check = piece
    if check == "decision":
        return changed_index(evidence, decision=None)
    if subject == "index":
        return with_index_result(evidence, check, None)
    return with_result(evidence, subject, check, None, role)  # type: ignore[arg-type]


@given(pieces, st.booleans())
def test_removing_any_one_piece_of_evidence_refuses(
    piece: tuple[str, str, str], exact: bool
) -> None:
    verdict = judged(without(passing(exact=exact, large=True), piece))
    reason = only_reason(verdict)
    assert (reason.subject, reason.check, reason.kind) == (piece[0], piece[2], "missing")


@given(st.sets(pieces.filter(lambda piece: piece[2] != "decision")), st.booleans())
def test_the_verdict_lists_every_reason(
    spoilt: set[tuple[str, str, str]], leave_out_failing: bool
) -> None:
    evidence = passing(large=True)
    for piece in spoilt:
        evidence = without(evidence, piece)
    verdict = judged(evidence, leave_out_failing=leave_out_failing)
    reported = {(reason.subject, reason.check) for reason in verdict.reasons}
    due = {(subject, check) for subject, _, check in spoilt}
    failing = {subject for subject, _ in due} - {"index"}
    if not leave_out_failing:
        assert reported == due
        assert len(verdict.reasons) == len(spoilt)
        assert verdict.passed is (not spoilt)
    else:
        assert set(verdict.left_out) == failing
        assert reported - {("release", "versions")} == {one for one in due if one[0] == "index"}
        assert verdict.passed is (not reported)
    assert set(verdict.versions) == {"EN_A", "EN_B"} - failing


@given(
    st.sampled_from(["EN_A", "EN_B"]),
    st.sampled_from(sorted(QUALITY_CHECKS)),
    st.integers(0, 10),
    st.integers(0, 72),
    st.booleans(),
)
def test_a_version_is_served_only_if_recent_results_passed_on_this_data(
    code: str, check: str, revision: int, hours: int, passed: bool
) -> None:
    found = result(
        check,
        subject=code,
        revision=revision,
        reasons=() if passed else ("bad",),
        age=timedelta(hours=hours),
    )
    verdict = judged(with_result(passing(), code, check, found))
    now = {"EN_A": 3, "EN_B": 4}[code]
    assert verdict.passed is (passed and revision == now and timedelta(hours=hours) <= MAX_AGE)
    assert found.evaluated_at <= AT
