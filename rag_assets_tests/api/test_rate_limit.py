"""Each key's rate applies across all workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import RETRIEVE, Server, environment_of, serving
from rag_assets_tests.api.test_keys import new_key
from rag_assets_tests.api.test_problems import problem_of

pytestmark = pytest.mark.long

BURST = 5


@pytest.fixture(scope="module")
def limited_database(bilingual: Database, copied: Copy) -> Database:
    """A released corpus with a key."""
    database = copied(bilingual)
    new_key(database, "admin")
    return database


@pytest.fixture(scope="module")
def limiting(
    limited_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Two workers with a burst of five requests."""
    environment = environment_of(limited_database, RAG_API_BURST=BURST)
    folder = tmp_path_factory.mktemp("limiting")
    with serving(folder, environment, workers=2) as running:
        yield running


def ask(server: Server, key: str, vector: list[float]) -> httpx.Response:
    """On a new connection, so that any worker may accept it."""
    return httpx.post(
        server.origin + RETRIEVE,
        json={"vector": vector, "top_k": 1},
        headers={"X-API-Key": key},
        trust_env=False,
        timeout=30,
    )


VECTOR = [1.0] + [0.0] * 63


def test_a_burst_is_accepted_and_the_rest_refused_across_both_workers(
    limiting: Server, limited_database: Database
) -> None:
    key = new_key(limited_database, "read", per_minute=1)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(limiting, key, VECTOR), range(24)))
    assert Counter(answer.status_code for answer in answers) == {200: BURST, 429: 24 - BURST}
    let = [answer for answer in answers if answer.status_code == 200]
    left = sorted(int(answer.headers["x-ratelimit-remaining"]) for answer in let)
    assert left == list(range(BURST))


def test_a_refusal_says_how_long_to_wait(limiting: Server, limited_database: Database) -> None:
    key = new_key(limited_database, "read", per_minute=2)
    for _ in range(BURST):
        assert ask(limiting, key, VECTOR).status_code == 200
    refused = ask(limiting, key, VECTOR)
    found = problem_of(refused, 429, "rate-limited")
    assert "2 requests a minute, with bursts of 5" in found["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-limit"] == "2"
    assert refused.headers["x-ratelimit-remaining"] == "0"


def test_after_the_wait_requests_are_accepted(limiting: Server, limited_database: Database) -> None:
    key = new_key(limited_database, "read", per_minute=60)
    for _ in range(BURST):
        assert ask(limiting, key, VECTOR).status_code in (200, 429)
    refused = ask(limiting, key, VECTOR)
    while refused.status_code == 200:  # on a slow machine, more may be allowed by now
        refused = ask(limiting, key, VECTOR)
    time.sleep(int(refused.headers["retry-after"]))
    assert ask(limiting, key, VECTOR).status_code == 200


def test_keys_do_not_use_up_each_others_rate(limiting: Server, limited_database: Database) -> None:
    one, other = (new_key(limited_database, "read", per_minute=1) for _ in range(2))
    while ask(limiting, one, VECTOR).status_code == 200:
        pass
    assert ask(limiting, other, VECTOR).status_code == 200


def test_a_request_that_cannot_be_answered_counts_too(
    limiting: Server, limited_database: Database
) -> None:
    key = new_key(limited_database, "read", per_minute=1)
    statuses = [ask(limiting, key, [1.0]).status_code for _ in range(BURST + 1)]
    assert statuses == [422] * BURST + [429]
