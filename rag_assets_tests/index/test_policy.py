"""When an index is rebuilt, with how many lists, and why."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.index.policy import (
    CurrentIndex,
    IndexAction,
    IndexDecision,
    decide_index,
    recommended_lists,
)
from rag_assets.index.sql.generations import ListsFrom
from rag_assets.settings.index import IndexProfile

ROWS = 100_000
FEWER = "are fewer than 10,000: exact search serves"
SOUND = CurrentIndex(lists=100, lists_from="profile", rows_at_build=ROWS, changed=0)


def judged(
    rows: int = ROWS,
    current: CurrentIndex | None = SOUND,
    *,
    profile: IndexProfile = "prod",
    lists: int | None = None,
    requested: str | None = None,
) -> IndexDecision:
    return decide_index(
        rows=rows,
        current=current,
        profile=profile,
        min_rows=10_000,
        growth=0.2,
        lists=lists,
        requested=requested,
    )


@pytest.mark.parametrize(
    ("rows", "lists"),
    [
        (0, 64),
        (31_102, 64),
        (64_499, 64),
        (64_501, 65),
        (310_000, 310),
        (1_000_000, 1000),
        (1_000_001, 1000),
        (4_000_000, 2000),
        (16_000_000, 4000),
        (16_100_000, 4000),
        (10**9, 4000),
    ],
)
def test_lists_follow_the_rule_of_thumb_within_64_and_4000(rows: int, lists: int) -> None:
    assert recommended_lists(rows, "prod") == lists
    assert recommended_lists(rows, "dev") == 64


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_more_rows_never_ask_for_fewer_lists(rows: int, more: int) -> None:
    fewer, greater = recommended_lists(rows, "prod"), recommended_lists(rows + more, "prod")
    assert 64 <= fewer <= greater <= 4000


@pytest.mark.parametrize(
    ("changed", "action"),
    [
        (0, IndexAction.KEEP),
        (20_000, IndexAction.KEEP),
        (20_001, IndexAction.BUILD),
        (300_000, IndexAction.BUILD),
    ],
)
def test_more_than_the_share_of_rows_must_have_changed(changed: int, action: IndexAction) -> None:
    decision = judged(current=replace(SOUND, changed=changed))
    assert decision.action is action
    assert "rows changed since the build" in decision.reasons[0]
    assert re.search(r"limit (of )?20%", decision.reasons[0])


@pytest.mark.parametrize(
    ("current", "action"),
    [
        (49, IndexAction.BUILD),
        (50, IndexAction.KEEP),
        (150, IndexAction.KEEP),
        (151, IndexAction.BUILD),
    ],
)
@pytest.mark.parametrize("lists_from", ["profile", "asked", "measured"])
def test_lists_far_from_the_recommendation_are_rebuilt_unless_they_were_chosen(
    current: int, action: IndexAction, lists_from: ListsFrom
) -> None:
    decision = judged(current=replace(SOUND, lists=current, lists_from=lists_from))
    if lists_from == "profile":
        assert decision.action is action
        if action is IndexAction.BUILD:
            assert decision.lists == 100
            assert decision.reasons == (
                f"lists {current}, but 100 are recommended for 100,000 rows",
            )
    else:
        assert decision.action is IndexAction.KEEP
        assert decision.lists == current


@pytest.mark.parametrize("passed", [True, None])
def test_evidence_that_passes_or_is_missing_rebuilds_nothing(passed: bool | None) -> None:
    current = replace(SOUND, recall_ok=passed, latency_ok=passed)
    assert judged(current=current).action is IndexAction.KEEP


def test_a_failed_check_calls_for_another_build() -> None:
    assert judged(current=replace(SOUND, recall_ok=False)) == IndexDecision(
        IndexAction.BUILD, 100, ("the recall check failed",)
    )
    assert judged(current=replace(SOUND, latency_ok=False)) == IndexDecision(
        IndexAction.BUILD, 100, ("the latency check failed",)
    )


def test_every_reason_is_named() -> None:
    worst = CurrentIndex(10, "profile", ROWS, ROWS, recall_ok=False, latency_ok=False)
    decision = judged(current=worst)
    assert decision.action is IndexAction.BUILD
    assert decision.reasons == (
        "100,000 rows changed since the build on 100,000, more than the limit of 20%",
        "lists 10, but 100 are recommended for 100,000 rows",
        "the recall check failed",
        "the latency check failed",
    )


def test_keeping_says_why() -> None:
    assert judged(current=replace(SOUND, changed=1_234)) == IndexDecision(
        IndexAction.KEEP,
        100,
        ("1.2% of the rows changed since the build (limit 20%), lists 100 suit 100,000 rows",),
    )


@pytest.mark.parametrize(
    ("rows", "decision"),
    [
        (9_999, IndexDecision(IndexAction.EXACT, 0, (f"9,999 rows {FEWER}",))),
        (10_000, IndexDecision(IndexAction.BUILD, 64, ("first build",))),
    ],
)  # fmt: skip
def test_below_the_minimum_rows_no_index_is_built(rows: int, decision: IndexDecision) -> None:
    assert judged(rows, None) == decision


def test_a_table_that_shrank_below_the_minimum_rows_is_searched_exactly() -> None:
    worst = replace(SOUND, changed=ROWS, recall_ok=False)
    assert judged(9_999, worst).action is IndexAction.EXACT


@pytest.mark.parametrize("current", [None, SOUND])
@pytest.mark.parametrize("rows", [1, 9_999, ROWS])
def test_a_requested_build_is_never_postponed(rows: int, current: CurrentIndex | None) -> None:
    assert judged(rows, current, requested="forced", lists=7) == IndexDecision(
        IndexAction.BUILD, 7, ("forced",)
    )


def test_an_empty_table_is_never_built_whatever_is_requested() -> None:
    assert judged(0, None, requested="forced").action is IndexAction.EXACT
    nothing = decide_index(rows=0, current=None, profile="dev", min_rows=0, growth=0.2)
    assert nothing.action is IndexAction.EXACT, "also where RAG_INDEX_MIN_ROWS is 0"


def test_lists_from_the_setting_override_the_profile() -> None:
    assert judged(ROWS, None, lists=333) == IndexDecision(IndexAction.BUILD, 333, ("first build",))
    assert judged(current=SOUND, lists=300).action is IndexAction.BUILD


def test_a_generation_built_on_nothing_is_judged_without_dividing_by_zero() -> None:
    built_on_nothing = replace(SOUND, rows_at_build=0, changed=ROWS)
    assert judged(current=built_on_nothing).action is IndexAction.BUILD


in_forces = st.none() | st.builds(
    CurrentIndex,
    lists=st.integers(1, 4000),
    lists_from=st.sampled_from(["profile", "asked", "measured"]),
    rows_at_build=st.integers(0, 10**7),
    changed=st.integers(0, 10**7),
    recall_ok=st.none() | st.booleans(),
    latency_ok=st.none() | st.booleans(),
)


@given(
    st.integers(0, 10**7),
    in_forces,
    st.sampled_from(["dev", "prod"]),
    st.none() | st.integers(1, 4000),
    st.none() | st.just("forced"),
)
def test_a_decision_always_has_reasons_and_lists_that_fit_its_action(
    rows: int,
    current: CurrentIndex | None,
    profile: IndexProfile,
    lists: int | None,
    requested: str | None,
) -> None:
    decision = judged(rows, current, profile=profile, lists=lists, requested=requested)
    assert decision.reasons
    assert all(decision.reasons)
    match decision.action:
        case IndexAction.EXACT:
            assert decision.lists == 0
            assert rows < 10_000
        case IndexAction.KEEP:
            assert current is not None
            assert decision.lists == current.lists
            assert current.recall_ok is not False
        case IndexAction.BUILD:
            assert decision.lists == (lists or recommended_lists(rows, profile))
