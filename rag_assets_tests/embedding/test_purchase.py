"""Buying under each fault that a provider has: what is retried, what stops, what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from threading import Thread

import numpy as np
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.embedder import Answer
from rag_assets.errors import (
    AuthenticationError,
    DatabaseUnavailableError,
    InputRejectedError,
    ProviderAnswerError,
    ProviderUnavailableError,
    QuotaExceededError,
    RagAssetsError,
    RateLimitedError,
)
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import fingerprint
from rag_assets.vectors.sql.spaces import SpaceSpec, space_spec
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.embedding.shop import Shop
from rag_assets_tests.secrets import everything_shown

ONE, TWO, THREE = "sk-test-one", "sk-test-two", "sk-test-three"
KEYS = {"use_api_key_rotation": True, "openai_api_keys": f"{ONE},{TWO},{THREE}"}

OpenShop = Callable[..., Shop]


@pytest.fixture
def shop(database: Database, openai_settings: MakeSettings) -> OpenShop:
    """A shop with batches of 10, one request in flight, and two retries, unless told."""

    def make(**overrides: object) -> Shop:
        values: dict[str, object] = {
            "rag_embedding_batch_size": 10,
            "rag_embedding_concurrency": 1,
            "rag_embedding_max_retries": 2,
            "rag_embedding_timeout_s": 0.3,
        }
        return Shop(database, openai_settings(**(values | overrides)))

    return make


def hashes(texts: Sequence[str]) -> set[bytes]:
    return {text_hash(text) for text in texts}


def test_all_is_bought_once_kept_and_entered_in_the_ledger(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=30))
    buyer = shop(rag_embedding_concurrency=4)
    purchase = buyer.buy(sentences(95))
    stats = emulator.stats()
    assert (stats.ok, stats.inputs_answered, stats.duplicate_answers) == (10, 95, 0)
    assert 2 <= stats.max_in_flight <= 4
    assert (purchase.requests, purchase.inputs, purchase.tokens) == (10, 95, stats.tokens_billed)
    assert purchase.cost_usd == pytest.approx(stats.tokens_billed * 0.02 / 1e6)
    assert buyer.ledger() == {fingerprint(ONE): (10, 0, 0, 95, stats.tokens_billed)}
    assert buyer.kept() == hashes(sentences(95))
    assert buyer.advanced == 95


def test_a_429_is_waited_for_as_told_and_is_no_try(shop: OpenShop, emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, times=3, retry_after_s=0.2))
    buyer = shop(rag_embedding_max_retries=0)
    started = time.monotonic()
    purchase = buyer.buy(sentences(20))
    assert time.monotonic() - started > 3 * 0.2
    assert (purchase.rate_limited, purchase.retries, purchase.inputs) == (3, 0, 20)
    assert sum(buyer.slept) == pytest.approx(0.6, abs=0.1)
    assert buyer.ledger()[fingerprint(ONE)][:3] == (2, 0, 3)


def test_a_429_that_does_not_say_how_long_rests_a_few_seconds(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, retry_after_s=0))
    buyer = shop(rag_embedding_max_wait_s=3)
    with pytest.raises(RateLimitedError):
        buyer.buy(sentences(5))
    assert emulator.stats().requests == 1


def test_longer_than_the_longest_wait_is_refused_and_says_which_setting(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, after=1, retry_after_s=30))
    buyer = shop(rag_embedding_max_wait_s=10)
    with pytest.raises(
        RateLimitedError, match=r"longer than 10 s \(RAG_EMBEDDING_MAX_WAIT_S\)"
    ) as e:
        buyer.buy(sentences(30))
    assert e.value.retry_after_s == pytest.approx(30, abs=1)
    assert buyer.slept == []
    assert buyer.kept() == hashes(sentences(10)), "what was bought before is kept"
    assert buyer.ledger()[fingerprint(ONE)][2] == 1, "a run that failed shows its 429s, too"


def test_keys_are_used_in_turn(shop: OpenShop, emulator: Emulator) -> None:
    shop(**KEYS).buy(sentences(90))
    assert emulator.stats().requests_by_key == {ONE: 3, THREE: 3, TWO: 3}


def test_a_limited_key_rests_while_the_others_go_on(shop: OpenShop, emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, key=TWO, retry_after_s=30))
    buyer = shop(**KEYS)
    purchase = buyer.buy(sentences(100))
    assert purchase.inputs == 100
    assert buyer.slept == [], "nobody had to wait"
    by_key = emulator.stats().requests_by_key
    assert by_key[TWO] == 1
    assert by_key[ONE] + by_key[THREE] == 10
    ledger = buyer.ledger()
    assert ledger[fingerprint(TWO)] == (0, 0, 1, 0, 0), "the 429 is the limited key's"
    assert ledger[fingerprint(ONE)][2] + ledger[fingerprint(THREE)][2] == 0


def test_a_rest_is_kept_by_the_next_run_too(shop: OpenShop, emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.RATE_LIMIT, key=TWO, retry_after_s=30))
    shop(**KEYS).buy(sentences(30))
    emulator.reset()
    shop(**KEYS).buy(sentences(60, word="hill"))
    assert emulator.stats().requests_by_key == {ONE: 3, THREE: 3}


def test_a_key_whose_allowance_is_used_up_rests_before_it_is_refused(
    shop: OpenShop, emulator: Emulator
) -> None:
    from openai_emulator.limits import Limits

    emulator.keys(limits={TWO: Limits(rpm=1)})
    try:
        purchase = shop(**KEYS).buy(sentences(100))
        stats = emulator.stats()
    finally:
        emulator.keys(limits={TWO: Limits()})
    assert (purchase.rate_limited, stats.requests_by_key[TWO]) == (0, 1)


def test_a_key_without_quota_is_dropped_with_one_warning_and_the_run_goes_on(
    shop: OpenShop, emulator: Emulator, database: Database
) -> None:
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA, key=TWO))
    buyer = shop(**KEYS)
    assert buyer.buy(sentences(100)).inputs == 100
    assert buyer.warnings == [f"key {fingerprint(TWO)} has no quota left: pay, or take it out"]
    assert emulator.stats().requests_by_key[TWO] == 1
    with database.connect() as connection:
        noted = connection.execute(
            "SELECT key_fingerprint FROM provider_keys WHERE out_of_quota_at IS NOT NULL"
        ).fetchall()
    assert noted == [(fingerprint(TWO),)]


def test_without_quota_on_any_key_the_run_fails_and_keeps_what_was_bought(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA, after=4))
    buyer = shop(**KEYS)
    with pytest.raises(QuotaExceededError, match="no API key has quota left: pay, or add a key"):
        buyer.buy(sentences(100))
    assert len(buyer.warnings) == 3
    assert len(buyer.kept()) == 40
    assert emulator.stats().requests == 7


def test_several_workers_without_quota_fail_alike(shop: OpenShop, emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA), Fault(FaultKind.LATENCY, latency_ms=30))
    with pytest.raises(QuotaExceededError):
        shop(rag_embedding_concurrency=8).buy(sentences(100))


def test_authentication_fails_at_the_first_request(shop: OpenShop, emulator: Emulator) -> None:
    buyer = shop(openai_api_key="pk-wrong-key-4711")
    with pytest.raises(AuthenticationError, match="correct OPENAI_API_KEY") as caught:
        buyer.buy(sentences(100))
    assert emulator.stats().requests == 1
    assert "4711" not in everything_shown(caught.value)


def test_a_failed_run_does_not_go_on_trying_in_its_other_workers(
    shop: OpenShop, emulator: Emulator
) -> None:
    """One key is limited, the other wrong: nobody waits for the limit once the run has failed."""
    emulator.order(
        Fault(FaultKind.RATE_LIMIT, key=ONE, times=1, retry_after_s=0.25),
        Fault(FaultKind.LATENCY, key="sk-test-none", latency_ms=1),
    )
    emulator.keys(valid=[ONE])
    try:
        buyer = shop(
            use_api_key_rotation=True,
            openai_api_keys=f"{ONE},{TWO}",
            rag_embedding_concurrency=2,
        )
        with pytest.raises(AuthenticationError):
            buyer.buy(sentences(100))
    finally:
        emulator.keys(valid=None)
    assert emulator.stats().ok == 0


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "hang", "cut"])
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(
    shop: OpenShop, emulator: Emulator, kind: str
) -> None:
    emulator.order(Fault(FaultKind(kind), after=1, times=2))
    buyer = shop()
    purchase = buyer.buy(sentences(30))
    assert (purchase.requests, purchase.retries, purchase.inputs) == (3, 2, 30)
    first, second = buyer.slept
    assert 0.5 <= first <= 1.0 <= second <= 2.0
    assert emulator.stats().requests == 5
    assert buyer.kept() == hashes(sentences(30))
    assert buyer.ledger()[fingerprint(ONE)][:4] == (3, 2, 0, 30)


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "hang", "cut"])
def test_what_does_not_pass_fails_after_the_retries_and_the_next_run_pays_only_the_rest(
    shop: OpenShop, emulator: Emulator, kind: str
) -> None:
    texts = sentences(50)
    asked_of_another_text = kind in ("server_error", "unavailable")
    failures = 4 if asked_of_another_text else 3
    emulator.order(Fault(FaultKind(kind), after=3, times=failures))
    buyer = shop()
    with pytest.raises(ProviderUnavailableError):
        buyer.buy(texts)
    assert emulator.stats().requests == 3 + failures
    assert buyer.kept() == hashes(texts[:30])
    assert buyer.ledger()[fingerprint(ONE)][:4] == (3, 2, 0, 30)
    buyer.buy([text for text in texts if text_hash(text) not in buyer.kept()])
    stats = emulator.stats()
    assert stats.duplicate_answers == (10 if kind == "cut" else 0) * (3 if kind == "cut" else 1)
    assert stats.ok == 5


def test_an_outage_in_the_middle_fails_all_workers_and_keeps_each_answer(
    shop: OpenShop, emulator: Emulator
) -> None:
    texts = sentences(200)
    emulator.order(Fault(FaultKind.OUTAGE, after=7, seconds=60))
    buyer = shop(rag_embedding_concurrency=3)
    with pytest.raises(ProviderUnavailableError, match="status 503"):
        buyer.buy(texts)
    assert len(buyer.kept()) == 70
    emulator.clear_faults()
    buyer.buy([text for text in texts if text_hash(text) not in buyer.kept()])
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (200, 0)
    assert buyer.kept() == hashes(texts)


def test_a_poisoned_text_is_found_by_halving_and_the_rest_is_bought(
    shop: OpenShop, emulator: Emulator
) -> None:
    texts = sentences(40)
    emulator.order(Fault(FaultKind.POISON, text="number 13 "))
    buyer = shop(rag_embedding_batch_size=16)
    purchase = buyer.buy(texts)
    bad = text_hash(texts[13])
    assert purchase.rejected == {
        bad: ("InputRejectedError", "the provider refuses the text (invalid_input)")
    }
    assert buyer.kept() == hashes(texts) - {bad}
    assert (purchase.inputs, buyer.advanced) == (39, 40)
    stats = emulator.stats()
    assert stats.by_status == {"200": 2 + 4, "400": 5}
    assert stats.duplicate_answers == 0


def test_several_poisoned_texts_are_each_found(shop: OpenShop, emulator: Emulator) -> None:
    texts = sentences(64)
    places = {0, 5, 6, 31, 63}
    emulator.order(*(Fault(FaultKind.POISON, text=f"number {place} ") for place in places))
    buyer = shop(rag_embedding_batch_size=32, rag_embedding_concurrency=4)
    purchase = buyer.buy(texts)
    assert set(purchase.rejected) == {text_hash(texts[place]) for place in places}
    assert purchase.inputs == 64 - len(places)


def test_a_text_over_the_providers_length_is_rejected_alone(
    shop: OpenShop, emulator: Emulator
) -> None:
    texts = [*sentences(9), "word " * 9000]
    buyer = shop()
    purchase = buyer.buy(texts)
    assert set(purchase.rejected) == hashes(texts[9:])
    assert buyer.kept() == hashes(texts[:9])


@pytest.mark.parametrize(
    ("kind", "place", "reason"),
    [
        (FaultKind.NAN, 0, "the provider answered a vector with NaN or infinity"),
        (FaultKind.MISSING_ITEMS, 9, "the provider's answer left this text out"),
    ],
)
def test_an_item_that_must_not_be_stored_is_rejected_and_its_neighbours_are_kept(
    shop: OpenShop, emulator: Emulator, kind: FaultKind, place: int, reason: str
) -> None:
    emulator.order(Fault(kind))
    texts = sentences(20)
    buyer = shop()
    purchase = buyer.buy(texts)
    assert purchase.rejected == {text_hash(texts[place]): ("InputRejectedError", reason)}
    assert buyer.kept() == hashes(texts) - {text_hash(texts[place])}
    assert purchase.tokens == emulator.stats().tokens_billed


@pytest.mark.parametrize("kind", [FaultKind.WRONG_MODEL, FaultKind.WRONG_DIMENSION])
def test_an_answer_that_must_not_be_stored_stops_at_once_and_is_not_tried_again(
    shop: OpenShop, emulator: Emulator, kind: FaultKind
) -> None:
    emulator.order(Fault(kind, after=2))
    buyer = shop()
    with pytest.raises(ProviderAnswerError):
        buyer.buy(sentences(60))
    assert emulator.stats().requests == 3
    assert len(buyer.kept()) == 20


def test_more_rejected_texts_than_allowed_stop_the_run(shop: OpenShop, emulator: Emulator) -> None:
    emulator.order(Fault(FaultKind.POISON, text="The"))
    buyer = shop(rag_embedding_max_rejected=3, rag_embedding_batch_size=4)
    with pytest.raises(InputRejectedError, match=r"more than 3 texts \(RAG_EMBEDDING_MAX_REJECTED"):
        buyer.buy(sentences(1000))
    assert len(buyer.purchase.rejected) == 4
    assert emulator.stats().requests < 20


def test_as_many_rejected_texts_as_allowed_do_not_stop_it(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.POISON, text="The"))
    assert len(shop(rag_embedding_max_rejected=4).buy(sentences(4)).rejected) == 4


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.LATENCY])
def test_no_fault_shows_the_key_or_the_text(
    shop: OpenShop, emulator: Emulator, kind: FaultKind
) -> None:
    emulator.order(Fault(kind, times=9, text="number", seconds=60, retry_after_s=30))
    buyer = shop(rag_embedding_max_wait_s=1, rag_embedding_max_rejected=0)
    try:
        buyer.buy(sentences(3))
    except RagAssetsError as error:
        shown = everything_shown(error)
    else:
        shown = repr(buyer.purchase)
    shown += " ".join(buyer.warnings)
    assert ONE not in shown
    assert "runs down to the sea" not in shown


def test_a_database_that_goes_away_meanwhile_is_unavailable(
    shop: OpenShop, emulator: Emulator, database: Database
) -> None:
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=300))
    buyer = shop(rag_embedding_timeout_s=5)
    buyer.space()

    def cut() -> None:
        while not emulator.stats().in_flight:
            time.sleep(0.02)
        with database.named("postgres").connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (database.name,),
            )

    cutting = Thread(target=cut)
    cutting.start()
    with pytest.raises(DatabaseUnavailableError, match="cannot be reached"):
        buyer.buy(sentences(30))
    cutting.join()


def test_each_worker_pauses_after_a_request_when_asked(shop: OpenShop, emulator: Emulator) -> None:
    buyer = shop(rag_embedding_delay_ms=10)
    buyer.buy(sentences(40))
    assert buyer.slept == [0.01] * 4


def test_our_own_limit_is_waited_for(shop: OpenShop, emulator: Emulator) -> None:
    """60 a minute: 3 at once, then one every 60/56 s."""
    buyer = shop(rag_embedding_rate_limit=60)
    buyer.buy(sentences(80))
    assert len(buyer.slept) == 4
    assert buyer.slept[-1] == pytest.approx(4 * 60 / 56, abs=0.5)
    assert emulator.stats().requests == 8


def test_our_own_token_limit_makes_requests_smaller_and_waits(
    shop: OpenShop, emulator: Emulator
) -> None:
    buyer = shop(rag_embedding_token_limit=1000)
    purchase = buyer.buy(sentences(20))
    assert purchase.inputs == 20
    assert purchase.requests > 5, "a request takes at most 50 tokens"
    assert sum(buyer.slept) > 30


class Unlimited:
    """An embedder without a provider, which counts how many requests it has at once."""

    endpoint = "fake"
    keys: Sequence[str] = ("",)
    limited = False

    def __init__(self) -> None:
        self.open = self.most = 0

    async def embed(self, texts: Sequence[str], spec: SpaceSpec, *_: object) -> Answer:
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.1)
        self.open -= 1
        vectors = np.eye(len(texts), spec.dimensions, dtype=np.float32)
        return Answer(vectors, tokens=0)


def test_as_many_requests_are_in_flight_as_asked_and_no_limit_is_asked(
    shop: OpenShop, database: Database
) -> None:
    buyer = shop(rag_embedding_concurrency=5, rag_embedding_rate_limit=1)
    fake = Unlimited()
    buyer.embedder = fake
    assert buyer.buy(sentences(200)).inputs == 200
    assert fake.most == 5
    assert buyer.slept == []
    assert buyer.ledger() == {"none": (20, 0, 0, 200, 0)}


class Failing(Unlimited):
    """Refuses the first request soon; the others are answered later."""

    async def embed(self, texts: Sequence[str], spec: SpaceSpec, *_: object) -> Answer:
        first = not self.most
        self.most += 1
        await asyncio.sleep(0.3 if first else 1.0)
        if first:
            raise ProviderAnswerError("the first")
        return Answer(np.eye(len(texts), spec.dimensions, dtype=np.float32), tokens=0)


def test_requests_in_flight_are_answered_and_kept_when_another_fails(shop: OpenShop) -> None:
    buyer = shop(rag_embedding_concurrency=3)
    fake = buyer.embedder = Failing()
    with pytest.raises(ProviderAnswerError, match="the first"):
        buyer.buy(sentences(100))
    assert len(buyer.kept()) == (fake.most - 1) * 10 > 0
    with buyer.database.connect() as connection:
        claims = connection.execute("SELECT count(*) FROM embedding_claims").fetchall()
    assert claims == [(0,)], "what was claimed and not bought is free"


def test_a_run_that_is_stopped_does_not_wait_for_answers(shop: OpenShop) -> None:
    class Hanging(Unlimited):
        async def embed(self, *_: object) -> Answer:
            self.most += 1
            await asyncio.sleep(200)
            raise AssertionError

    buyer = shop()
    fake = buyer.embedder = Hanging()

    async def stop() -> None:
        work = asyncio.ensure_future(buyer.obtain(sentences(10)))
        while not fake.most:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    started = time.monotonic()
    asyncio.run(stop())
    assert time.monotonic() - started < 60


def test_a_passage_is_sent_as_one_and_kept_under_the_hash_of_its_text(
    shop: OpenShop, openai_settings: MakeSettings
) -> None:
    buyer = shop(rag_embedding_instructions="e5")
    buyer.buy(["the sea"])
    assert buyer.kept() == {text_hash("the sea")}
    with buyer.database.connect() as connection:
        (found,) = connection.execute(
            "SELECT embedding::real[] FROM answered_texts_s1"
        ).fetchone() or (None,)
    plain = openai_settings()
    (prefixed,) = embed_queries(plain, space_spec(plain, "small"), ["passage: the sea"])
    assert np.allclose(found, prefixed, atol=1e-3)
