"""The asset ``verse_embeddings``: what a run pays for, reports and refuses."""

from __future__ import annotations

import shutil

import dagster as dg
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane

SMALL_PRICE, LARGE_PRICE = 0.02, 0.13  # dollars a million tokens: the settings' defaults


def test_the_metadata_matches_the_providers_counts(lane: Lane, emulator: Emulator) -> None:
    texts = [*sentences(30), *sentences(6), "a poisoned text that nobody embeds"]
    lane.drop("EN_RUN", texts)
    emulator.order(
        Fault(FaultKind.POISON, text="poisoned"),
        Fault(FaultKind.RATE_LIMIT, times=2, retry_after_s=0.1),
        Fault(FaultKind.SERVER_ERROR, times=1),
    )
    run = lane.run("EN_RUN", config={"batch_size": 8})
    stats = emulator.stats()
    told = run.metadata("verse_embeddings")
    assert told["embedded"] == stats.inputs_answered == 60  # 30 texts in two spaces
    assert told["dagster/partition_row_count"] == 36
    assert told["reused"] == 12
    assert told["failed"] == 2
    assert told["tokens"] == stats.tokens_billed
    assert told["requests"] == stats.ok
    assert told["rate_limited"] == stats.by_status["429"] == 2
    assert told["retries"] == stats.by_status["500"] == 1
    assert told["cost_usd"] == pytest.approx(
        stats.tokens_billed / 2 * (SMALL_PRICE + LARGE_PRICE) / 1e6
    )
    assert stats.duplicate_answers == 0
    assert stats.first_request_at is not None
    assert stats.last_request_at is not None
    assert 0 < told["rows_per_second"] < 72 / (stats.last_request_at - stats.first_request_at)
    assert told["refused_texts"] == (
        "- small: GEN 1:37: the provider refuses the text (invalid_input)\n"
        "- large: GEN 1:37: the provider refuses the text (invalid_input)"
    )
    spaces = str(told["spaces"]).splitlines()[2:]
    half = stats.tokens_billed // 2
    for line, start in zip(
        spaces,
        [
            "| small (s1) | text-embedding-3-small | halfvec(1536) | 36 | 30 | 6 | 1 |",
            "| large (s2) | text-embedding-3-large | halfvec(3072) | 36 | 30 | 6 | 1 |",
        ],
        strict=True,
    ):
        assert line.startswith(f"{start} {half} | ")
    assert lane.count("SELECT sum(tokens) FROM embedding_ledger") == stats.tokens_billed
    assert lane.rows("SELECT DISTINCT run_id, partition_key FROM embedding_ledger") == [
        (run.run_id, "EN_RUN")
    ]
    # One refused text: the rest is there, and the partition fails its completeness check.
    assert lane.count("SELECT count(*) FROM verse_embeddings") == 36
    assert run.failed_checks() == ["completeness"]
    logged = [event.user_message for event in lane.instance.all_logs(run.run_id)]
    assert "small: the provider refused GEN 1:37" in "\n".join(logged)


