"""Snippets, and re-ranking by a cross-encoder, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from openai_emulator.reranking import score
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import MANUAL, Copy, vector_of, verse_text
from rag_assets_tests.api.server import EVAL, Server, environment_of, serving

KEY = "sk-test-cross"
QUERY = "the bearings of pumps"


@pytest.fixture(scope="module")
def server(
    stocked: Database,
    copied: Copy,
    tmp_path_factory: pytest.TempPathFactory,
    _emulator_process: Emulator,
) -> Iterator[Server]:
    environment = environment_of(
        copied(stocked),
        RAG_LOG_FORMAT="json",
        RAG_RERANK_URL=f"{_emulator_process.origin}/v1/rerank",
        RAG_RERANK_API="jina",
        RAG_RERANK_MODEL="cross",
        RAG_RERANK_API_KEY=KEY,
        RAG_RERANK_TIMEOUT_S="1.5",
    )
    with serving(tmp_path_factory.mktemp("cross"), environment) as running:
        yield running


def test_hits_are_reranked_from_more_candidates_unless_the_client_refuses(
    server: Server, emulator: Emulator
) -> None:
    wide = server.found(query=QUERY, top_k=32, cross_encoder=False)
    assert (wide["reranking"], wide["timing"]["reranking_ms"]) == (None, None)
    assert emulator.stats().rerankings == 0
    expected = sorted((hit["text"] for hit in wide["hits"]), key=lambda text: -score(QUERY, text))

    found = server.found(query=QUERY, top_k=3)
    assert [hit["text"] for hit in found["hits"]] == expected[:3]
    assert expected[:3] != [hit["text"] for hit in wide["hits"]][:3]
    assert [hit["relevance"] for hit in found["hits"]] == [
        score(QUERY, one) for one in expected[:3]
    ]
    assert found["reranking"] == {"outcome": "done", "model": "cross", "candidates": 32}
    assert 0 < found["timing"]["reranking_ms"] <= found["timing"]["total_ms"]
    assert (found["k_returned"], found["why_fewer"]) == (3, None)
    assert server.found(vector=vector_of(QUERY))["reranking"] is None
    best = server.http.post(EVAL, json={"corpus": "documents", "top_k": 1, "queries": [
        {"query": QUERY, "expected": ["manual.pdf"]}]}).json()  # fmt: skip
    assert (best["hit_at_k"], emulator.stats().rerankings) == (1.0, 2)


def test_a_failing_cross_encoder_leaves_the_order_and_is_counted_and_logged(
    server: Server, emulator: Emulator
) -> None:
    before = server.found(query=QUERY, top_k=5, cross_encoder=False)["hits"]
    for fault, outcome in (
        (Fault(FaultKind.HANG, key=KEY), "timeout"),
        (Fault(FaultKind.RATE_LIMIT, key=KEY), "rate-limited"),
        (Fault(FaultKind.CUT, key=KEY), "unavailable"),
        (Fault(FaultKind.MISSING_ITEMS, key=KEY), "bad-answer"),
    ):
        emulator.order(fault)
        found = server.found(query=QUERY, top_k=5)
        assert found["reranking"]["outcome"] == outcome
        assert found["hits"] == before
        assert server.metrics()[f'rag_rerankings_total{{outcome="{outcome}"}}'] == 1
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    outcomes = [line["reranking"] for line in lines if "reranking" in line]
    assert outcomes[-4:] == ["timeout", "rate-limited", "unavailable", "bad-answer"]
    (warning,) = [line for line in lines if "re-ranked" in line["message"]]
    assert (warning["level"], "no answer within 1.5 s" in warning["message"]) == ("WARNING", True)
    assert QUERY not in server.log
    assert KEY not in server.log


def test_a_hit_shows_its_passage_with_the_querys_words_marked(server: Server) -> None:
    asked = {"query": QUERY, "documents": ["manual.pdf"], "cross_encoder": False, "top_k": 1}
    (part,) = server.found(**asked)["hits"]
    assert "".join(one["text"] for one in part["snippet"]) == part["text"] == MANUAL[2]
    assert [one["text"] for one in part["snippet"] if one["match"]] == ["bearings", "pump"]
    (full,) = server.found(**asked, snippet="full", elements=True)["hits"]
    assert full["snippet"] == part["snippet"]
    assert [one["tag"] for one in full["elements"] if one["kind"] == "open"] == ["p"]
    assert [one["text"] for one in full["elements"] if one["match"]] == ["bearings", "pump"]
    assert server.found(**asked, snippet="none")["hits"][0]["snippet"] is None
    (hit,) = server.found(query="PEIXES enormes\0", books=["JON"], language="pt", top_k=1,
                          hybrid=True, cross_encoder=False)["hits"]  # fmt: skip
    assert hit["text"] == verse_text("PT_SAMPLE", "JON", 1, 17)
    assert [one["text"] for one in hit["snippet"] if one["match"]] == ["peixe", "enorme", "peixe"]
    by_vector = server.found(vector=vector_of(MANUAL[0]), corpus="documents", top_k=1)["hits"][0]
    assert by_vector["snippet"] == [{"text": MANUAL[0], "match": False}]
