"""Servers that differ from OpenAI's: each works, or says why not and which setting helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from openai_emulator.dialects import DIALECTS
from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.profile import Profile, endpoint_of, same_model
from rag_assets.embedding.providers.refusals import classify, refused_in
from rag_assets.embedding.sql.profiles import store_profile, stored_profile
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
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.embedding.shop import Shop

OpenShop = Callable[..., Shop]
BGE = {"rag_embedding_small_model": "bge-m3", "rag_embedding_small_dimensions": 1024}
ALIAS = {"rag_embedding_small_model": "my-alias", "rag_embedding_small_dimensions": 1024}
DEPLOYED = {"rag_embedding_small_model": "my-deployment"}


@pytest.fixture
def shop(database: Database, openai_settings: MakeSettings, emulator: Emulator) -> OpenShop:
    """A shop whose server was never probed, with batches of 40."""

    def make(dialect: str = "openai", **overrides: object) -> Shop:
        emulator.speak(dialect)
        values: dict[str, object] = {"rag_embedding_batch_size": 40}
        if dialect == "azure-classic":
            address = f"{emulator.origin}/openai/deployments/my-deployment?api-version=2024-10-21"
            values["openai_base_url"] = address
        return Shop(database, openai_settings(probed=False, **(values | overrides)))

    return make


def vectors(shop: Shop) -> dict[bytes, np.ndarray]:
    """What is stored, by text hash."""
    with shop.database.connect() as connection:
        rows = connection.execute(
            "SELECT text_hash, embedding::text FROM answered_texts_s1"
        ).fetchall()
    return {bytes(key): np.array(text.strip("[]").split(","), dtype=float) for key, text in rows}


def as_openai_answers(emulator: Emulator, shop: Shop, texts: list[str]) -> dict[bytes, np.ndarray]:
    """The same texts by the same model, where nothing is peculiar."""
    emulator.speak("openai")
    model = shop.settings.rag_embedding_small_model
    plain = {"my-deployment": "text-embedding-3-small", "my-alias": "bge-m3"}.get(model, model)
    settings = shop.settings.model_copy(
        update={"rag_embedding_small_model": plain, "openai_base_url": emulator.base_url}
    )
    spec = Shop(shop.database, settings).space().spec
    rows = embed_queries(settings, spec, texts)
    return dict(zip(map(text_hash, texts), rows, strict=True))


WORKING = {
    "openai": {},
    "gemini": BGE,
    "openrouter": {},
    "azure": DEPLOYED | {"rag_embedding_model_aliases": "my-deployment=text-embedding-3-small"},
    "azure-classic": DEPLOYED
    | {"rag_embedding_model_aliases": "my-deployment=text-embedding-3-small"},
    "ada": {"rag_embedding_small_model": "text-embedding-ada-002"},
    "litellm": ALIAS | {"rag_embedding_model_aliases": "my-alias=ollama/nomic-embed-text"},
    "litellm-ollama": BGE,
    "vllm-2024": BGE,
    "llamafile": BGE,
    "opea": BGE,
    "file-path": BGE,
    "upper-case": {},
    "latest": BGE,
    "ollama-nan": BGE,
    "tei": BGE,
    "dashscope": {},
    "tei-8": BGE,
    "tokens-413": {},
    "mistral": BGE,
    "gateway": {},
    "one-text": {"rag_embedding_batch_size": 7},
    "all-zero": {},
    "short-answers": {},
}
REFUSED = {
    "llama-cpp-tokens": (BGE, ProviderAnswerError, "a vector per token .* pooling"),
    "sorting": ({}, ConfigurationError, "do not come in the order of the texts"),
}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_each_server_stores_the_vectors_of_its_texts_or_says_why_it_cannot(
    shop: OpenShop, emulator: Emulator, dialect: str
) -> None:
    texts = sentences(100)
    if dialect in REFUSED:
        settings, error, reason = REFUSED[dialect]
        with pytest.raises(error, match=reason):
            shop(dialect, **settings).buy(texts)
        return
    buyer = shop(dialect, **WORKING[dialect])
    purchase = buyer.buy(texts)
    assert (purchase.inputs, purchase.rejected) == (100, {})
    stored = vectors(buyer)
    expected = as_openai_answers(emulator, buyer, texts)
    assert stored.keys() == expected.keys()
    for key, vector in expected.items():
        assert stored[key] @ vector == pytest.approx(1, abs=1e-3), "another text's vector"


@pytest.mark.parametrize("dialect", sorted(WORKING.keys() - {"tokens-413", "short-answers"}))
def test_queries_are_answered_by_each_server(
    shop: OpenShop, emulator: Emulator, dialect: str
) -> None:
    buyer = shop(dialect, **WORKING[dialect])
    spec = buyer.space().spec
    texts = sentences(50)
    found = embed_queries(buyer.settings, spec, texts)
    expected = as_openai_answers(emulator, buyer, texts)
    for text, vector in zip(texts, found, strict=True):
        assert vector @ expected[text_hash(text)] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("openai", {"dimensions": True, "base64": True, "indexed": True, "largest_batch": 40}),
        ("gemini", {"indexed": True}),
        ("openrouter", {"model": "vendor/text-embedding-3-small"}),
        ("litellm-ollama", {"base64": False, "dimensions": False, "reports_usage": False}),
        ("vllm-2024", {"base64": False, "dimensions": False}),
        ("llamafile", {"model": None, "indexed": False, "reports_usage": False}),
        ("opea", {"model": None, "indexed": False, "normalised": False}),
        ("file-path", {"model": "/models/bge-m3-Q8_0.gguf"}),
        ("tei", {"largest_batch": 32, "batch_limited": True}),
        ("dashscope", {"largest_batch": 10, "batch_limited": True}),
        ("tei-8", {"largest_batch": 8, "batch_limited": True, "dimensions": False}),
        ("mistral", {"dimensions": False}),
        ("one-text", {"largest_batch": 1, "batch_limited": True}),
        ("all-zero", {"indexed": False}),
        ("short-answers", {"largest_batch": 5, "batch_limited": True}),
    ],
)
def test_the_probe_finds_what_a_server_does_and_stores_it(
    shop: OpenShop, dialect: str, expected: dict[str, object]
) -> None:
    buyer = shop(dialect, **WORKING[dialect])
    profile = buyer.buy(["a text"]).profile
    assert profile is not None
    assert {name: getattr(profile, name) for name in expected} == expected
    with buyer.database.connect() as connection:
        endpoint = endpoint_of(buyer.settings.openai_base_url)
        assert stored_profile(connection, 1, endpoint) == profile
    assert str(profile) in buyer.warnings[0]


def test_a_usual_server_is_probed_by_one_request_and_only_once(
    shop: OpenShop, emulator: Emulator
) -> None:
    shop().buy(["a text"])
    assert emulator.stats().requests == 2
    shop().buy(["another text"])
    assert emulator.stats().requests == 3


def test_a_larger_batch_than_ever_tried_is_probed_again(shop: OpenShop, emulator: Emulator) -> None:
    shop().buy(["a text"])
    profile = shop(rag_embedding_batch_size=60).buy(["another text"]).profile
    assert profile is not None
    assert profile.largest_batch == 60
    assert emulator.stats().requests == 4


def test_the_probe_is_paid_for_in_the_ledger(shop: OpenShop, emulator: Emulator) -> None:
    buyer = shop()
    purchase = buyer.buy(["a text"])
    stats = emulator.stats()
    assert (purchase.requests, purchase.tokens) == (stats.requests, stats.tokens_billed)
    (entry,) = buyer.ledger().values()
    assert entry == (2, 0, 0, 1, stats.tokens_billed)


def test_a_batch_limit_is_met_once(shop: OpenShop, emulator: Emulator) -> None:
    shop("tei", **BGE).buy(["a text"])
    emulator.reset()
    shop("tei", **BGE).buy(sentences(100))
    assert emulator.stats().by_status == {"200": 4}


def test_a_limit_of_tokens_is_learned_by_the_first_refusal(
    shop: OpenShop, emulator: Emulator
) -> None:
    texts = [f"{text} {'word ' * 20}" for text in sentences(120)]
    emulator.speak("openai")
    shop(rag_embedding_batch_size=2).buy(["a text"])
    emulator.reset()
    buyer = shop("tokens-413", rag_embedding_batch_size=2, rag_embedding_concurrency=1)
    purchase = buyer.buy(texts)
    assert (purchase.inputs, purchase.rejected) == (120, {})
    assert emulator.stats().by_status == {"200": 120, "413": 1}
    assert any("takes requests of up to about" in warning for warning in buyer.warnings)


@pytest.mark.parametrize(
    ("dialect", "settings", "reason"),
    [
        ("azure", DEPLOYED, r"RAG_EMBEDDING_MODEL_ALIASES=my-deployment=text-embedding-3-small"),
        ("litellm", ALIAS, r"RAG_EMBEDDING_MODEL_ALIASES=my-alias=ollama/nomic-embed-text"),
        ("latest", {"rag_embedding_small_model": "bge-m3"}, "SMALL_DIMENSIONS .* to 1024"),
    ],
)
def test_what_cannot_be_used_as_set_is_refused_with_the_setting_before_a_text_is_sent(
    shop: OpenShop, emulator: Emulator, dialect: str, settings: dict[str, object], reason: str
) -> None:
    buyer = shop(dialect, **settings)
    with pytest.raises(ConfigurationError, match=reason):
        buyer.buy(["a secret text"])
    assert emulator.stats().requests == 1
    assert buyer.kept() == set()


@pytest.mark.parametrize(
    ("dialect", "settings", "error"),
    [
        ("gemini", BGE | {"openai_api_key": "sk-wrong-key-0123456789"}, AuthenticationError),
        ("gateway", {"openai_api_key": "sk-wrong-key-0123456789"}, AuthenticationError),
        ("openai", {"openai_api_key": "sk-wrong-key-0123456789"}, AuthenticationError),
        ("gateway", {"rag_embedding_small_model": "no-such-model"}, ConfigurationError),
        ("openai", {"rag_embedding_small_model": "no-such-model"}, ConfigurationError),
    ],
)
def test_a_refused_key_or_model_is_reported_after_one_request_whatever_its_status(
    shop: OpenShop,
    emulator: Emulator,
    dialect: str,
    settings: dict[str, object],
    error: type[RagAssetsError],
) -> None:
    with pytest.raises(error):
        shop(dialect, **settings).buy(sentences(5))
    assert emulator.stats().requests == 1


def test_an_error_in_a_200_is_an_outage_and_is_retried(shop: OpenShop, emulator: Emulator) -> None:
    shop("openrouter").buy(["a text"])
    emulator.order(Fault(FaultKind.UNAVAILABLE, times=2))
    purchase = shop("openrouter").buy(["another text"])
    assert (purchase.inputs, purchase.retries) == (1, 2)


@pytest.mark.parametrize("count", [1, 40])
def test_a_text_that_fails_its_batch_each_time_is_found_and_set_aside(
    shop: OpenShop, emulator: Emulator, count: int
) -> None:
    texts = [*sentences(count), "this text has nan in it"]
    buyer = shop("ollama-nan", **BGE)
    purchase = buyer.buy(texts)
    assert purchase.inputs == count
    assert purchase.rejected == {
        text_hash(texts[-1]): (
            "InputRejectedError",
            "the provider fails on this text (status 500), and answers others",
        )
    }
    stats = emulator.stats()
    assert (purchase.requests, purchase.tokens) == (stats.ok, stats.tokens_billed)


def test_an_outage_sets_no_text_aside(shop: OpenShop, emulator: Emulator) -> None:
    shop().buy(["a text"])
    emulator.order(Fault(FaultKind.OUTAGE, seconds=60))
    buyer = shop()
    with pytest.raises(ProviderUnavailableError):
        buyer.buy(sentences(40))
    assert buyer.purchase.rejected == {}


def test_a_failure_that_is_over_by_the_next_try_keeps_the_better_form(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.SERVER_ERROR, times=2))
    profile = shop().buy(["a text"]).profile
    assert profile is not None
    assert (profile.base64, profile.dimensions) == (True, True)


def test_an_answer_by_another_model_than_probed_is_refused(
    shop: OpenShop, emulator: Emulator
) -> None:
    shop("openrouter").buy(["a text"])
    emulator.order(Fault(FaultKind.WRONG_MODEL))
    with pytest.raises(ProviderAnswerError, match="'text-embedding-ada-002' instead of"):
        shop("openrouter").buy(["another text"])


def test_settings_override_what_was_stored(shop: OpenShop, emulator: Emulator) -> None:
    buyer = shop("vllm-2024", **BGE)
    space = buyer.space()
    with buyer.database.connect() as connection:
        endpoint = endpoint_of(buyer.settings.openai_base_url)
        store_profile(connection, space.space_id, endpoint, Profile(largest_batch=40))
    with pytest.raises(InputRejectedError):
        shop("vllm-2024", **BGE, rag_embedding_max_rejected=0).buy(["a text"])
    forced = {"rag_embedding_encoding": "float", "rag_embedding_send_dimensions": False}
    profile = shop("vllm-2024", **BGE, **forced).buy(["a text"]).profile
    assert profile is not None
    assert (profile.base64, profile.dimensions) == (False, False)


def test_a_setting_that_is_taken_back_leaves_it_to_the_probe_again(shop: OpenShop) -> None:
    forced = {"rag_embedding_encoding": "float", "rag_embedding_item_order": "position"}
    first = shop(**forced).buy(["a text"]).profile
    then = shop().buy(["another text"]).profile
    assert first is not None
    assert then is not None
    assert (first.base64, first.indexed) == (False, False)
    assert (then.base64, then.indexed) == (True, True)


def test_an_alias_that_is_taken_back_no_longer_counts(shop: OpenShop) -> None:
    shop("azure", **WORKING["azure"]).buy(["a text"])
    with pytest.raises(ConfigurationError, match="RAG_EMBEDDING_MODEL_ALIASES"):
        shop("azure", **DEPLOYED).buy(["another text"])


def test_an_override_that_cannot_hold_is_refused_with_its_setting(shop: OpenShop) -> None:
    with pytest.raises(ConfigurationError, match="RAG_EMBEDDING_ITEM_ORDER=position"):
        shop("opea", **BGE, rag_embedding_item_order="index").buy(["a text"])


def test_a_failure_while_the_largest_batch_is_sought_does_not_lower_it(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(Fault(FaultKind.UNAVAILABLE), Fault(FaultKind.UNAVAILABLE, after=1, times=1))
    profile = shop().buy(["a text"]).profile
    assert profile is not None
    assert (profile.largest_batch, profile.batch_limited) == (40, False)


def test_a_probe_that_meets_a_rate_limit_goes_on_where_it_was(
    shop: OpenShop, emulator: Emulator
) -> None:
    emulator.order(*[Fault(FaultKind.RATE_LIMIT, after=n, retry_after_s=0.05) for n in (1, 2, 3)])
    buyer = shop("tei", **BGE)
    assert buyer.buy(["a text"]).rate_limited == 3
    emulator.reset()
    again = Shop(buyer.database, buyer.settings)
    emulator.speak("tei")
    assert again.buy(["another text"]).requests == 1


def test_a_refused_answer_is_entered_with_what_it_cost(shop: OpenShop, emulator: Emulator) -> None:
    shop().buy(["a text"])
    emulator.reset()
    emulator.order(Fault(FaultKind.WRONG_MODEL))
    buyer = shop()
    before = buyer.ledger()
    with pytest.raises(ProviderAnswerError):
        buyer.buy(["another text"])
    (old,), (new,) = before.values(), buyer.ledger().values()
    assert (new[0] - old[0], new[4] - old[4]) == (1, emulator.stats().tokens_billed)


def test_a_text_is_set_aside_though_the_first_key_has_no_quota(
    shop: OpenShop, emulator: Emulator
) -> None:
    keys = {"use_api_key_rotation": True, "openai_api_keys": "sk-test-one,sk-test-two"}
    shop("ollama-nan", **BGE, **keys).buy(["a text"])
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA, key="sk-test-one"))
    purchase = shop("ollama-nan", **BGE, **keys).buy(["good", "this text has nan in it"])
    assert (purchase.inputs, len(purchase.rejected)) == (1, 1)


@pytest.mark.parametrize(
    ("requested", "echoed", "same"),
    [
        ("bge-m3", "BAAI/bge-m3", True),
        ("bge-m3", "BGE-M3", True),
        ("bge-m3", "bge-m3:latest", True),
        ("bge-m3", "/models/bge-m3-q4_k_m.gguf", True),
        ("bge-m3", r"C:\models\bge-m3.gguf", True),
        ("text-embedding-ada-002", "text-embedding-ada-002-v2", True),
        ("e5-small", "e5-small-v2", False),
        ("bge-m3", "bge-m3-retromae", False),
        ("text-embedding-3-small", "text-embedding-3-large", False),
        ("text-embedding-3-small", "text-embedding-ada-002", False),
    ],
)
def test_names_of_one_model_are_distinguished_from_names_of_two(
    requested: str, echoed: str, same: bool
) -> None:
    assert same_model(requested, echoed) is same


@given(st.text(max_size=40))
def test_a_name_is_the_same_as_itself(name: str) -> None:
    assert same_model(name, name)


@pytest.mark.parametrize("aliases", ["a", "a=", "=b", "a=b,c"])
def test_aliases_that_cannot_be_read_are_refused(
    openai_settings: MakeSettings, aliases: str
) -> None:
    with pytest.raises(ValidationError, match="requested=answered"):
        openai_settings(rag_embedding_model_aliases=aliases)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, [{"error": {"details": [{"reason": "API_KEY_INVALID"}]}}], AuthenticationError),
        (400, {"error": {"code": "DeploymentNotFound"}}, ConfigurationError),
        (400, {"error": {"type": "invalid_request_error", "code": None}}, InputRejectedError),
        (400, {"error": "Model not found", "code": "MODEL_NOT_FOUND"}, ConfigurationError),
        (200, {"error": {"code": "insufficient_quota"}}, QuotaExceededError),
        (200, {"error": {"code": 429}}, RateLimitedError),
        (200, {"error": {"message": "?"}}, ProviderUnavailableError),
        (500, {"error": {"code": "invalid_api_key"}}, AuthenticationError),
        (503, {"error": {"code": "model_not_found"}}, ConfigurationError),
        (413, {"error": "too large", "error_type": "Validation"}, InputRejectedError),
        (424, {"error": "failed", "error_type": "Backend"}, ProviderUnavailableError),
        (403, {"error": {"code": "billing_not_active"}}, QuotaExceededError),
        (400, {"code": "Arrearage"}, QuotaExceededError),
        (403, {"error": {"code": "insufficient_user_quota"}}, QuotaExceededError),
        (400, {"error": {"code": "model_not_exist"}}, ConfigurationError),
        (400, {"error": {"param": "model", "code": None}}, ConfigurationError),
        (200, {"code": 1113}, ProviderUnavailableError),
        (200, {"errors": [{"code": "invalid_api_key"}]}, AuthenticationError),
        (500, None, ProviderUnavailableError),
        (500, "text", ProviderUnavailableError),
        (500, [], ProviderUnavailableError),
    ],
)
def test_a_refusal_is_classed_by_the_codes_in_its_body_first(
    status: int, body: object, expected: type[RagAssetsError]
) -> None:
    assert type(classify(status, body, {}, "sk-test-one")) is expected


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"error": {"code": 503}}, True),
        ([{"error": {"code": 503}}], True),
        ({"error": None, "data": [1]}, False),
        ({"data": []}, False),
        ({"errors": [{"code": 1}]}, True),
        ({"code": "model_not_found"}, True),
        ([], False),
        ("error", False),
    ],
)
def test_an_error_is_seen_in_any_body(body: object, refused: bool) -> None:
    assert refused_in(body) is refused
