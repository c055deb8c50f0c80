"""Verdicts from counts, at each boundary."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.bible.quality import VERSE_WORDS
from rag_assets.vectors.quality import QUALITY_CHECKS, QualityVerdict, SpaceQuality, judge_quality
from rag_assets.vectors.sql.faults import FaultCounts
from rag_assets.vectors.sql.spaces import Role, Space, SpaceSpec
from rag_assets.vectors.sql.tables import bible_table

FAULTS = {
    "dimension_consistency": "wrong_dimension",
    "completeness": "missing",
    "freshness": "stale",
    "finite_and_normalised": "wrong_norm",
}
GOOD = FaultCounts(10, 10, 0, 0, 0, 0, {})


def of(counts: FaultCounts, role: Role = "small") -> SpaceQuality:
    spec = SpaceSpec("openai", f"model-{role}", 8, "halfvec")
    return SpaceQuality(bible_table(Space(1, role, spec, 0.0)), counts, VERSE_WORDS)


def failing(verdicts: tuple[QualityVerdict, ...]) -> dict[str, tuple[str, ...]]:
    return {verdict.check: verdict.failures for verdict in verdicts if verdict.failures}


def test_without_fault_every_check_passes_in_its_order() -> None:
    verdicts = judge_quality([of(GOOD), of(GOOD, "large")])
    assert verdicts == tuple(QualityVerdict(check, (), ()) for check in QUALITY_CHECKS)


@pytest.mark.parametrize(
    ("counts", "check", "sentence"),
    [
        (
            replace(GOOD, embedded=9, missing=1),
            "completeness",
            "small: 1 of 10 verses have no vector in openai/model-small halfvec(8)",
        ),
        (replace(GOOD, rows=0, embedded=0), "completeness", "small: the version has no verses"),
        (
            replace(GOOD, stale=1),
            "freshness",
            "small: 1 vectors belong to an earlier text: materialize verse_embeddings",
        ),
        (
            replace(GOOD, wrong_dimension=1),
            "dimension_consistency",
            "small: 1 vectors of model-small have another dimension than 8",
        ),
        (
            replace(GOOD, wrong_norm=1),
            "finite_and_normalised",
            "small: 1 vectors are not finite or not of norm 1",
        ),
    ],
)
def test_one_fault_fails_its_own_check_only(counts: FaultCounts, check: str, sentence: str) -> None:
    found = {fault: (f"GEN 1:1: {fault}",) for fault in FAULTS.values()}
    with_example = replace(counts, examples=found)
    verdicts = judge_quality([of(with_example), of(GOOD, "large")])
    assert failing(verdicts) == {check: (sentence,)}
    (verdict,) = (verdict for verdict in verdicts if verdict.check == check)
    assert verdict.examples == (f"small: GEN 1:1: {FAULTS[check]}",)


def test_both_spaces_are_judged() -> None:
    stale = replace(GOOD, stale=2)
    (sentences_found,) = failing(judge_quality([of(stale), of(stale, "large")])).values()
    assert [sentence.split(":")[0] for sentence in sentences_found] == ["small", "large"]


@pytest.mark.parametrize("spaces", [[], [of(GOOD, "large")]])
def test_nothing_counted_is_a_failure_of_every_check(spaces: list[SpaceQuality]) -> None:
    found = failing(judge_quality(spaces))
    assert set(found) == set(QUALITY_CHECKS)
    assert set(found.values()) == {("no vector was ever stored in the small space",)}


@given(
    st.builds(
        FaultCounts,
        rows=st.integers(0, 5),
        embedded=st.integers(0, 5),
        missing=st.integers(0, 5),
        stale=st.integers(0, 5),
        wrong_dimension=st.integers(0, 5),
        wrong_norm=st.integers(0, 5),
        examples=st.just({}),
    )
)
def test_all_pass_if_and_only_if_there_are_verses_and_no_fault(counts: FaultCounts) -> None:
    faults = counts.missing + counts.stale + counts.wrong_dimension + counts.wrong_norm
    assert (failing(judge_quality([of(counts)])) == {}) == (counts.rows > 0 and faults == 0)
