"""The metrics of all workers together, in Prometheus' text format."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import (
    METRICS,
    RETRIEVE,
    Server,
    environment_of,
    serving,
    wait_until,
)

pytestmark = pytest.mark.long

VECTOR = [1.0] + [0.0] * 63
BUSY = 'rag_pool_connections{state="busy"}'
IDLE = 'rag_pool_connections{state="idle"}'


@pytest.fixture(scope="module")
def pair(
    bilingual: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service with two workers."""
    folder = tmp_path_factory.mktemp("pair")
    with serving(folder, environment_of(copied(bilingual)), workers=2) as running:
        yield running


def ask(server: Server, **body: object) -> httpx.Response:
    """On a new connection, so that any worker may accept it."""
    return httpx.post(server.origin + RETRIEVE, json=body, trust_env=False, timeout=30)


def counted(server: Server, *, status: int, corpus: str = "both", plan: str) -> float:
    """The counter of requests."""
    labels = f'corpus="{corpus}",plan="{plan}",status="{status}"'
    return server.metrics().get(f"rag_retrieve_total{{{labels}}}", 0)


def test_requests_are_counted_over_both_workers_whichever_is_asked(pair: Server) -> None:
    before = counted(pair, status=200, plan="ivfflat")
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ask(pair, vector=VECTOR), range(30)))
    assert [answer.status_code for answer in answers] == [200] * 30
    for _ in range(6):  # on new connections, so that both workers get some
        text = httpx.get(pair.origin + METRICS, trust_env=False).text
        (value,) = re.findall(
            r'rag_retrieve_total\{corpus="both",plan="ivfflat",status="200"\} (\S+)', text
        )
        assert float(value) == before + 30


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        ({"vector": VECTOR, "corpus": "bible"}, {"status": 200, "corpus": "bible",
                                                 "plan": "ivfflat"}),
        ({"vector": VECTOR, "language": "en"}, {"status": 200, "plan": "iterative"}),
        ({"vector": VECTOR, "books": ["PHM"]}, {"status": 200, "plan": "exact"}),
        ({"vector": VECTOR, "books": ["?"]}, {"status": 422, "plan": "none"}),
        ({"vector": "?"}, {"status": 422, "corpus": "none", "plan": "none"}),
        ({"query": "x" * 2_000_000}, {"status": 413, "corpus": "none", "plan": "none"}),
    ],
)  # fmt: skip
def test_each_answer_is_counted_by_status_corpus_and_plan(
    pair: Server, body: dict[str, object], labels: dict[str, object]
) -> None:
    before = counted(pair, **labels)  # type: ignore[arg-type]
    assert ask(pair, **body).status_code == labels["status"]
    assert counted(pair, **labels) == before + 1  # type: ignore[arg-type]


def test_a_single_worker_counts_too(server: Server) -> None:
    before = counted(server, status=200, plan="ivfflat")
    assert server.retrieve(vector=VECTOR).status_code == 200
    assert counted(server, status=200, plan="ivfflat") == before + 1


def test_latency_is_reported_in_total_and_by_stage_and_resolves_the_objective(pair: Server) -> None:
    ask(pair, vector=VECTOR)
    metrics = pair.metrics()
    for stage in ("total", "search", "embedding"):
        assert metrics[f'rag_retrieve_latency_seconds_count{{stage="{stage}"}}'] >= 1
        assert metrics[f'rag_retrieve_latency_seconds_sum{{stage="{stage}"}}'] >= 0
    bounds = sorted(
        float(found.group(1))
        for name in metrics
        if (found := re.match(r'rag_retrieve_latency_seconds_bucket{le="([\d.]+)".*"total"', name))
    )
    place = bounds.index(0.25)
    assert bounds[place + 1] - bounds[place - 1] <= 0.0501
    whole = metrics['rag_retrieve_latency_seconds_sum{stage="total"}']
    assert whole >= metrics['rag_retrieve_latency_seconds_sum{stage="search"}']


