"""One request: how its answer is read, and what each refusal becomes. No secret is ever shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.embedding.embedder import Answer, normalised
from rag_assets.embedding.profile import Overrides
from rag_assets.embedding.providers.openai_client import OpenAIEmbedder
from rag_assets.embedding.providers.refusals import classify, parse_duration
from rag_assets.errors import (
    AuthenticationError,
    ConfigurationError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    QuotaExceededError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.settings.instructions import PRESETS, Kind
from rag_assets.settings.model import fingerprint
from rag_assets.vectors.sql.spaces import SpaceSpec
from rag_assets_tests.corpora import sentences
from rag_assets_tests.secrets import everything_shown

KEY = "sk-test-very-secret-4711"
SMALL = SpaceSpec("openai", "text-embedding-3-small", 1536, "halfvec")
TINY = SpaceSpec("openai", "tiny", 2, "halfvec")
SECRET_TEXT = "the words of the verse that nobody may read in a log"  # noqa: S105


def ask(
    base_url: str,
    texts: list[str],
    spec: SpaceSpec = SMALL,
    *,
    key: str = KEY,
    timeout_s: float = 5,
    send_dimensions: bool | None = None,
    kind: Kind = "passage",
) -> Answer:
    async def go() -> Answer:
        async with OpenAIEmbedder(
            base_url=base_url,
            keys=[key],
            timeout_s=timeout_s,
            overrides=Overrides(dimensions=send_dimensions),
        ) as embedder:
            return await embedder.embed(texts, spec, key, kind)

    return asyncio.run(go())


@contextmanager
def server_that_answers(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives one answer to everything; its address, and what it was asked."""
    asked: list[dict[str, Any]] = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            for name, value in {"content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


def answer_of(*embeddings: object, model: str = "tiny", **more: object) -> dict[str, object]:
    data = [{"index": place, "embedding": row} for place, row in enumerate(embeddings)]
    return {"model": model, "data": data, "usage": {"total_tokens": 7}, **more}


# Reading the answer


def test_vectors_come_in_the_order_of_the_texts_with_the_tokens_billed(emulator: Emulator) -> None:
    texts = sentences(20)
    answer = ask(emulator.base_url, texts)
    assert answer.vectors.shape == (20, 1536)
    assert np.allclose(np.linalg.norm(answer.vectors, axis=1), 1, atol=1e-6)
    assert answer.tokens == emulator.stats().tokens_billed
    assert (dict(answer.refused), answer.rest_key_s) == ({}, 0.0)


def test_an_answer_in_another_order_is_matched_by_index(emulator: Emulator) -> None:
    texts = sentences(20)
    straight = ask(emulator.base_url, texts)
    emulator.order(Fault(FaultKind.SHUFFLE))
    assert np.array_equal(ask(emulator.base_url, texts).vectors, straight.vectors)


def test_a_server_that_answers_floats_is_read_as_well() -> None:
    with server_that_answers(answer_of([3.0, 4.0], [1.0, 0.0])) as (url, asked):
        answer = ask(url, ["a", "b"], TINY)
    assert answer.vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [1.0, 0.0]]
    assert answer.tokens == 7
    assert asked == [
        {"model": "tiny", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 2}
    ]


def test_dimensions_are_not_sent_to_a_server_that_refuses_them() -> None:
    with server_that_answers(answer_of([1.0, 0.0])) as (url, asked):
        ask(url, ["a"], TINY, send_dimensions=False)
    assert "dimensions" not in asked[0]


@pytest.mark.parametrize(
    ("preset", "kind", "texts", "input_type"),
    [
        ("none", "query", ["a", "b"], None),
        ("e5", "query", ["query: a", "query: b"], None),
        ("e5", "passage", ["passage: a", "passage: b"], None),
        ("voyage", "query", ["a", "b"], "query"),
        ("voyage", "passage", ["a", "b"], "document"),
    ],
)
def test_queries_and_passages_are_sent_as_the_space_says(
    preset: str, kind: Kind, texts: list[str], input_type: str | None
) -> None:
    spec = replace(TINY, instructions=PRESETS[preset].stored())
    with server_that_answers(answer_of([1.0, 0.0], [0.0, 1.0])) as (url, asked):
        ask(url, ["a", "b"], spec, kind=kind)
    assert (asked[0]["input"], asked[0].get("input_type")) == (texts, input_type)


