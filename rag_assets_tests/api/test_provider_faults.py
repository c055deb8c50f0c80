"""Provider failures: the response to each, and that cached queries still work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import RETRIEVE, Server, environment_of, free_port, serving
from rag_assets_tests.api.test_problems import problem_of

pytestmark = pytest.mark.long

KNOWN = "the river that runs"
VECTOR = [1.0] + [0.0] * 63


def environment(database: Database, base_url: str, **extra: object) -> dict[str, str]:
    """The environment of a service that embeds queries there."""
    given: dict[str, object] = {
        "RAG_EMBEDDING_PROVIDER": "openai",
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "sk-test-one",
        "RAG_QUERY_TIMEOUT_S": 1,
    }
    return environment_of(database, **(given | extra))


@pytest.fixture(scope="module")
def buying(
    bought: Database,
    copied: Copy,
    _emulator_process: Emulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A service that has embedded one query."""
    _emulator_process.reset()
    folder = tmp_path_factory.mktemp("buying")
    with serving(folder, environment(copied(bought), _emulator_process.base_url)) as running:
        running.found(query=KNOWN)
        yield running


@pytest.mark.parametrize(
    ("fault", "status", "kind", "counted"),
    [
        (Fault(FaultKind.RATE_LIMIT, retry_after_s=7), 503, "provider-busy", "rate-limited"),
        (Fault(FaultKind.INSUFFICIENT_QUOTA), 502, "provider-refuses", "refused"),
        (Fault(FaultKind.SERVER_ERROR), 502, "provider-unavailable", "unavailable"),
        (Fault(FaultKind.UNAVAILABLE), 502, "provider-unavailable", "unavailable"),
        (Fault(FaultKind.CUT), 502, "provider-unavailable", "unavailable"),
        (Fault(FaultKind.LATENCY, latency_ms=2500), 504, "provider-timeout", "unavailable"),
        (Fault(FaultKind.HANG), 504, "provider-timeout", "unavailable"),
        (Fault(FaultKind.WRONG_DIMENSION), 502, "provider-answer", "refused"),
        (Fault(FaultKind.NAN), 502, "provider-answer", "refused"),
        (Fault(FaultKind.MISSING_ITEMS), 502, "provider-answer", "refused"),
        (Fault(FaultKind.WRONG_MODEL), 502, "provider-answer", "refused"),
        (Fault(FaultKind.POISON, text="new"), 422, "query-rejected", "refused"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else "",
)
def test_a_failing_provider_is_reported_and_counted_and_cached_queries_do_not_need_it(
    buying: Server, emulator: Emulator, fault: Fault, status: int, kind: str, counted: str
) -> None:
    name = f'rag_provider_errors_total{{kind="{counted}"}}'
    before = buying.metrics().get(name, 0)
    emulator.order(fault)
    query = f"a new query at the time of {fault.kind.value}"
    answer = buying.retrieve(query=query)
    found = problem_of(answer, status, kind)
    assert "sk-test" not in answer.text
    assert query not in found["detail"]
    if kind == "provider-busy":
        assert answer.headers["retry-after"] == "7"
        assert "A request with a vector needs no provider" in found["detail"]
    assert buying.metrics()[name] == before + 1
    assert buying.found(query=KNOWN)["hits"]
    assert buying.found(vector=VECTOR)["hits"]
    emulator.clear_faults()
    assert emulator.stats().requests == 1


def test_after_a_failure_the_same_query_is_requested_again(
    buying: Server, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.SERVER_ERROR))
    query = "asked twice, answered once"
    assert buying.retrieve(query=query).status_code == 502
    assert buying.retrieve(query=query).status_code == 200


def test_a_slow_provider_does_not_delay_requests_that_do_not_need_it(
    buying: Server, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=800, times=1))
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(
            httpx.post,
            buying.origin + RETRIEVE,
            json={"query": "a slow question"},
            trust_env=False,
            timeout=30,
        )
        while not slow.done():
            assert buying.found(vector=VECTOR)["hits"]
            assert buying.found(query=KNOWN)["hits"]
        assert slow.result().status_code == 200


def test_without_large_vectors_reranking_says_so(buying: Server) -> None:
    problem_of(buying.retrieve(query=KNOWN, rerank=True), 422, "no-large-space")


@pytest.mark.slow
def test_without_a_key_a_vector_is_needed_and_cached_queries_are_answered(
    bought: Database, copied: Copy, tmp_path: Path, emulator: Emulator
) -> None:
    database = copied(bought)
    with serving(tmp_path, environment(database, emulator.base_url)) as server:
        server.found(query=KNOWN)
    without = environment(database, emulator.base_url)
    del without["OPENAI_API_KEY"]
    with serving(tmp_path, without) as server:
        found = problem_of(server.retrieve(query="something new"), 503, "no-provider-key")
        assert "OPENAI_API_KEY" in found["detail"]
        assert "A request with a vector needs no provider" in found["detail"]
        assert server.found(query=KNOWN)["hits"]
        assert server.found(vector=VECTOR)["hits"]
        metrics = server.metrics()
    assert metrics['rag_provider_errors_total{kind="no-key"}'] == 1
    assert metrics['rag_cache_hits_total{level="database"}'] == 1


@pytest.mark.slow
def test_an_unreachable_provider_is_a_bad_gateway(
    bought: Database, copied: Copy, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    with serving(tmp_path, environment(copied(bought), nowhere)) as server:
        found = problem_of(server.retrieve(query="anything"), 502, "provider-unavailable")
        assert "OPENAI_BASE_URL" in found["detail"]


@pytest.mark.slow
def test_a_limited_key_leaves_the_query_to_the_next_one(
    bought: Database, copied: Copy, tmp_path: Path, emulator: Emulator
) -> None:
    rotating = environment(
        copied(bought),
        emulator.base_url,
        OPENAI_API_KEYS="sk-test-one,sk-test-two",
        USE_API_KEY_ROTATION="true",
    )
    emulator.order(Fault(FaultKind.RATE_LIMIT, key="sk-test-one", times=5))
    with serving(tmp_path, rotating) as server:
        assert server.found(query="by the second key")["hits"]
    assert emulator.stats().requests == 2