def test_the_hits_returned_are_a_histogram(pair: Server) -> None:
    def below(bound: str) -> float:
        return pair.metrics().get(f'rag_retrieve_k_returned_bucket{{le="{bound}"}}', 0)

    before = below("2.0"), below("5.0")
    ask(pair, vector=VECTOR, top_k=4)
    assert (below("2.0"), below("5.0")) == (before[0], before[1] + 1)


def test_the_release_and_the_pools_of_both_workers_are_shown(pair: Server) -> None:
    metrics = pair.metrics()
    assert metrics["rag_served_release"] == 1
    assert metrics["rag_pool_waiting"] == 0
    for _ in range(8):  # until both workers have been scraped
        httpx.get(pair.origin + METRICS, trust_env=False)
    assert pair.metrics()[IDLE] >= 2
    assert pair.metrics()[BUSY] >= 0


def test_every_metric_has_a_type_and_a_help_text(pair: Server) -> None:
    answer = pair.http.get(METRICS)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    helped = set(re.findall(r"# HELP (\S+) \S", answer.text))
    typed = set(re.findall(r"# TYPE (\S+) (?:counter|gauge|histogram)", answer.text))
    assert helped == typed
    assert {
        "rag_retrieve_total", "rag_retrieve_latency_seconds", "rag_retrieve_k_returned",
        "rag_pool_connections", "rag_pool_waiting", "rag_served_release",
    } <= typed  # fmt: skip


def test_the_databases_metrics_are_included_and_nothing_is_repeated(
    pair: Server,
) -> None:
    text = pair.http.get(METRICS).text
    names = re.findall(r"# TYPE (\S+) ", text)
    assert sorted(names) == sorted(set(names))
    samples = re.findall(r"^([^#\n].*) \S+$", text, re.MULTILINE)
    assert len(samples) == len(set(samples))
    metrics = pair.metrics()
    assert metrics["rag_active_release"] == metrics["rag_served_release"] == 1
    assert metrics["inprogress_index_builds"] == 0
    assert metrics['rag_database_up{database="corpus"}'] == 1
    assert metrics['rag_queue_length{lane="rag_processing"}'] == 0


@pytest.mark.slow
def test_while_the_database_is_down_the_api_reports_it_and_keeps_its_own_metrics(
    corpus: Database, tmp_path: Path
) -> None:
    environment = environment_of(corpus, RAG_METRICS_CACHE_S=0)
    with serving(tmp_path, environment) as server:
        ask(server, vector=VECTOR)
        with corpus.named("postgres").connect(autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {corpus.name} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (corpus.name,),
            )
            away = server.metrics()
            connection.execute(f"ALTER DATABASE {corpus.name} ALLOW_CONNECTIONS true")
        assert away['rag_database_up{database="corpus"}'] == 0
        assert away['rag_retrieve_total{corpus="both",plan="ivfflat",status="200"}'] == 1
        assert 'rag_queue_length{lane="rag_processing"}' not in away
        assert server.metrics()['rag_database_up{database="corpus"}'] == 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_counters_stay(
    bilingual: Database,
    copied: Copy,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environment = environment_of(copied(bilingual))
    with serving(tmp_path_factory.mktemp("killed"), environment, workers=2) as server:
        for _ in range(20):
            ask(server, vector=VECTOR)
            httpx.get(server.origin + METRICS, trust_env=False)
        idle = server.metrics()[IDLE]
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.log.count("startup complete") >= 3)
        server.http.close()
        server.http = httpx.Client(base_url=server.origin, trust_env=False, timeout=30)
        assert counted(server, status=200, plan="ivfflat") == 20
        for _ in range(8):
            httpx.get(server.origin + METRICS, trust_env=False)
        assert server.metrics()[IDLE] <= idle
        assert ask(server, vector=VECTOR).status_code == 200
