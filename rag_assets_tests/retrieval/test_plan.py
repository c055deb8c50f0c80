"""Exact search or the index, depending on how many rows pass the filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.retrieval.plan import Codes, Target, choose_plan
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.code_sets import CodeSet, CodeUse, code_use
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.spaces import Space, SpaceSpec
from rag_assets.vectors.sql.tables import bible_table

TABLE = bible_table(Space(3, "small", SpaceSpec("offline", "m", 64, "vector"), 0.0))
SCOPES = {"EN_A": 40_000, "EN_B": 30_000, "PT_C": 20_000}
INDEXED = Target(TABLE, SCOPES, 7, "halfvec", Probes(4, 9, 64))
PLAIN = SearchPlan("ivfflat", 7, "halfvec", 4, 64)
FILTERED = SearchPlan("iterative", 7, "halfvec", 9, 64)


@pytest.mark.parametrize(
    ("scopes", "exact_rows", "plan"),
    [
        (["EN_A", "EN_B", "PT_C"], 50_000, PLAIN),
        (["PT_C", "EN_B", "EN_A"], 50_000, PLAIN),
        (["EN_A", "EN_B", "PT_C"], 10**9, PLAIN),
        (["EN_A"], 39_999, FILTERED),
        (["EN_A"], 40_000, EXACT),
        (["EN_A", "PT_C"], 59_999, FILTERED),
        (["EN_A", "PT_C"], 60_000, EXACT),
        (["EN_A", "EN_A"], 60_000, EXACT),
        (["PT_C"], 0, FILTERED),
        ([], 0, EXACT),
    ],
)
def test_a_filter_that_passes_few_rows_is_searched_exactly(
    scopes: list[str], exact_rows: int, plan: SearchPlan
) -> None:
    assert choose_plan(INDEXED, scopes, exact_rows=exact_rows) == plan


@pytest.mark.parametrize(
    "target",
    [
        Target(TABLE, SCOPES, None, "vector", None),
        Target(TABLE, SCOPES, None, "vector", Probes(1, 1, 1)),
        Target(TABLE, SCOPES, 7, "vector", None),
    ],
    ids=["no generation", "no generation but probes", "not tuned yet"],
)
def test_without_a_tuned_generation_everything_is_exact(target: Target) -> None:
    for scopes in (["EN_A"], list(SCOPES)):
        assert choose_plan(target, scopes, exact_rows=0) == EXACT


def test_one_version_that_is_everything_is_no_filter() -> None:
    alone = Target(TABLE, {"EN_A": 10}, 7, "halfvec", Probes(4, 9, 64))
    assert choose_plan(alone, ["EN_A"], exact_rows=50_000) == PLAIN


def test_a_version_that_may_not_be_searched_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        choose_plan(INDEXED, ["EN_X"], exact_rows=50_000)


CODES = CodeSet(1, "bible", Recipe(64, 64), "ready")


@pytest.mark.parametrize(
    ("scopes", "rows", "candidates"),
    [
        (["EN_A", "EN_B", "PT_C"], None, 100),
        (["EN_A", "EN_B"], None, 800),
        (["EN_A"], None, 400),
        (["PT_C"], None, 400),
        (["EN_A", "EN_B", "PT_C"], 40_000, 400),
        (["EN_A", "EN_B", "PT_C"], 40_001, 800),
    ],
)
def test_the_plan_over_codes_depends_on_how_many_rows_pass_the_filter(
    scopes: list[str], rows: int | None, candidates: int
) -> None:
    use = CodeUse(1, 100, 800, one_scope=400, scan_rows=0)
    coded = Target(TABLE, SCOPES, None, "vector", None, Codes(CODES, use))
    plan = choose_plan(coded, scopes, exact_rows=0, rows=rows)
    assert (plan.kind, plan.candidates) == ("codes", candidates)


def test_records_of_earlier_versions_keep_their_meaning() -> None:
    assert code_use(1, 100, None, None, 5) == CodeUse(1, 100, 100, 100, 5)
    assert code_use(1, 100, 800, None, 5) == CodeUse(1, 100, 800, 800, 5)
    assert code_use(None, None, None, None, None) is None


@given(
    st.dictionaries(st.sampled_from("ABCDEF"), st.integers(1, 1000), min_size=1),
    st.data(),
    st.integers(0, 4000),
)
def test_only_the_rows_decide_whether_a_plan_is_exact_filtered_or_plain(
    rows: dict[str, int], data: st.DataObject, exact_rows: int
) -> None:
    target = Target(TABLE, rows, 7, "halfvec", Probes(4, 9, 64))
    scopes = data.draw(st.lists(st.sampled_from(sorted(rows)), min_size=1))
    plan = choose_plan(target, scopes, exact_rows=exact_rows)
    through = sum(rows[scope] for scope in set(scopes))
    if set(scopes) == set(rows):
        assert plan == PLAIN
    else:
        assert plan == (EXACT if through <= exact_rows else FILTERED)
