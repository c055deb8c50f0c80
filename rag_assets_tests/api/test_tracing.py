"""Traces of requests and runs, as a collector receives them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets import tracing
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.settings.model import Settings
from rag_assets_tests.api.collector import Collector, Received, collecting
from rag_assets_tests.api.conftest import Copy, corpus_settings
from rag_assets_tests.api.server import (
    RETRIEVE,
    Server,
    command,
    environment_of,
    serving,
    wait_until,
)
from rag_assets_tests.api.test_mcp import called, over_http
from rag_assets_tests.conftest import SAMPLES

pytestmark = pytest.mark.long

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
QUERY = "a great fish swallowed Jonah"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def environment(
    bought: Database, copied: Copy, _emulator_process: Emulator, collector: Collector
) -> dict[str, str]:
    return environment_of(
        copied(bought),
        RAG_EMBEDDING_PROVIDER="openai",
        OPENAI_BASE_URL=_emulator_process.base_url,
        OPENAI_API_KEY="sk-test-one",
        RAG_RERANK_URL=f"{_emulator_process.origin}/rerank",
        RAG_RERANK_API="tei",
        RAG_RERANK_MODEL="cross",
        RAG_RERANK_API_KEY="sk-test-cross",
        RAG_OTLP_ENDPOINT=collector.address,
        OTEL_BSP_SCHEDULE_DELAY=200,
    )


@pytest.fixture(scope="module")
def traced(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("traced"), environment) as running:
        yield running


def received(collector: Collector, trace: str, name: str) -> dict[str, Received]:
    """The spans of a trace once that name, which ends last, is among them."""
    wait_until(lambda: name in collector.of_trace(trace), failure=lambda: str(collector.spans))
    return collector.of_trace(trace)


def test_a_request_is_part_of_its_clients_trace_and_the_providers_of_it(
    traced: Server, collector: Collector, emulator: Emulator
) -> None:
    body = {"query": QUERY, "hybrid": True, "corpus": "bible", "cross_encoder": False}
    answer = traced.retrieve(headers={"traceparent": PARENT}, **body)
    assert answer.status_code == 200, answer.text
    trace = PARENT.split("-")[1]
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == trace
    spans = received(collector, trace, f"POST {RETRIEVE}")
    root = spans[f"POST {RETRIEVE}"]
    assert root.parent == PARENT.split("-")[2]
    assert root.service == "rag_assets-api"
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["rag_assets.request_id"] == trace

    embeddings = [span for span in collector.spans if span.name.startswith("embeddings ")]
    assert {span.trace for span in embeddings} == {trace}
    for span in embeddings:
        assert span.attributes["gen_ai.operation.name"] == "embeddings"
        assert span.name == f"embeddings {span.attributes['gen_ai.request.model']}"
        assert span.attributes["gen_ai.usage.input_tokens"] > 0
        assert span.attributes["server.address"] == "127.0.0.1"
    passed = emulator.stats().traceparent.split("-")
    assert passed[1] == trace
    assert passed[2] in {span.span for span in embeddings}

    retrieval = spans["retrieval bible"]
    assert retrieval.parent == root.span
    assert retrieval.attributes["gen_ai.operation.name"] == "retrieval"
    assert retrieval.attributes["gen_ai.request.top_k"] == 10
    assert retrieval.attributes["rag_assets.release"] == 1
    assert retrieval.attributes["rag_assets.plan"] == answer.json()["plan"]["kind"]
    for stage in ("nearest bible", "full_text bible"):
        assert spans[stage].parent == retrieval.span
        assert spans[stage].attributes["db.system.name"] == "postgresql"
    assert "fish" not in str([span.attributes for span in collector.spans])


def test_reranking_is_a_span_of_its_own_also_when_it_fails(
    traced: Server, collector: Collector, emulator: Emulator
) -> None:
    for fault, outcome in ((None, "done"), (FaultKind.RATE_LIMIT, "rate-limited")):
        if fault:
            emulator.order(Fault(fault, key="sk-test-cross"))
        answer = traced.retrieve(query=QUERY).json()
        assert answer["reranking"]["outcome"] == outcome
        spans = received(collector, answer["request_id"], f"POST {RETRIEVE}")
        span = spans["rerank cross"]
        assert span.parent == spans[f"POST {RETRIEVE}"].span
        assert span.attributes["gen_ai.request.model"] == "cross"
        assert span.attributes["rag_assets.candidates"] == 32
        assert span.attributes.get("error.type") == (outcome if fault else None)
        assert span.failed == bool(fault)
        assert emulator.stats().traceparent.split("-")[1:3] == [span.trace, span.span]


def test_without_a_clients_trace_the_request_id_is_the_new_traces(
    traced: Server, collector: Collector
) -> None:
    answer = traced.retrieve(query=QUERY)
    spans = received(collector, answer.json()["request_id"], f"POST {RETRIEVE}")
    assert spans[f"POST {RETRIEVE}"].parent == ""
    assert "embeddings text-embedding-3-small" not in spans  # its vector is cached

    named = traced.retrieve(
        headers={"X-Request-ID": "mine", "traceparent": "nonsense"}, query=QUERY
    )
    assert named.json()["request_id"] == "mine"
    wait_until(lambda: any(s.attributes.get("rag_assets.request_id") == "mine"
                           for s in collector.spans))  # fmt: skip
    traced.http.get("/readyz")
    assert not [span for span in collector.spans if "readyz" in span.name]


def test_a_failure_is_named_by_its_class_alone(
    traced: Server, collector: Collector, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.UNAVAILABLE))
    answer = traced.retrieve(query="something new")
    emulator.clear_faults()
    assert answer.status_code == 502, answer.text
    spans = received(collector, answer.json()["request_id"], f"POST {RETRIEVE}")
    root = spans[f"POST {RETRIEVE}"]
    assert (root.failed, root.attributes["error.type"]) == (True, str(answer.status_code))
    (embeddings,) = (span for span in spans.values() if span.name.startswith("embeddings "))
    assert embeddings.attributes["error.type"] == "ProviderUnavailableError"
    assert embeddings.failed


def test_a_tool_call_is_a_span_with_the_search_below_it(
    traced: Server, collector: Collector
) -> None:
    async def search() -> str:
        async with over_http(traced.origin, "") as client:
            return str((await called(client, "search", query=QUERY))["request_id"])

    spans = received(collector, asyncio.run(search()), "POST /mcp")
    tool = spans["execute_tool search"]
    assert tool.attributes["gen_ai.tool.name"] == "search"
    assert tool.parent == spans["POST /mcp"].span
    assert spans["retrieval both"].parent == tool.span
    assert {span.name.split(" ")[0] for span in spans.values()} == {
        *("POST", "execute_tool", "retrieval", "nearest", "rerank"),
    }


def test_reranking_is_a_stage_of_a_search(
    bilingual: Database, copied: Copy, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_provider", "_tracer"):
        monkeypatch.setattr(tracing, name, None)
    database = copied(bilingual)
    settings = corpus_settings(database, rag_otlp_endpoint=collector.address)
    tracing.set_up(settings, "in-process")
    search_text(database, settings, QUERY, SearchRequest(rerank=True))
    tracing.flush()
    spans = {span.name: span for span in collector.spans if span.service == "in-process"}
    assert spans["rerank bible"].parent == spans["retrieval bible"].span
    assert spans["retrieval bible"].attributes["rag_assets.rerank"] is True


def test_the_steps_of_a_run_are_one_trace(
    environment: dict[str, str], collector: Collector, tmp_path: Path
) -> None:
    more = {
        "RAG_BIBLES_DIR": str(SAMPLES),
        "RAG_HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path),
    }
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    ran = subprocess.run(
        command("bible", "embed", "EN_SAMPLE", "--limit", "3", "--json"),
        env=environment | more, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (row,) = json.loads(ran.stdout)  # its check fails for the other verses
    run_id = row["run_id"]
    runs = [span for span in collector.spans if span.service == "rag_assets-runs"]
    assert {span.trace for span in runs} == {uuid.UUID(run_id).hex}
    steps = {span.name: span for span in runs if span.attributes.get("dagster.run_id") == run_id}
    assert {"verses", "verse_embeddings"} <= set(steps)
    embeddings = [span for span in runs if span.name == "embeddings text-embedding-3-small"]
    assert steps["verse_embeddings"].span in {span.parent for span in embeddings}
    assert steps["verse_embeddings"].attributes["dagster.partition"] == "EN_SAMPLE"
    assert steps["verse_embeddings"].attributes["dagster.job"] == "bible_embeddings"


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    settings = Settings(_env_file=None, rag_otlp_endpoint="http://127.0.0.1:4318")
    with pytest.raises(ConfigurationError, match=r"install rag-assets\[telemetry\]"):
        tracing.set_up(settings, "rag_assets-api")