def test_a_second_run_pays_for_nothing_and_a_changed_verse_is_paid_for_alone(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_RUN", sentences(10))
    assert lane.run("EN_RUN").success
    before = emulator.stats()
    told = lane.run("EN_RUN").metadata("verse_embeddings")
    assert (told["embedded"], told["reused"], told["requests"], told["tokens"]) == (0, 0, 0, 0)
    assert emulator.stats().requests == before.requests

    lane.drop("EN_RUN", ["A beginning that is new", *sentences(10)[1:]])
    run = lane.run("EN_RUN")
    assert run.success
    assert run.metadata("verse_embeddings")["embedded"] == 2
    assert emulator.stats().inputs_answered == before.inputs_answered + 2


def test_the_source_is_a_link_and_a_version_without_a_folder_is_embedded_as_well(
    lane: Lane,
) -> None:
    folder = lane.drop("EN_RUN", sentences(3))
    lane.run("EN_RUN", job="bible_verses")
    shutil.rmtree(folder)
    told = lane.run("EN_RUN", only=["verse_embeddings"]).metadata("verse_embeddings")
    assert (told["embedded"], told["source"]) == (6, str(folder.resolve()))


def test_a_version_that_forbids_ai_is_refused_without_retries_or_requests(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_SHUT", sentences(3), ai_allowed=False)
    with pytest.raises(dg.Failure) as raised:
        lane.run("EN_SHUT", raise_on_error=True)
    assert raised.value.allow_retries is False
    assert raised.value.description is not None
    assert "add the line `ai_allowed = true` to EN_SHUT/version.toml" in raised.value.description
    assert raised.value.metadata["error_class"].value == "PolicyError"
    assert emulator.stats().requests == 0
    assert lane.count("SELECT count(*) FROM verses") == 3


def test_a_version_that_is_not_loaded_says_to_load_it_first(lane: Lane) -> None:
    lane.drop("EN_RUN", sentences(3))
    failure = lane.run("EN_RUN", only=["verse_embeddings"]).failure("verse_embeddings")
    assert failure.description == (
        "the verses of EN_RUN are not loaded: materialize `verses` first"
    )


def test_without_a_key_the_run_fails_rather_than_falling_back_to_offline(
    make_lane: MakeLane, emulator: Emulator
) -> None:
    lane = make_lane(openai_api_key=None)
    lane.drop("EN_RUN", sentences(3))
    failure = lane.run("EN_RUN").failure("verse_embeddings")
    assert "no OPENAI_API_KEY: set it in the environment or in .env" in failure.description
    assert "RAG_EMBEDDING_PROVIDER=offline" in failure.description
    assert failure.metadata == {"error_class": "ConfigurationError", "may_pass_later": False}
    assert emulator.stats().requests == 0
    assert lane.count("SELECT count(*) FROM embedding_ledger") == 0
    assert lane.count("SELECT count(*) FROM embedding_spaces WHERE provider = 'offline'") == 0


def test_offline_costs_nothing_when_it_is_asked_for(
    make_lane: MakeLane, emulator: Emulator
) -> None:
    lane = make_lane(rag_embedding_provider="offline", openai_api_key=None)
    lane.drop("EN_RUN", sentences(3))
    run = lane.run("EN_RUN")
    assert run.success
    told = run.metadata("verse_embeddings")
    assert (told["embedded"], told["tokens"], told["cost_usd"]) == (6, 0, 0.0)
    assert "lexical-char-ngrams-v1" in str(told["spaces"])
    assert emulator.stats().requests == 0


def test_a_budget_stops_the_run_before_any_request(make_lane: MakeLane, emulator: Emulator) -> None:
    lane = make_lane(rag_max_run_cost_usd=0.000001)
    lane.drop("EN_RUN", sentences(20))
    failure = lane.run("EN_RUN").failure("verse_embeddings")
    assert failure.metadata == {"error_class": "BudgetExceededError", "may_pass_later": False}
    assert "more than RAG_MAX_RUN_COST_USD = $0.0000" in failure.description
    assert "nothing was requested" in failure.description
    assert emulator.stats().requests == 0
    assert lane.count("SELECT count(*) FROM embedding_spaces") == 0

    enough = make_lane(rag_max_run_cost_usd=1)
    assert enough.run("EN_RUN").success


@pytest.mark.parametrize(
    ("fault", "error_class", "may_pass_later"),
    [
        (Fault(FaultKind.OUTAGE, seconds=60, after=2), "ProviderUnavailableError", True),
        (Fault(FaultKind.CUT, after=2), "ProviderUnavailableError", True),
        (Fault(FaultKind.HANG, after=2), "ProviderUnavailableError", True),
        (Fault(FaultKind.RATE_LIMIT, after=2, retry_after_s=60), "RateLimitedError", True),
        (Fault(FaultKind.INSUFFICIENT_QUOTA, after=2), "QuotaExceededError", False),
        (Fault(FaultKind.WRONG_MODEL, after=2), "ProviderAnswerError", False),
        (Fault(FaultKind.WRONG_DIMENSION, after=2), "ProviderAnswerError", False),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_an_error_is_classified_once_and_earlier_embeddings_are_kept(
    make_lane: MakeLane, emulator: Emulator, fault: Fault, error_class: str, may_pass_later: bool
) -> None:
    lane = make_lane(rag_embedding_concurrency=1, rag_embedding_max_wait_s=1)
    lane.drop("EN_RUN", sentences(12))
    emulator.order(fault)
    config = {"batch_size": 3, "max_retries": 0, "timeout": 0.5, "small_only": True}
    with pytest.raises(dg.Failure) as raised:
        lane.run("EN_RUN", config=config, raise_on_error=True)
    assert raised.value.allow_retries is may_pass_later
    assert raised.value.metadata["error_class"].value == error_class
    assert raised.value.metadata["may_pass_later"].value is may_pass_later
    assert lane.count("SELECT count(*) FROM answered_texts_s1") == 6
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 0

    emulator.clear_faults()
    with lane.corpus.database.connect() as connection:
        connection.execute("DELETE FROM provider_keys")  # as if the minute were over
    run = lane.run("EN_RUN", config=config)
    assert run.success
    told = run.metadata("verse_embeddings")
    assert (told["embedded"], told["reused"], told["requests"]) == (6, 6, 2)
