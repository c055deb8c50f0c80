"""A share of the searches is repeated exactly in the background, and their recall is exported."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rag_assets.api.live_recall import LiveRecallSampler
from rag_assets.postgres.database import Database
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.live_recall import Recalled, recalled, repeated
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult
from rag_assets.retrieval.sql.live_recall import LiveRecall
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets_tests.api.conftest import vector_of, verse_text
from rag_assets_tests.api.server import EVAL, Server, environment_of, serving, wait_until
from rag_assets_tests.vectors.vectors import count_rows

REQUEST = SearchRequest(text="a")
IVFFLAT = SearchPlan("ivfflat", 1, probes=1)


def result(*scores: float, plan: SearchPlan = IVFFLAT, first: int = 0) -> SearchResult:
    """Hits with these scores; equal numbers from ``first`` on are the same verses."""
    hits = tuple(
        Hit(place + 1, "", f"GEN 1:{first + place}", "EN_A", "en", "", score, "vector", ())
        for place, score in enumerate(scores)
    )
    return SearchResult(hits, 7, plan, "", 1.0)


TEN = [0.9 - place / 100 for place in range(10)]


@pytest.mark.parametrize(
    ("found", "exact", "hybrid", "expected"),
    [
        (result(*TEN), result(*TEN), False, Recalled(10, 10)),
        (result(*TEN[1:], 0.5, first=1), result(*TEN), False, Recalled(10, 9)),
        (result(*TEN[1:], TEN[9], first=1), result(*TEN), False, Recalled(10, 10)),  # a tie
        (result(*TEN[1:], TEN[9], first=1), result(*TEN), True, Recalled(10, 9)),
        (result(), result(*TEN[:3]), False, Recalled(3, 0)),
        (result(*TEN, 0.1, 0.1), result(*TEN), False, Recalled(10, 10)),
        (result(), result(), False, Recalled(0, 0)),
    ],
)
def test_recall_counts_the_first_ten_hits_and_ties(
    found: SearchResult, exact: SearchResult, hybrid: bool, expected: Recalled
) -> None:
    request = SearchRequest(text="a", hybrid=hybrid)
    assert recalled(request, found, exact) == expected


def test_ten_hits_without_neighbours_are_repeated() -> None:
    again = repeated(SearchRequest(text="a", top_k=50, context=2, versions=("EN_A",)))
    assert (again.top_k, again.context, again.versions) == (10, 0, ("EN_A",))
    assert repeated(SearchRequest(text="a", top_k=3)).top_k == 3


class Sampled:
    """A sampler with a clock that only the repetitions move."""

    def __init__(self, **given: Any) -> None:
        self.now, self.kept, self.broken = 0.0, list[LiveRecall](), False
        self.sampler = LiveRecallSampler(
            **({"share": 1.0, "budget": 0.1, "chance": lambda: 0.5} | given),
            keep=self._keep, clock=lambda: self.now,
        )  # fmt: skip

    async def _keep(self, counted: Any) -> None:
        if self.broken:
            raise RuntimeError("away")
        self.kept += counted

    def repeat(self, _: SearchRequest) -> SearchResult:
        self.now += 1
        return result(*TEN)

    async def offer(self, found: SearchResult, repeat: Any = None) -> None:
        self.sampler.offer(REQUEST, found, repeat or self.repeat)
        while self.sampler._running is not None:
            await asyncio.sleep(0.001)


def test_a_repetition_is_followed_by_a_pause_that_keeps_the_budget() -> None:
    async def run() -> Sampled:
        one = Sampled()
        await one.offer(result(*TEN))
        one.now = 9.9
        await one.offer(result(*TEN))  # skipped: one second of ten is used up
        one.now = 10.0
        await one.offer(result(*TEN[1:], 0.1, first=1))
        await one.sampler.aclose()
        return one

    assert asyncio.run(run()).kept == [
        LiveRecall(7, "bible", "ivfflat", compared=2, skipped=1, hits=20, hits_found=19)
    ]


def test_what_is_exact_or_not_sampled_is_not_repeated() -> None:
    async def run() -> list[LiveRecall]:
        one, none = Sampled(share=0.5), Sampled(share=0.0, chance=lambda: 0.0)
        await one.offer(result(*TEN))
        await none.offer(result(*TEN))
        every = Sampled()
        await every.offer(result(*TEN, plan=EXACT))
        for sampled in (one, none, every):
            assert sampled.now == 0
            await sampled.sampler.aclose()
        return [*one.kept, *none.kept, *every.kept]

    assert asyncio.run(run()) == []


def test_failures_are_counted_and_counts_survive_a_database_outage() -> None:
    def fails(_: SearchRequest) -> SearchResult:
        raise RuntimeError("too slow")

    async def run() -> Sampled:
        one = Sampled()
        await one.offer(result(*TEN), fails)
        one.broken = True
        await one.sampler._keep_once(failing=False)
        one.broken, one.now = False, 100.0
        await one.offer(result(*TEN))
        await one.sampler.aclose()
        return one

    (kept,) = asyncio.run(run()).kept
    assert (kept.failed, kept.compared, kept.hits) == (1, 1, 10)


def live_recall(server: Server, name: str = "") -> float:
    """A metric of live recall; 0 if it is absent. ``name`` is an outcome, or empty for recall."""
    outcome, metric = (f'outcome="{name}",', "searches") if name else ("", "at_10")
    labels = f'corpus="both",{outcome}plan="ivfflat"'
    return server.metrics().get(f"rag_live_recall_{metric}{{{labels}}}", 0)


def all_stored(server: Server, asked: float) -> bool:
    return live_recall(server, "compared") + live_recall(server, "skipped") == asked


@pytest.mark.long
def test_recall_of_users_searches_is_measured_over_http(tmp_path: Path, corpus: Database) -> None:
    """An index whose searches read every list finds everything; with one list, it loses hits."""
    found = {}
    for probes in (64, 1):
        with corpus.connect() as connection:
            connection.execute("TRUNCATE live_recall")
            connection.execute(
                "UPDATE release_spaces SET probes = %(n)s, filtered_probes = %(n)s,"
                " max_probes = %(n)s WHERE generation IS NOT NULL",
                {"n": probes},
            )
        environment = environment_of(
            corpus, RAG_LIVE_RECALL_SHARE=1, RAG_LIVE_RECALL_BUDGET=1, RAG_METRICS_CACHE_S=0
        )
        with serving(tmp_path, environment) as server:
            server.http.post(EVAL, json={"queries": [{"query": "a"}] * 3}).raise_for_status()
            compared = asked = 0.0
            while compared < 8 and asked < 100:  # a busy machine skips some
                for verse in range(1, 11):
                    text = verse_text("EN_SAMPLE", "RUT", 1, verse)
                    assert server.found(vector=vector_of(text))["plan"]["kind"] == "ivfflat"
                    server.found(query=text, versions=["EN_SAMPLE"], books=["RUT"])  # exact
                    time.sleep(0.05)
                asked += 10
                wait_until(partial(all_stored, server, asked), failure=lambda: server.log)
                compared = live_recall(server, "compared")
            found[probes] = live_recall(server)
            assert live_recall(server, "failed") == 0
            assert compared >= 8
    assert found[64] == 1
    assert found[1] < 1


def test_by_default_nothing_is_repeated(tmp_path: Path, corpus: Database) -> None:
    with serving(tmp_path, environment_of(corpus)) as server:
        for verse in range(1, 6):
            server.found(vector=vector_of(verse_text("EN_SAMPLE", "RUT", 1, verse)))
    assert count_rows(corpus, "live_recall") == 0
