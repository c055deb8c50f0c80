"""Evaluations: many queries with expected references, and their results."""

from __future__ import annotations

from typing import Any

import pytest

from rag_assets_tests.api.conftest import verse_text
from rag_assets_tests.api.server import EVAL, Server
from rag_assets_tests.api.test_problems import problem_of

PLACES = (("RUT", 1, 16), ("JON", 2, 1), ("PSA", 23, 2))


def evaluate(server: Server, **body: object) -> dict[str, Any]:
    """Its answer."""
    answer = server.http.post(EVAL, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    found: dict[str, Any] = answer.json()
    return found


def own_texts() -> list[dict[str, object]]:
    """Verses as queries, each of which must find its own verse."""
    return [
        {
            "query": verse_text("EN_SAMPLE", book, chapter, verse),
            "expected": [f"{book} {chapter}:{verse}"],
        }
        for book, chapter, verse in PLACES
    ]


def test_verses_rank_first_for_their_own_text(server: Server) -> None:
    found = evaluate(server, queries=own_texts(), top_k=5, language="en")
    assert (found["queries"], found["expecting"]) == (3, 3)
    assert (found["hit_at_k"], found["coverage"], found["release"]) == (1, 1, 1)
    assert 0 < found["p50_ms"] <= found["p95_ms"]
    for (book, chapter, verse), result in zip(PLACES, found["results"], strict=True):
        assert result["found_at"] == 1
        assert result["hits"][0] == f"{book} {chapter}:{verse}"
        assert len(result["hits"]) == 5
        assert result["latency_ms"] > 0


def test_what_is_not_found_counts_against_it(server: Server) -> None:
    wrong = {"query": verse_text("EN_SAMPLE", "RUT", 1, 16), "expected": ["PSA 150:6"]}
    found = evaluate(server, queries=[*own_texts(), wrong], top_k=1, versions=["EN_SAMPLE"])
    assert found["hit_at_k"] == 0.75
    assert found["results"][3]["found_at"] is None


def test_without_expectations_there_is_no_hit_rate(server: Server) -> None:
    found = evaluate(server, queries=[{"query": "a great fish"}, {"query": "um peixe"}])
    assert (found["queries"], found["expecting"], found["hit_at_k"]) == (2, 0, None)
    assert found["coverage"] == 1


def test_an_evaluation_searches_like_a_search(server: Server) -> None:
    query = "peixes"
    found = evaluate(
        server, queries=[{"query": query}], top_k=7, language="pt", hybrid=True, collapse=True
    )
    searched = server.found(query=query, top_k=7, language="pt", hybrid=True, collapse=True)
    assert found["results"][0]["hits"] == [hit["usfm"] for hit in searched["hits"]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"queries": []}, "invalid-request"),
        ({"queries": [{"query": ""}]}, "invalid-request"),
        ({"queries": [{"query": "a"}, {"query": " "}]}, "no-query"),
        ({"queries": [{"query": "a", "expect": ["RUT 1:1"]}]}, "invalid-request"),
        ({"queries": [{"query": "a"}] * 1001}, "invalid-request"),
        ({"queries": [{"query": "a"}], "versions": ["NO"]}, "unknown-version"),
        ({"queries": [{"query": "a"}], "top_k": 101}, "invalid-request"),
    ],
)
def test_an_evaluation_that_cannot_be_done_is_a_problem(
    server: Server, body: dict[str, object], kind: str
) -> None:
    problem_of(server.http.post(EVAL, json=body), 422, kind)
