"""Runs that are killed, and runs at the same time: nothing is bought twice, all vectors right."""

from __future__ import annotations

import random
import time
from multiprocessing.context import ForkServerProcess

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.sql import purchases
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import register_space
from rag_assets_tests.bible.processes import embed_in_process
from rag_assets_tests.bible.vectors_are_right import assert_vectors_are_right
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.vectors.vectors import count_rows

pytestmark = pytest.mark.long

BATCH, IN_FLIGHT = 10, 4


def slow(emulator: Emulator) -> None:
    """Each answer takes 200 ms from now on."""
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=200))


def settings_of(openai_settings: MakeSettings, **overrides: object) -> Settings:
    values = {"rag_embedding_batch_size": BATCH, "rag_embedding_concurrency": IN_FLIGHT}
    return openai_settings(**(values | overrides))


def finish(*processes: ForkServerProcess) -> None:
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def wait_for_answers(emulator: Emulator, count: int) -> None:
    deadline = time.monotonic() + 15
    while emulator.stats().inputs_answered < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_killed_at_any_moment_pays_again_only_for_what_was_in_flight(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(400)
    load_version(database, "EN_TEST", [*texts, *texts[:30]])
    slow(emulator)
    settings = settings_of(openai_settings)
    rng = random.Random(20)
    kills = 4
    for _ in range(kills):
        before = emulator.stats().inputs_answered
        process = embed_in_process(database, settings, "EN_TEST")
        wait_for_answers(emulator, before + 1)
        time.sleep(rng.uniform(0, 0.45))
        process.kill()
        process.join()
        assert count_rows(database, "verse_embeddings_s1") == 0
    emulator.clear_faults()
    embed_version(database, settings, "EN_TEST", EmbedOptions(), "small", run_id="last")
    stats = emulator.stats()
    assert stats.distinct_texts == 400
    assert stats.duplicate_answers <= kills * IN_FLIGHT * BATCH
    assert count_rows(database, "answered_texts_s1") == 0
    assert count_rows(database, "embedding_claims") == 0
    assert_vectors_are_right(database, emulator, "EN_TEST")


def test_two_processes_on_one_version_buy_each_text_once(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_TEST", sentences(120))
    slow(emulator)
    settings = settings_of(openai_settings)
    finish(*(embed_in_process(database, settings, "EN_TEST") for _ in range(2)))
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (120, 0)
    assert_vectors_are_right(database, emulator, "EN_TEST")


def test_processes_on_versions_with_the_same_texts_buy_each_text_once_in_all(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    common = sentences(80)
    own = {code: sentences(40, word=code) for code in ("EN_ONE", "EN_TWO", "EN_THREE")}
    for code, texts in own.items():
        load_version(database, code, [*texts, *common][:: -1 if code == "EN_TWO" else 1])
    slow(emulator)
    settings = settings_of(openai_settings)
    finish(*(embed_in_process(database, settings, code) for code in own))
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (200, 0)
    for code in own:
        assert_vectors_are_right(database, emulator, code)
    assert count_rows(database, "embedding_claims") == 0
    assert count_rows(database, "answered_texts_s1") == 0


def test_the_texts_of_a_killed_buyer_are_taken_over_at_once_by_another_version(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_ONE", sentences(120))
    load_version(database, "EN_TWO", sentences(120))
    slow(emulator)
    settings = settings_of(openai_settings)
    owner = embed_in_process(database, settings, "EN_ONE")
    wait_for_answers(emulator, 1)
    other = embed_in_process(database, settings, "EN_TWO")
    time.sleep(0.3)
    owner.kill()
    owner.join()
    killed = time.monotonic()
    emulator.clear_faults()
    finish(other)
    assert time.monotonic() - killed < 4
    stats = emulator.stats()
    assert stats.distinct_texts == 120
    assert stats.duplicate_answers <= IN_FLIGHT * BATCH
    assert_vectors_are_right(database, emulator, "EN_TWO")


def test_what_a_killed_version_had_bought_serves_another_version(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_ONE", sentences(120))
    load_version(database, "EN_TWO", sentences(120))
    slow(emulator)
    settings = settings_of(openai_settings)
    process = embed_in_process(database, settings, "EN_ONE")
    wait_for_answers(emulator, 2 * IN_FLIGHT * BATCH)
    process.kill()
    process.join()
    kept = count_rows(database, "answered_texts_s1")
    assert kept >= IN_FLIGHT * BATCH
    emulator.reset()
    report = embed_version(database, settings, "EN_TWO", EmbedOptions(), "small", run_id="r")
    assert (report.embedded, report.reused) == (120 - kept, kept)
    assert emulator.stats().inputs_answered == 120 - kept


def test_a_text_that_the_other_run_could_not_buy_is_tried_by_this_one(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = [*sentences(40), "A poisoned verse"]
    load_version(database, "EN_ONE", texts)
    load_version(database, "EN_TWO", texts)
    slow(emulator)
    emulator.order(Fault(FaultKind.POISON, text="poisoned"))
    settings = settings_of(openai_settings)
    finish(*(embed_in_process(database, settings, code) for code in ("EN_ONE", "EN_TWO")))
    assert emulator.stats().duplicate_answers == 0
    assert count_rows(database, "embedding_failures") == 2
    assert count_rows(database, "verse_embeddings_s1") == 80


def test_two_processes_keep_one_limit_between_them(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    """240 a minute: 13 requests may go at once, every further one takes 60/227 s."""
    settings = settings_of(openai_settings, rag_embedding_rate_limit=240)
    load_version(database, "EN_ONE", sentences(100, word="hill"))
    load_version(database, "EN_TWO", sentences(100, word="lake"))
    finish(*(embed_in_process(database, settings, code) for code in ("EN_ONE", "EN_TWO")))
    stats = emulator.stats()
    assert (stats.requests, stats.ok) == (20, 20)
    assert stats.first_request_at is not None
    assert stats.last_request_at is not None
    assert stats.last_request_at - stats.first_request_at > 6.5 * 60 / 227


def test_a_refused_text_is_not_kept_claimed_while_its_run_waits_for_another(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(30)
    load_version(database, "EN_TEST", texts)
    settings = settings_of(openai_settings)
    emulator.order(Fault(FaultKind.POISON, text="number 13 "))
    elsewhere = text_hash(texts[20])
    with database.connect(autocommit=True) as other:
        space = register_space(other, settings, "small")
        owner = purchases.new_owner(other)
        assert purchases.claim(other, space, [elsewhere], owner) == {elsewhere}
        run = embed_in_process(database, settings, "EN_TEST")
        wait_for_answers(emulator, 28)
        deadline = time.monotonic() + 15
        while count_rows(database, "embedding_claims") > 1:  # all that is left is the other's
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert run.is_alive()
        purchases.release_claims(other, owner)
        finish(run)
    assert count_rows(database, "verse_embeddings_s1") == 29
    assert count_rows(database, "embedding_failures") == 1
    assert emulator.stats().duplicate_answers == 0
