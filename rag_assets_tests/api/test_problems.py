"""Every refusal is a problem, says what to do, and reveals nothing internal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy, vector_of
from rag_assets_tests.api.server import (
    EVAL,
    RETRIEVE,
    Server,
    environment_of,
    serving,
    wait_until,
)

PREFIX = "urn:rag-assets:problem:"


def problem_of(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem in a response, with all of its fields."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == PREFIX + kind
    assert found["title"] == kind.replace("-", " ")
    assert found["status"] == status
    assert found["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    return found


def test_a_vector_of_the_wrong_dimension_names_both(server: Server) -> None:
    found = problem_of(server.retrieve(vector=[0.1] * 65), 422, "wrong-dimension")
    assert found["field"] == "vector"
    assert "65 dimensions" in found["detail"]
    assert "64 (offline/" in found["detail"]


def test_query_and_vector_exclude_each_other_and_one_is_needed(server: Server) -> None:
    both = problem_of(server.retrieve(query="a", vector=[0.1] * 64), 422, "query-or-vector")
    assert both["detail"] == "give query or vector, not both"
    neither = problem_of(server.retrieve(top_k=3), 422, "query-or-vector")
    assert neither["detail"] == "give query, or a vector in the space of the active release"
    problem_of(server.http.get(RETRIEVE), 422, "query-or-vector")
    problem_of(server.retrieve(query=" \t\n"), 422, "query-or-vector")


def test_an_unknown_version_suggests_the_nearest_names(server: Server) -> None:
    found = problem_of(server.retrieve(query="a", versions=["EN_SIMPLE"]), 422, "unknown-version")
    assert found["choices"][0] == "EN_SAMPLE"
    assert "It has, for example, EN_SAMPLE" in found["detail"]
    far = problem_of(server.retrieve(query="a", versions=["QQQ"]), 422, "unknown-version")
    assert far["choices"] == ["EN_SAMPLE", "PT_SAMPLE"]


def test_an_unknown_book_suggests_the_nearest_names(server: Server) -> None:
    found = problem_of(server.retrieve(query="a", books=["Salmoss"]), 422, "unknown-book")
    assert "Salmos" in found["choices"]
    assert found["field"] == "books"


def test_an_unknown_language_names_the_existing_ones(server: Server) -> None:
    found = problem_of(server.retrieve(query="a", language="el"), 422, "unknown-language")
    assert found["choices"] == ["en", "pt"]
    nowhere = server.retrieve(query="a", language="pt", versions=["EN_SAMPLE"])
    problem_of(nowhere, 422, "unknown-language")


def test_chapters_in_the_wrong_order_are_reported(server: Server) -> None:
    found = server.retrieve(query="a", chapter_from=4, chapter_to=2)
    assert "4, is after the last, 2" in problem_of(found, 422, "bad-chapters")["detail"]


@pytest.mark.parametrize("asked", [{"corpus": "documents"}, {"documents": ["minutes.pdf"]}])
def test_documents_are_not_released_here(server: Server, asked: dict[str, object]) -> None:
    problem_of(server.retrieve(query="a", **asked), 422, "no-documents")


@pytest.mark.parametrize(
    "body",
    [
        {"query": "a", "top_k": 0},
        {"query": "a", "top_k": 101},
        {"query": "a", "top_k": "10"},
        {"query": "a", "top_k": True},
        {"query": "a", "top_k": 2.5},
        {"query": "a", "topk": 5},
        {"query": 7},
        {"query": "a" * 8001},
        {"query": "a", "corpus": "The Koran"},
        {"query": "a", "versions": []},
        {"query": "a", "versions": "EN_SAMPLE"},
        {"query": "a", "versions": [None]},
        {"query": "a", "min_score": 1.5},
        {"query": "a", "hybrid": "yes"},
        {"query": "a", "chapter_from": 0},
        {"vector": []},
        {"vector": ["1"] * 64},
        {"vector": [True] * 64},
        {"vector": [[1.0]] * 64},
        {"vector": [0.1] * 4001},
        {"vector": {"0": 1}},
        {"\ud800": 1, "query": "a"},
        [],
        "query",
        None,
    ],
)
def test_an_invalid_body_names_the_field(server: Server, body: object) -> None:
    answer = server.http.post(
        RETRIEVE, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    found = problem_of(answer, 422, "invalid-request")
    assert found["faults"][0]["field"]
    assert found["faults"][0]["message"]


@pytest.mark.parametrize("component", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_vector_that_is_not_of_finite_numbers_is_refused(server: Server, component: str) -> None:
    answer = server.http.post(
        RETRIEVE,
        content=f'{{"vector": [{component}, {", ".join(["0.1"] * 63)}]}}',
        headers={"Content-Type": "application/json"},
    )
    found = problem_of(answer, 422, "invalid-request")
    assert found["faults"][0]["field"] == "vector.0"


@pytest.mark.parametrize("vector", [[0.0] * 64, [1e200] * 64])
def test_a_vector_without_a_direction_is_refused(server: Server, vector: list[float]) -> None:
    problem_of(server.retrieve(vector=vector), 422, "no-direction")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{'query': 1}", b"\xff\xfe", b'{"query": "\xff"}', b"[" * 100_000],
    ids=["empty", "open", "not JSON", "not UTF-8", "not UTF-8 within", "deep"],
)
def test_a_body_that_is_not_json_is_reported(server: Server, content: bytes) -> None:
    answer = server.http.post(
        RETRIEVE, content=content, headers={"Content-Type": "application/json"}
    )
    if content:
        problem_of(answer, 400, "not-json")
    else:
        problem_of(answer, 422, "invalid-request")


def test_an_unknown_path_or_method_is_a_problem_too(server: Server) -> None:
    problem_of(server.http.get("/nowhere"), 404, "not-found")
    problem_of(server.http.post("/api/v1/ai/rag"), 404, "not-found")
    refused = server.http.delete(RETRIEVE)
    problem_of(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET, POST"
    problem_of(server.http.get(EVAL), 405, "method-not-allowed")


@pytest.mark.slow
def test_a_version_that_policy_withdraws_is_refused_within_seconds(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(bilingual)
    with serving(tmp_path, environment_of(database)) as server:
        assert server.retrieve(query="a", versions=["PT_SAMPLE"]).status_code == 200
        with database.connect() as connection:
            connection.execute(
                "UPDATE bible_versions SET ai_allowed = false WHERE version_code = 'PT_SAMPLE'"
            )
        wait_until(lambda: server.retrieve(query="a", versions=["PT_SAMPLE"]).status_code == 403)
        found = server.retrieve(query="a", versions=["PT_SAMPLE"])
        detail = problem_of(found, 403, "version-withheld")["detail"]
        assert "PT_SAMPLE may not be served" in detail
        hits = server.found(query="o pastor", top_k=100)["hits"]
        assert {hit["version"] for hit in hits} == {"EN_SAMPLE"}


@pytest.mark.slow
def test_only_the_allowed_versions_are_served(
    bilingual: Database, copied: Copy, tmp_path: Path
) -> None:
    environment = environment_of(copied(bilingual), RAG_ALLOWED_VERSIONS="EN_SAMPLE")
    with serving(tmp_path, environment) as server:
        problem_of(
            server.retrieve(vector=vector_of("a"), versions=["PT_SAMPLE"]), 403, "version-withheld"
        )
        hits = server.found(vector=vector_of("o pastor"), top_k=100)["hits"]
        assert {hit["version"] for hit in hits} == {"EN_SAMPLE"}


@pytest.mark.slow
def test_while_nothing_is_released_the_service_is_not_ready(
    template_database: Database, copied: Copy, tmp_path: Path
) -> None:
    environment = environment_of(copied(template_database))
    with serving(tmp_path, environment, ready="/healthz") as server:
        for answer in (server.retrieve(query="a"), server.http.get("/readyz")):
            found = problem_of(answer, 503, "nothing-released")
            assert "rag-assets bible add" in found["detail"]
            assert int(answer.headers["retry-after"]) >= 1
