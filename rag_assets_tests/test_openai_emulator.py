"""The emulator does what it is ordered to do; driven over HTTP, mostly by the real client."""

from __future__ import annotations

import base64
import math
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import numpy as np
import openai
import psutil
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.limits import Limits, RateLimiter, format_duration
from openai_emulator.process import ROOT, Emulator, running_emulator
from openai_emulator.refusals import Refused
from openai_emulator.requests import count_tokens

SMALL = "text-embedding-3-small"
LARGE = "text-embedding-3-large"
GENESIS = "In the beginning God created the heaven and the earth."


@pytest.fixture(scope="module")
def started() -> Iterator[Emulator]:
    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(started: Emulator) -> Emulator:
    started.reset()
    started.keys(organisation=Limits())
    return started


@pytest.fixture
def client(emulator: Emulator) -> Iterator[openai.OpenAI]:
    with connect(emulator) as opened:
        yield opened


def connect(emulator: Emulator, key: str = "sk-test-a") -> openai.OpenAI:
    return openai.OpenAI(
        api_key=key,
        base_url=emulator.base_url,
        max_retries=0,
        timeout=10,
        http_client=openai.DefaultHttpxClient(trust_env=False, verify=no_certificates()),
    )


def embed(client: openai.OpenAI, *texts: str, model: str = SMALL, **more: Any) -> np.ndarray:
    answer = client.embeddings.create(model=model, input=list(texts), **more)
    return np.array([item.embedding for item in answer.data])


def post(emulator: Emulator, body: Any, key: str = "sk-test-a") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{emulator.base_url}/embeddings"
    return httpx.post(
        url, json=body, headers=headers, trust_env=False, timeout=10, verify=no_certificates()
    )


