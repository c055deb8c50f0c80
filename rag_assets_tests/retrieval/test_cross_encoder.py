"""Re-ranking by a cross-encoder, in each dialect of ``/rerank``, and when it fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from pydantic import ValidationError

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.retrieval.cross_encoder import (
    CrossEncoder,
    Reranking,
    is_wanted,
    read_scores,
    with_candidates,
)
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.request import SearchRequest
from rag_assets.settings.model import Settings

KEY = "sk-test-rerank"
PATHS = {"cohere": "/v2/rerank", "jina": "/v1/rerank", "tei": "/rerank"}
QUERY = "the fish swallowed Jonah"
TEXTS = ["And Ruth said", "a fish of the sea", "a fish that swallowed Jonah", "The king slept"]
HITS = tuple(
    Hit(rank, f"{rank}", f"GEN 1:{rank}", "EN_A", "en", text, 1 - rank / 10, "vector", ())
    for rank, text in enumerate(TEXTS, start=1)
)
BEST = ["GEN 1:3", "GEN 1:2", "GEN 1:4", "GEN 1:1"]


def settings_of(emulator: Emulator, api: str = "cohere", **given: object) -> Settings:
    values: dict[str, object] = {
        "rag_rerank_url": emulator.origin + PATHS[api],
        "rag_rerank_api": api,
        "rag_rerank_model": None if api == "tei" else "cross",
        "rag_rerank_api_key": KEY,
        "rag_rerank_timeout_s": 10,
    }
    return Settings(_env_file=None, **(values | given))  # type: ignore[call-arg, arg-type]


def ranked(
    settings: Settings, hits: tuple[Hit, ...] = HITS, top_k: int = 4
) -> tuple[list[str], Reranking | None]:
    """The order of the hits, whose ranks are checked, and what became of it."""

    async def run() -> tuple[tuple[Hit, ...], Reranking | None]:
        request = SearchRequest(top_k=top_k, text=QUERY, cross_encoder=True)
        async with aclosing(CrossEncoder(settings)) as encoder:
            return await encoder.rank(request, hits)

    found, done = asyncio.run(run())
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    if done is not None and done.outcome != "done":
        assert all(hit.relevance is None for hit in found)
    return [hit.usfm for hit in found], done


@pytest.mark.parametrize("api", PATHS)
@pytest.mark.parametrize("fault", [None, FaultKind.SHUFFLE])
def test_hits_are_ordered_by_its_scores_whatever_order_they_come_in(
    emulator: Emulator, api: str, fault: FaultKind | None
) -> None:
    if fault:
        emulator.order(Fault(fault, key=KEY))
    order, done = ranked(settings_of(emulator, api))
    assert order == BEST
    assert done is not None
    assert (done.outcome, done.candidates) == ("done", 4)
    assert (emulator.stats().rerankings, emulator.stats().requests) == (1, 0)


def test_only_the_candidates_are_sent_and_the_rest_follow_in_their_order(
    emulator: Emulator,
) -> None:
    settings = settings_of(emulator, rag_rerank_candidates=2)
    order, done = ranked(settings, top_k=3)
    assert order == ["GEN 1:2", "GEN 1:1", "GEN 1:3"]
    assert done is not None
    assert done.candidates == 2
    wide = with_candidates(settings, SearchRequest(top_k=1, cross_encoder=True))
    assert wide.top_k == 2
    assert ranked(settings, ()) == ([], None)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(FaultKind.RATE_LIMIT, key=KEY), "rate-limited"),
        (Fault(FaultKind.SERVER_ERROR, key=KEY), "unavailable"),
        (Fault(FaultKind.UNAVAILABLE, key=KEY), "unavailable"),
        (Fault(FaultKind.CUT, key=KEY), "unavailable"),
        (Fault(FaultKind.MISSING_ITEMS, key=KEY), "bad-answer"),
        (Fault(FaultKind.NAN, key=KEY), "bad-answer"),
    ],
    ids=lambda one: one.kind if isinstance(one, Fault) else "",
)
@pytest.mark.parametrize("api", PATHS)
def test_without_scores_the_order_stays(
    emulator: Emulator, api: str, fault: Fault, outcome: str
) -> None:
    emulator.order(fault)
    order, done = ranked(settings_of(emulator, api))
    assert order == [hit.usfm for hit in HITS]
    assert done is not None
    assert done.outcome == outcome
    assert done.detail
    assert ranked(settings_of(emulator, api))[0] == BEST  # and the next one is answered


@pytest.mark.parametrize(
    "fault", [Fault(FaultKind.LATENCY, key=KEY, latency_ms=5_000, times=1),
              Fault(FaultKind.HANG, key=KEY)], ids=lambda one: one.kind,
)  # fmt: skip
def test_a_slow_server_is_left_after_the_time_limit(emulator: Emulator, fault: Fault) -> None:
    emulator.order(fault)
    order, done = ranked(settings_of(emulator, rag_rerank_timeout_s=0.2))
    assert order == [hit.usfm for hit in HITS]
    assert done is not None
    assert done.outcome == "timeout"
    assert 190 < done.ms < 3_000


def test_wrong_settings_never_fail_a_search(emulator: Emulator) -> None:
    unanswered = {
        "refused": {"rag_rerank_api_key": "no-such-key"},
        "unavailable": {"rag_rerank_url": "http://127.0.0.1:9/rerank"},
    }
    for outcome, wrong in unanswered.items():
        order, done = ranked(settings_of(emulator, **wrong))
        assert order == [hit.usfm for hit in HITS]
        assert done is not None
        assert done.outcome == outcome
    for missing, status in (("rag_rerank_api_key", 401), ("rag_rerank_model", 400)):
        _, done = ranked(settings_of(emulator, **{missing: None}))
        assert done is not None
        assert done.detail == f"status {status}: set {missing.upper()}"
    for wrong in ({"rag_rerank_api_key": "kéy\n"}, {"rag_rerank_api": "tei"}):
        assert ranked(settings_of(emulator, **wrong))[0] == [hit.usfm for hit in HITS]
    for address in ("http://[/rerank", "127.0.0.1:80/rerank", "ftp://host/rerank"):
        with pytest.raises(ValidationError, match="rag_rerank_url"):
            settings_of(emulator, rag_rerank_url=address)


def test_an_answer_with_more_than_was_asked_for_is_wrong() -> None:
    result = {"index": 0, "score": 1}
    assert read_scores("tei", [result], 1) == [1.0]
    with pytest.raises(ValueError, match="results"):
        read_scores("tei", [result, result], 1)


def test_it_is_used_if_there_is_one_and_the_client_does_not_refuse(emulator: Emulator) -> None:
    there, none = settings_of(emulator), Settings(_env_file=None)  # type: ignore[call-arg]
    assert is_wanted(there, None)
    assert not is_wanted(there, None, query=False)
    assert not is_wanted(there, False)
    assert not is_wanted(none, None)
    with pytest.raises(Exception, match="set RAG_RERANK_URL"):
        is_wanted(none, True)
    with pytest.raises(Exception, match="give query"):
        is_wanted(there, True, query=False)
