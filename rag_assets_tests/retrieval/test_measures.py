"""Measures of rankings, against figures computed by hand and against trec_eval."""

from __future__ import annotations

import math
import random

import pytest

from rag_assets.retrieval.measures import Mean, Measures, mean, means, measures


def test_a_ranking_is_measured_as_by_hand() -> None:
    found = measures(["x", "b", "y", "a"], {"a": 1, "b": 2, "c": 1, "z": 0})
    gain = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found == Measures(0.0, 1.0, 0.5, pytest.approx(gain / ideal), pytest.approx(2 / 3))
    assert measures([], {"a": 1}) == Measures(0, 0, 0, 0, 0)
    assert measures(["a"], {"a": 1}) == Measures(1, 1, 1, 1, 1)
    late = measures([*map(str, range(10)), "a"], {"a": 1})
    assert late == Measures(0, 0, 0, 0, 1)


def test_trec_eval_has_the_same_figures() -> None:
    ir = pytest.importorskip("ir_measures")
    wanted = [ir.Success @ 1, ir.Success @ 10, ir.RR @ 10, ir.nDCG @ 10, ir.R @ 100]
    rng = random.Random(3)
    for _ in range(50):
        documents = [f"d{number}" for number in range(200)]
        relevant = {key: rng.randrange(4) for key in rng.sample(documents, 20)} | {"d0": 1}
        ranked = rng.sample(documents, rng.choice([3, 50, 150]))
        judged = [ir.Qrel("q", key, grade) for key, grade in relevant.items()]
        run = [ir.ScoredDoc("q", key, -rank) for rank, key in enumerate(ranked)]
        found = {one.measure: one.value for one in ir.iter_calc(wanted, judged, run)}
        ours = measures(ranked, relevant)
        assert [found[one] for one in wanted] == pytest.approx(
            [ours.hit_at_1, ours.hit_at_10, ours.mrr_at_10, ours.ndcg_at_10, ours.recall_at_100]
        )


def test_a_mean_has_an_interval_that_narrows_with_the_queries() -> None:
    assert mean([0.5]) == Mean(0.5, 0.0)
    few, many = mean([0, 1] * 10), mean([0, 1] * 1000)
    assert few.value == many.value == 0.5
    assert many.half == pytest.approx(1.96 * 0.5 / math.sqrt(2000), rel=1e-3)
    assert few.half > 9 * many.half
    assert str(many) == "0.500 ± 0.022"
    ones = [Measures(1, 1, 1, 1, 1)] * 2
    assert means(ones)["ndcg_at_10"] == Mean(1.0, 0.0)