@cache
def no_certificates() -> ssl.SSLContext:
    """Loading them costs 40 ms a call, and nothing here is encrypted."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def test_the_answer_has_the_shape_of_openais(emulator: Emulator) -> None:
    response = post(emulator, {"model": SMALL, "input": [GENESIS, "Jesus wept."], "dimensions": 8})
    body = response.json()
    tokens = math.ceil(len(GENESIS) / 4) + 3
    assert [(item["object"], item["index"]) for item in body.pop("data")] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    assert body == {
        "object": "list",
        "model": SMALL,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["openai-processing-ms"].isdigit()
    assert response.headers["x-ratelimit-reset-requests"] == "1m0s"


def test_base64_and_float_carry_the_same_numbers(emulator: Emulator) -> None:
    body = {"model": SMALL, "input": GENESIS}
    plain = post(emulator, body).json()["data"][0]["embedding"]
    coded = post(emulator, {**body, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == plain


@pytest.mark.parametrize(("model", "native"), [(SMALL, 1536), (LARGE, 3072)])
def test_vectors_have_length_1_natively_and_shortened(
    client: openai.OpenAI, model: str, native: int
) -> None:
    full = embed(client, GENESIS, model=model)
    short = embed(client, GENESIS, model=model, dimensions=256)
    assert full.shape == (1, native)
    assert short.shape == (1, 256)
    assert np.linalg.norm(full) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(short) == pytest.approx(1, abs=1e-5)
    assert (full[0, :256] @ short[0]) / np.linalg.norm(full[0, :256]) == pytest.approx(1, abs=1e-5)


def test_a_text_has_one_vector_whatever_it_is_sent_with(client: openai.OpenAI) -> None:
    texts = [f"verse {n} of the book of the generations of Adam and Noé" for n in range(300)]
    together = embed(client, *texts, GENESIS)
    assert np.array_equal(together[-1], embed(client, GENESIS)[0])
    with running_emulator() as other, connect(other) as elsewhere:
        assert np.array_equal(embed(elsewhere, GENESIS)[0], together[-1])


def test_near_texts_are_near_and_unrelated_texts_are_not(client: openai.OpenAI) -> None:
    same, near, far, walked, walking, accent, plain = embed(
        client,
        GENESIS,
        GENESIS.replace("created", "made"),
        "Bring my vessels of gold into the temple of Babylon, O king.",
        "walked",
        "walking",
        "coração",
        "CORACAO",
    )
    assert same @ near > 0.8
    assert same @ far < 0.5
    assert walked @ walking > 0.4
    assert accent @ plain > 0.95
    assert not np.array_equal(accent, plain)


def test_the_two_models_are_different_spaces(client: openai.OpenAI) -> None:
    small = embed(client, GENESIS, model=SMALL)[0]
    large = embed(client, GENESIS, model=LARGE, dimensions=1536)[0]
    assert abs(small @ large) < 0.2


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ({"model": "gpt-x", "input": "a"}, 404, "model_not_found", "does not exist"),
        ({"model": SMALL, "input": ["a", ""]}, 400, None, "cannot be an empty string"),
        ({"model": SMALL, "input": ""}, 400, None, "cannot be an empty string"),
        ({"model": SMALL, "input": []}, 400, "empty_array", "empty array"),
        ({"model": SMALL, "input": [1, 2]}, 400, "invalid_type", "Invalid type"),
        ({"model": SMALL, "input": ["a"] * 2049}, 400, "array_above_max_length", "2049"),
        ({"model": SMALL, "input": "a" * 32_769}, 400, None, "maximum context length is 8192"),
        (
            {"model": SMALL, "input": ["a" * 32_000] * 38},
            400,
            "max_tokens_per_request",
            "Requested 304000 tokens, max 300000 tokens per request",
        ),
        ({"model": SMALL, "input": "a", "dimensions": 1537}, 400, None, "dimensions"),
        ({"model": SMALL, "input": "a", "encoding_format": "x"}, 400, "invalid_value", "'x'"),
        (None, 400, None, "parse the JSON"),
    ],
)
def test_what_openai_refuses_is_refused(
    emulator: Emulator, body: Any, status: int, code: str | None, words: str
) -> None:
    response = post(emulator, body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert emulator.stats().tokens_billed == 0


def test_the_limits_themselves_are_still_allowed(emulator: Emulator) -> None:
    many = post(emulator, {"model": SMALL, "input": ["a"] * 2048, "dimensions": 1})
    long = post(emulator, {"model": SMALL, "input": "a" * 32_768, "dimensions": 1})
    assert (many.status_code, long.status_code) == (200, 200)
    assert long.json()["usage"]["total_tokens"] == 8192


def test_a_wrong_key_is_refused_and_valid_keys_can_be_set(emulator: Emulator) -> None:
    body = {"model": SMALL, "input": "a", "dimensions": 2}
    wrong = post(emulator, body, key="sk-live-x")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    emulator.keys(["sk-test-b"])
    assert post(emulator, body).status_code == 401
    assert post(emulator, body, key="sk-test-b").status_code == 200
    emulator.keys()
    assert post(emulator, body).status_code == 200


def test_an_organisations_limit_binds_all_its_keys(emulator: Emulator) -> None:
    emulator.keys(organisation=Limits(rpm=2))
    with connect(emulator, "sk-test-a") as one, connect(emulator, "sk-test-b") as two:
        embed(one, "a")
        embed(two, "b")
        with pytest.raises(openai.RateLimitError) as caught:
            embed(two, "c")
    headers = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded"
    assert 58 <= int(headers["retry-after"]) <= 60
    assert 57_000 < int(headers["retry-after-ms"]) <= 60_000
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_a_keys_limit_binds_that_key_alone(emulator: Emulator) -> None:
    emulator.keys(limits={"sk-test-tight": Limits(tpm=10)})
    body = {"model": SMALL, "input": "a" * 32, "dimensions": 2}
    first, second = (post(emulator, body, key="sk-test-tight") for _ in range(2))
    assert first.headers["x-ratelimit-remaining-tokens"] == "2"
    assert (second.status_code, second.json()["error"]["type"]) == (429, "tokens")
    assert post(emulator, body, key="sk-test-wide").status_code == 200


def test_who_waits_as_told_is_admitted() -> None:
    limiter = RateLimiter(Limits(rpm=3, tpm=10), Limits())
    for now, tokens in [(0.0, 4), (1.0, 4)]:
        limiter.admit("k", SMALL, tokens, now)
    with pytest.raises(Refused) as caught:
        limiter.admit("k", SMALL, 5, 2.0)
    assert caught.value.headers["retry-after"] == "58"
    limiter.admit("k", SMALL, 5, 60.0)
    with pytest.raises(Refused) as caught:
        limiter.admit("k", SMALL, 11, 200.0)
    assert "retry-after" not in caught.value.headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.12, "120ms"), (1, "1s"), (8.64, "8.64s"), (360, "6m0s"), (3600, "1h0m0s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_tokens_are_a_quarter_of_the_bytes() -> None:
    assert [count_tokens(t) for t in ("a", "abcd", "abcde", "çãé")] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault(FaultKind.SERVER_ERROR), openai.InternalServerError, (500, None)),
        (Fault(FaultKind.UNAVAILABLE), openai.InternalServerError, (503, None)),
        (Fault(FaultKind.RATE_LIMIT), openai.RateLimitError, (429, "rate_limit_exceeded")),
    ],
)
def test_a_refusing_fault_befalls_one_request(
    emulator: Emulator,
    client: openai.OpenAI,
    fault: Fault,
    error: type[openai.APIStatusError],
    code: tuple[int, str | None],
) -> None:
    emulator.order(fault)
    with pytest.raises(error) as caught:
        embed(client, "a")
    assert (caught.value.status_code, caught.value.code) == code
    assert len(embed(client, "a")) == 1
    assert emulator.stats().by_status == {"200": 1, str(code[0]): 1}


def test_an_ordered_rate_limit_says_how_long_to_wait(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, retry_after_s=1.5))
    headers = post(emulator, {"model": SMALL, "input": "a"}).headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")


def test_faults_are_consumed_in_order_and_begin_when_told(emulator: Emulator) -> None:
    emulator.order(
        Fault(FaultKind.UNAVAILABLE, after=1, times=2),
        Fault(FaultKind.SERVER_ERROR, after=1, times=1),
        Fault(FaultKind.RATE_LIMIT, key="sk-test-b"),
    )
    body = {"model": SMALL, "input": "a", "dimensions": 2}
    assert [post(emulator, body).status_code for _ in range(5)] == [200, 503, 503, 500, 200]
    assert post(emulator, body, key="sk-test-b").status_code == 429


def test_quota_stays_spent_for_its_key_until_reset(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA, key="sk-test-a"))
    body = {"model": SMALL, "input": "a", "dimensions": 2}
    answers = [post(emulator, body) for _ in range(3)]
    assert {(a.status_code, a.json()["error"]["code"]) for a in answers} == {
        (429, "insufficient_quota")
    }
    assert post(emulator, body, key="sk-test-b").status_code == 200
    emulator.reset()
    assert post(emulator, body).status_code == 200


def test_an_outage_ends_by_itself(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.OUTAGE, seconds=0.4))
    body = {"model": SMALL, "input": "a", "dimensions": 2}
    assert post(emulator, body).status_code == 503
    time.sleep(0.5)
    assert post(emulator, body).status_code == 200


def test_poison_refuses_the_whole_request(emulator: Emulator, client: openai.OpenAI) -> None:
    emulator.order(Fault(FaultKind.POISON, text="§§"))
    with pytest.raises(openai.BadRequestError) as caught:
        embed(client, "good", "a §§ bad one")
    assert caught.value.code == "invalid_input"
    assert len(embed(client, "good")) == 1
    emulator.clear_faults()
    assert len(embed(client, "a §§ bad one")) == 1


def test_a_hang_lasts_until_the_client_gives_up(emulator: Emulator, client: openai.OpenAI) -> None:
    emulator.order(Fault(FaultKind.HANG))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).embeddings.create(model=SMALL, input="a")
    assert len(embed(client, "a")) == 1
    stats = emulator.stats()
    assert (stats.by_status, stats.tokens_billed) == ({"200": 1, "hang": 1}, 1)


def test_a_cut_answer_is_billed_all_the_same(emulator: Emulator, client: openai.OpenAI) -> None:
    emulator.order(Fault(FaultKind.CUT))
    with pytest.raises(openai.APIConnectionError):
        embed(client, "a")
    embed(client, "a")
    stats = emulator.stats()
    assert (stats.by_status, stats.tokens_billed) == ({"200": 1, "cut": 1}, 2)
    assert (stats.duplicate_texts, stats.duplicate_examples) == (1, ("a",))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_shuffled_answer_keeps_its_indices(
    emulator: Emulator, client: openai.OpenAI, count: int
) -> None:
    texts = [f"text number {n}" for n in range(count)]
    straight = embed(client, *texts)
    emulator.order(Fault(FaultKind.SHUFFLE))
    data = client.embeddings.create(model=SMALL, input=texts).data
    assert [item.index for item in data] != list(range(count))
    for item in data:
        assert np.array_equal(np.array(item.embedding), straight[item.index])


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_distorted_answers_are_distorted_in_both_encodings(
    emulator: Emulator, client: openai.OpenAI, encoding: Any
) -> None:
    emulator.order(
        Fault(FaultKind.WRONG_DIMENSION),
        Fault(FaultKind.NAN),
        Fault(FaultKind.MISSING_ITEMS),
        Fault(FaultKind.WRONG_MODEL, model="another-model"),
    )
    body = {"model": SMALL, "input": ["a", "b"], "encoding_format": encoding}
    short, nan, missing, other = (post(emulator, body).json() for _ in range(4))

    def numbers(answer: Any, item: int = 0) -> Any:
        given = answer["data"][item]["embedding"]
        if encoding == "base64":
            return np.frombuffer(base64.b64decode(given), "<f4")
        return np.array(given)

    assert len(numbers(short)) == 1535
    assert math.isnan(numbers(nan)[0])
    assert not np.isnan(numbers(nan, 1)).any()
    assert [item["index"] for item in missing["data"]] == [0]
    assert other["model"] == "another-model"
    assert emulator.stats().inputs_answered == 7


def test_a_fault_that_says_too_little_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="poison"):
        Fault(FaultKind.POISON)
    with pytest.raises(ValueError, match="at least one"):
        Fault(FaultKind.HANG, times=0)
    url = f"{emulator.origin}/_emulator/faults"
    for given in ({"kind": "unheard_of"}, {"kind": "hang", "n": 1}, {"times": 1}):
        assert httpx.post(url, json=given, trust_env=False).status_code == 400


def test_figures_tell_what_was_bought_twice(emulator: Emulator, client: openai.OpenAI) -> None:
    embed(client, "a", "b")
    embed(client, "b", "c")
    embed(client, "b", dimensions=8)
    embed(client, "b", model=LARGE)
    with connect(emulator, "sk-test-b") as other, pytest.raises(openai.NotFoundError):
        embed(other, "b", model="none")
    stats = emulator.stats()
    assert (stats.requests, stats.ok, stats.by_status) == (5, 4, {"200": 4, "404": 1})
    assert (stats.inputs_answered, stats.tokens_billed) == (6, 6)
    assert (stats.distinct_texts, stats.duplicate_texts, stats.duplicate_answers) == (5, 1, 1)
    assert stats.duplicate_examples == ("b",)
    assert stats.requests_by_key == {"sk-test-a": 4, "sk-test-b": 1}
    assert (stats.max_requests_per_minute, stats.in_flight) == (5, 0)
    emulator.reset()
    assert emulator.stats().requests == 0


def test_latency_is_each_requests_own(emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=300))
    with running_emulator(latency_ms=300) as slow, connect(slow) as client:
        begun = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: embed(client, f"text {n}"), range(8)))
        took = time.monotonic() - begun
        assert 0.3 <= took < 1.5
        assert slow.stats().max_in_flight == 8
    begun = time.monotonic()
    assert post(emulator, {"model": SMALL, "input": "a"}).status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_an_answer_to_a_client_that_died_is_billed() -> None:
    script = (
        "import httpx, sys; httpx.post(sys.argv[1], timeout=9, trust_env=False, "
        "headers={'Authorization': 'Bearer sk-test-a'}, "
        f"json={{'model': '{SMALL}', 'input': 'abcdefgh'}})"
    )
    with running_emulator(latency_ms=600) as emulator:
        command = [sys.executable, "-c", script, f"{emulator.base_url}/embeddings"]
        with spawned(command) as client:
            wait_until(lambda: emulator.stats().in_flight == 1)
            client.kill()
        wait_until(lambda: emulator.stats().in_flight == 0)
        assert emulator.stats().tokens_billed == 2


def test_the_process_is_gone_afterwards() -> None:
    with running_emulator(valid_keys=["sk-x"]) as emulator:
        assert emulator.pid is not None
        process = psutil.Process(emulator.pid)
        for model in (SMALL, LARGE):
            body = {"model": model, "input": "a"}
            assert post(emulator, body, key="sk-x").status_code == 200
        assert process.memory_info().rss < 300 << 20
        process.send_signal(signal.SIGINT)
        wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert not process.is_running()


def test_a_signal_ends_it_cleanly_even_with_a_request_open() -> None:
    command = [sys.executable, "-m", "openai_emulator", "--latency-ms", "9000"]
    with spawned(command) as process:
        assert process.stdout is not None
        origin = process.stdout.readline().split()[-1]
        emulator = Emulator(origin)
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(post, emulator, {"model": SMALL, "input": "a"})
            wait_until(lambda: emulator.stats().in_flight == 1)
            emulator.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
            pending.exception(5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(origin, trust_env=False)


def test_it_does_not_outlive_a_killed_owner() -> None:
    script = (
        "import time\n"
        "from openai_emulator.process import running_emulator\n"
        "with running_emulator() as emulator:\n"
        "    print(emulator.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    with spawned(command) as owner:
        assert owner.stdout is not None
        orphan = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        # As a child of whoever adopts it, it may stay a zombie: that is ended, too.
        wait_until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)


@contextmanager
def spawned(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A child that is gone afterwards, also when the test fails."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Any, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