def test_a_model_behind_a_prefix_is_the_same_model() -> None:
    with server_that_answers(answer_of([1.0, 0.0], model="vendor/tiny")) as (url, _):
        assert ask(url, ["a"], TINY).vectors.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": None}, {"total_tokens": 0}, "none"])
def test_the_tokens_of_an_answer_that_reports_none_are_estimated(usage: object) -> None:
    with server_that_answers(answer_of([1.0, 0.0], usage=usage)) as (url, _):
        assert ask(url, ["a" * 40], TINY).tokens == 10


def test_another_model_is_refused(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.WRONG_MODEL))
    with pytest.raises(ProviderAnswerError, match="'text-embedding-ada-002' instead of"):
        ask(emulator.base_url, ["a"])


def test_another_dimension_is_refused_with_both_figures(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.WRONG_DIMENSION))
    with pytest.raises(ProviderAnswerError, match=r"dimension 1535, the space .* has 1536"):
        ask(emulator.base_url, ["a", "b"])


def test_a_vector_with_nan_is_refused_alone(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.NAN))
    answer = ask(emulator.base_url, sentences(3))
    assert dict(answer.refused) == {0: "the provider answered a vector with NaN or infinity"}
    assert np.isfinite(answer.vectors).all()


def test_a_missing_item_is_refused_alone(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.MISSING_ITEMS))
    answer = ask(emulator.base_url, sentences(3))
    assert dict(answer.refused) == {2: "the provider's answer left this text out"}
    assert np.linalg.norm(answer.vectors[:2], axis=1) == pytest.approx([1, 1])


def test_a_zero_vector_is_refused_alone() -> None:
    with server_that_answers(answer_of([0.0, 0.0], [1.0, 0.0])) as (url, _):
        assert dict(ask(url, ["a", "b"], TINY).refused) == {
            0: "the provider answered a zero vector"
        }


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        "text",
        {"model": "tiny", "data": None},
        answer_of(5),
        answer_of(None),
        answer_of("%%% not base64 %%%"),
        answer_of("AAAA"),
        answer_of([1.0, "one"]),
        answer_of([[1.0], [0.0]]),
        {"model": "tiny", "data": [{"index": 1, "embedding": [1.0, 0.0]}]},
        {"model": "tiny", "data": [{"index": -1, "embedding": [1.0, 0.0]}]},
    ],
)
def test_an_answer_of_another_shape_is_refused_as_such(body: object) -> None:
    with (
        server_that_answers(body) as (url, _),
        pytest.raises(ProviderAnswerError),
    ):
        ask(url, ["a"], TINY)


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b'{"data": [', b"\xff\xfe"])
def test_an_answer_that_is_no_json_may_pass_later(body: bytes) -> None:
    with (
        server_that_answers(body) as (url, _),
        pytest.raises(ProviderUnavailableError, match="no JSON"),
    ):
        ask(url, ["a"], TINY)


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=6))
def test_rows_end_normalised_or_refused_whatever_they_hold(rows: list[list[float]]) -> None:
    spec = SpaceSpec("openai", "tiny", 3, "halfvec")
    made, refused = normalised(np.array(rows, dtype=np.float32), spec)
    norms = np.linalg.norm(made.astype(np.float64), axis=1)
    for place, norm in enumerate(norms):
        assert norm == (0 if place in refused else pytest.approx(1, abs=0.01))


# What can go wrong


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_input", InputRejectedError),
        (400, None, InputRejectedError),
        (401, "invalid_api_key", AuthenticationError),
        (402, None, QuotaExceededError),
        (403, None, AuthenticationError),
        (404, "model_not_found", ConfigurationError),
        (408, None, ProviderUnavailableError),
        (409, None, ProviderUnavailableError),
        (413, None, InputRejectedError),
        (418, None, ProviderAnswerError),
        (422, None, InputRejectedError),
        (425, None, ProviderUnavailableError),
        (429, "insufficient_quota", QuotaExceededError),
        (429, "rate_limit_exceeded", RateLimitedError),
        (429, None, RateLimitedError),
        (500, None, ProviderUnavailableError),
        (502, None, ProviderUnavailableError),
        (503, None, ProviderUnavailableError),
        (529, None, ProviderUnavailableError),
    ],
)
def test_a_refusal_is_classed_by_status_and_code(
    status: int, code: str | None, expected: type[RagAssetsError]
) -> None:
    assert type(classify(status, {"error": {"code": code}}, {}, KEY)) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"retry-after": "2", "x-ratelimit-reset-tokens": "6m0s"}, 2.0),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    error = classify(429, None, headers, KEY)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("1s", 1.0),
        ("8.64s", 8.64),
        ("6m0s", 360.0),
        ("1h0m0s", 3600.0),
        ("1d2h", 93600.0),
        ("0s", 0.0),
        ("", 0.0),
        ("soon", 0.0),
    ],
)
def test_durations_are_read_as_the_provider_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


