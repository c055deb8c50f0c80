"""Results of evaluated queries, and their summary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.retrieval.evaluation import evaluated, evaluation_summary


@pytest.mark.parametrize(
    ("expected", "hits", "found_at"),
    [
        (["RUT 1:16"], ["RUT 1:16"], 1),
        (["RUT 1:16"], ["RUT 1:1", "RUT 1:16", "RUT 1:16"], 2),
        (["RUT 1:16", "RUT 1:17"], ["RUT 1:17", "RUT 1:16"], 1),
        (["RUT 1:16"], ["RUT 1:1", "RUT 11:6", "RUT 1:160"], None),
        (["RUT 4:19"], ["RUT 4:18-20"], 1),
        (["RUT 4:18"], ["RUT 4:18-20"], 1),
        (["RUT 4:21"], ["RUT 4:18-20"], None),
        (["1CO 13:4"], ["1CO 13:3-4"], 1),
        (["RUT 1:16"], [], None),
        ([], ["RUT 1:16"], None),
    ],
)
def test_a_query_is_a_hit_if_any_expected_reference_is_found(
    expected: list[str], hits: list[str], found_at: int | None
) -> None:
    assert evaluated("q", expected, hits, 1.0).found_at == found_at


def test_the_summary_counts_only_queries_that_expect_something() -> None:
    results = [
        evaluated("a", ["RUT 1:1"], ["RUT 1:1", "RUT 1:2"], 10),
        evaluated("b", ["RUT 1:1"], ["RUT 1:2"], 20),
        evaluated("c", [], ["RUT 1:2", "RUT 1:3"], 30),
    ]
    found = evaluation_summary(results, top_k=2)
    assert (found.queries, found.expecting, found.hit_at_k) == (3, 2, 0.5)
    assert found.coverage == pytest.approx(2 / 3)
    assert (found.p50_ms, found.p95_ms) == (20, 29)


def test_an_empty_evaluation_has_a_summary() -> None:
    found = evaluation_summary([], top_k=10)
    assert (found.queries, found.expecting, found.hit_at_k, found.coverage) == (0, 0, None, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.floats(0, 1e6)), min_size=1))
def test_shares_are_between_0_and_1_and_percentiles_are_ordered(
    drawn: list[tuple[bool, int, float]],
) -> None:
    results = [
        evaluated("q", ["RUT 1:1"] if expects else [], ["RUT 1:1"] * count, latency)
        for expects, count, latency in drawn
    ]
    found = evaluation_summary(results, top_k=10)
    assert 0 <= found.coverage <= 1
    assert found.hit_at_k is None or 0 <= found.hit_at_k <= 1
    latencies = [latency for _, _, latency in drawn]
    assert min(latencies) <= found.p50_ms <= found.p95_ms <= max(latencies)