def test_an_allowance_that_is_used_up_lets_the_key_rest() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m30s",
        "x-ratelimit-remaining-tokens": "5",
        "x-ratelimit-reset-tokens": "5m0s",
    }
    with server_that_answers(answer_of([1.0, 0.0]), headers=headers) as (url, _):
        assert ask(url, ["a"], TINY).rest_key_s == 90


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(FaultKind.RATE_LIMIT, retry_after_s=3), RateLimitedError),
        (Fault(FaultKind.INSUFFICIENT_QUOTA), QuotaExceededError),
        (Fault(FaultKind.SERVER_ERROR), ProviderUnavailableError),
        (Fault(FaultKind.UNAVAILABLE), ProviderUnavailableError),
        (Fault(FaultKind.HANG), ProviderUnavailableError),
        (Fault(FaultKind.CUT), ProviderUnavailableError),
        (Fault(FaultKind.WRONG_DIMENSION), ProviderAnswerError),
        (Fault(FaultKind.WRONG_MODEL), ProviderAnswerError),
        (Fault(FaultKind.POISON, text="verse"), InputRejectedError),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else "",
)
def test_each_fault_is_one_error_that_shows_neither_key_nor_text_and_is_not_retried_here(
    emulator: Emulator, fault: Fault, expected: type[RagAssetsError]
) -> None:
    emulator.order(fault)
    with pytest.raises(expected) as caught:
        ask(emulator.base_url, [SECRET_TEXT], timeout_s=0.5)
    assert emulator.stats().requests == 1
    shown = everything_shown(caught.value)
    assert KEY not in shown
    assert SECRET_TEXT not in shown


def test_the_wait_that_the_provider_tells_is_passed_on(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, retry_after_s=3))
    with pytest.raises(RateLimitedError, match=f"key {fingerprint(KEY)} is rate limited") as caught:
        ask(emulator.base_url, ["a"])
    assert caught.value.retry_after_s == 3


def test_an_invalid_key_is_named_by_its_fingerprint(emulator: Emulator) -> None:
    wrong = "pk-not-a-test-key-4711"
    with pytest.raises(AuthenticationError, match=fingerprint(wrong)) as caught:
        ask(emulator.base_url, ["a"], key=wrong)
    assert "4711" not in everything_shown(caught.value)


def test_a_refusal_that_repeats_key_and_text_is_not_passed_on() -> None:
    body = {"error": {"message": f"{KEY} sent {SECRET_TEXT}", "code": "invalid_input"}}
    with (
        server_that_answers(body, status=400) as (url, _),
        pytest.raises(InputRejectedError) as caught,
    ):
        ask(url, [SECRET_TEXT], TINY)
    shown = everything_shown(caught.value)
    assert KEY not in shown
    assert SECRET_TEXT not in shown


def test_an_unknown_model_says_what_to_correct(emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError, match="correct OPENAI_BASE_URL or the model's name"):
        ask(emulator.base_url, ["a"], TINY)


def test_a_text_that_is_too_long_is_refused(emulator: Emulator) -> None:
    with pytest.raises(InputRejectedError):
        ask(emulator.base_url, ["word " * 9000])


def test_nobody_listening_is_a_failed_connection() -> None:
    with pytest.raises(ProviderUnavailableError, match=r"connection .* failed: .* OPENAI_BASE_URL"):
        ask("http://127.0.0.1:9/v1", ["a"])


def test_a_server_that_is_slow_is_named_with_its_setting(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.HANG))
    with pytest.raises(ProviderUnavailableError, match="RAG_EMBEDDING_TIMEOUT_S"):
        ask(emulator.base_url, ["a"], timeout_s=0.3)


def test_an_endpoint_is_named_by_its_address_and_not_by_its_key() -> None:
    def endpoint(url: str, key: str) -> str:
        return OpenAIEmbedder(base_url=url, keys=[key], timeout_s=1).endpoint

    assert endpoint("http://a/v1", "one") == endpoint("http://a/v1/", "two")
    assert endpoint("http://a/v1", "one") != endpoint("http://b/v1", "one")
