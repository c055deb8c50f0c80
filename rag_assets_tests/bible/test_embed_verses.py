"""Embedding a version against the real database and the emulator."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions, SpaceReport, embed_version
from rag_assets.bible.quality import version_quality
from rag_assets.errors import (
    AuditError,
    ConfigurationError,
    InputRejectedError,
    PolicyError,
    ProviderUnavailableError,
)
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.quality import judge_quality
from rag_assets.vectors.sql.spaces import OFFLINE_MODEL, Role
from rag_assets_tests.bible.vectors_are_right import assert_vectors_are_right
from rag_assets_tests.conftest import MakeSettings, elsewhere
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.vectors.vectors import count_rows

CODE = "EN_TEST"
OVERWRITE = EmbedOptions(mode="overwrite")


def embed(
    database: Database,
    settings: Settings,
    options: EmbedOptions | None = None,
    role: Role = "small",
    *,
    code: str = CODE,
    run_id: str = "run",
) -> SpaceReport:
    return embed_version(database, settings, code, options or EmbedOptions(), role, run_id=run_id)


def test_every_verse_gets_a_vector_and_is_bought_once(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, [*sentences(100), *sentences(20)])
    report = embed(database, openai_settings())
    assert (report.stale, report.embedded, report.reused, report.rejected) == (120, 100, 20, ())
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (100, 0)
    assert (report.requests, report.tokens) == (stats.ok, stats.tokens_billed)
    assert_vectors_are_right(database, emulator, CODE)


def test_the_ledger_says_what_the_provider_counted(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(50))
    settings = openai_settings(rag_embedding_small_usd_per_million_tokens=2)
    report = embed(database, settings, EmbedOptions(batch_size=20))
    stats = emulator.stats()
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT run_id, corpus, partition_key, key_fingerprint, requests, inputs, input_bytes,"
            " tokens, cost_usd::float8 FROM embedding_ledger"
        ).fetchall()
    size = sum(len(text.encode()) for text in sentences(50))
    cost = pytest.approx(stats.tokens_billed * 2 / 1e6)
    key = fingerprint("sk-test-one")
    assert rows == [("run", "bible", CODE, key, 3, 50, size, stats.tokens_billed, cost)]
    assert report.cost_usd == cost


def test_what_was_paid_at_an_unknown_price_is_unknown(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5))
    settings = openai_settings(
        rag_embedding_small_model="bge-m3",
        rag_embedding_small_dimensions=8,
        openai_base_url=elsewhere(emulator),
    )
    assert embed(database, settings, EmbedOptions()).cost_usd is None
    with database.connect() as connection:
        rows = connection.execute("SELECT tokens, cost_usd FROM embedding_ledger").fetchall()
    assert rows == [(emulator.stats().tokens_billed, None)]
    assert embed(database, settings, EmbedOptions()).cost_usd == 0, "nothing was bought"


def test_a_second_run_has_nothing_to_do_and_asks_nothing(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(100))
    embed(database, openai_settings())
    emulator.reset()
    report = embed(database, openai_settings())
    assert (report.stale, report.embedded, report.reused, report.requests) == (0, 0, 0, 0)
    assert emulator.stats().requests == 0


def test_only_the_changed_text_is_bought(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(100)
    load_version(database, CODE, texts)
    embed(database, openai_settings())
    emulator.reset()
    texts[41] = "A sentence that is new here"
    load_version(database, CODE, texts)
    report = embed(database, openai_settings())
    assert (report.stale, report.embedded, report.requests) == (1, 1, 1)
    assert emulator.stats().inputs_answered == 1
    assert_vectors_are_right(database, emulator, CODE)


def test_a_text_of_another_version_is_without_answer_again(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_FIRST", sentences(60))
    embed(database, openai_settings(), code="EN_FIRST")
    load_version(database, CODE, [*sentences(60), *sentences(5, word="hill")])
    report = embed(database, openai_settings())
    assert (report.stale, report.embedded, report.reused) == (65, 5, 60)
    assert emulator.stats().duplicate_answers == 0
    assert_vectors_are_right(database, emulator, CODE)


def test_a_limit_embeds_so_many_from_the_start_and_the_next_run_the_rest(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(30))
    assert embed(database, openai_settings(), EmbedOptions(limit=7)).embedded == 7
    with database.connect() as connection:
        done = connection.execute(
            "SELECT verse FROM verse_embeddings_s1 JOIN verses USING (verse_id) ORDER BY verse"
        ).fetchall()
    assert [row[0] for row in done] == [1, 2, 3, 4, 5, 6, 7]
    assert embed(database, openai_settings()).embedded == 23
    assert emulator.stats().inputs_answered == 30


def test_the_two_spaces_are_filled_apart_with_their_own_models(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(10))
    embed(database, openai_settings())
    large = embed(database, openai_settings(), role="large")
    assert large.cost_usd == pytest.approx(large.tokens * 0.13 / 1e6)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT model_name_small, dim_small, vector_dims(embedding_small),"
            " model_name_large, dim_large, vector_dims(embedding_large) FROM verse_embeddings"
        ).fetchall()
    assert rows == [("text-embedding-3-small", 1536, 1536, "text-embedding-3-large", 3072, 3072)]
    assert emulator.stats().inputs_answered == 20


def test_overwriting_buys_everything_anew_once_and_replaces_it(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, [*sentences(40), *sentences(10)])
    embed(database, openai_settings(), run_id="before")
    emulator.reset()
    report = embed(database, openai_settings(), OVERWRITE, run_id="after")
    assert (report.stale, report.embedded, report.reused) == (50, 40, 10)
    assert (emulator.stats().inputs_answered, emulator.stats().duplicate_answers) == (40, 0)
    with database.connect() as connection:
        runs = connection.execute("SELECT DISTINCT run_id FROM verse_embeddings_s1").fetchall()
    assert runs == [("after",)]
    assert_vectors_are_right(database, emulator, CODE)


def test_overwriting_goes_on_after_a_failure_without_paying_twice(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(60))
    embed(database, openai_settings(), run_id="before")
    emulator.reset()
    emulator.order(Fault(FaultKind.OUTAGE, after=3, seconds=60))
    settings = openai_settings(rag_embedding_batch_size=10, rag_embedding_max_retries=0)
    with pytest.raises(ProviderUnavailableError):
        embed(database, settings, OVERWRITE, run_id="failed")
    assert count_rows(database, "verse_embeddings_s1") == 60, "the old ones serve meanwhile"
    emulator.clear_faults()
    report = embed(database, settings, OVERWRITE, run_id="after")
    assert (report.requests, report.stale) == (3, 60)
    stats = emulator.stats()
    assert (stats.inputs_answered, stats.duplicate_answers) == (60, 0)
    with database.connect() as connection:
        runs = connection.execute("SELECT DISTINCT run_id FROM verse_embeddings_s1").fetchall()
    assert runs == [("after",)]


def test_an_outage_fails_the_run_shows_nothing_of_it_and_loses_nothing(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(100))
    emulator.order(Fault(FaultKind.OUTAGE, after=5, seconds=60))
    settings = openai_settings(rag_embedding_batch_size=10, rag_embedding_max_retries=0)
    with pytest.raises(ProviderUnavailableError):
        embed(database, settings)
    assert count_rows(database, "verse_embeddings_s1") == 0
    assert count_rows(database, "answered_texts_s1") == 50
    assert count_rows(database, "embedding_claims") == 0
    emulator.clear_faults()
    report = embed(database, settings)
    assert (report.requests, report.embedded, report.reused) == (5, 50, 50)
    assert emulator.stats().duplicate_answers == 0
    assert_vectors_are_right(database, emulator, CODE)


def test_a_refused_text_is_recorded_at_each_verse_that_has_it_and_fails_completeness(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, [*sentences(40), "A poisoned verse", "A poisoned verse"])
    emulator.order(Fault(FaultKind.POISON, text="poisoned"))
    report = embed(database, openai_settings())
    reason = "the provider refuses the text (invalid_input)"
    assert report.rejected == (f"GEN 1:41: {reason}", f"GEN 1:42: {reason}")
    assert (report.stale, report.embedded) == (42, 40)
    with database.connect() as connection:
        recorded = connection.execute(
            "SELECT error_class, message, run_id, count(*) FROM embedding_failures GROUP BY 1, 2, 3"
        ).fetchall()
        verdicts = judge_quality(version_quality(connection, openai_settings(), CODE))
    assert recorded == [("InputRejectedError", reason, "run", 2)]
    failed = {verdict.check: verdict for verdict in verdicts if verdict.failures}
    assert list(failed) == ["completeness"]
    assert failed["completeness"].examples == (
        "small: GEN 1:41: no vector",
        "small: GEN 1:42: no vector",
    )
    emulator.clear_faults()
    again = embed(database, openai_settings())
    assert (again.embedded, again.reused, again.rejected) == (1, 1, ())
    assert emulator.stats().duplicate_answers == 0
    assert_vectors_are_right(database, emulator, CODE)


def test_when_every_text_is_refused_the_run_fails_and_publishes_nothing(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(50))
    emulator.order(Fault(FaultKind.POISON, text="The"))
    with pytest.raises(InputRejectedError, match="RAG_EMBEDDING_MAX_REJECTED"):
        embed(database, openai_settings(rag_embedding_max_rejected=5))
    assert count_rows(database, "verse_embeddings_s1") == 0


def test_a_version_that_does_not_allow_it_is_refused_and_no_request_is_made(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5), replace(ALLOWED, ai_allowed=False))
    with pytest.raises(PolicyError, match=f"add the line `ai_allowed = true` to {CODE}/version"):
        embed(database, openai_settings())
    assert emulator.stats().requests == 0
    assert count_rows(database, "embedding_spaces") == 0


def test_a_version_whose_permission_was_taken_back_is_refused(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5))
    load_version(database, CODE, sentences(9), replace(ALLOWED, ai_allowed=False))
    with pytest.raises(PolicyError):
        embed(database, openai_settings())
    assert emulator.stats().requests == 0


def test_a_version_that_is_not_loaded_is_refused(
    database: Database, openai_settings: MakeSettings
) -> None:
    with pytest.raises(ConfigurationError, match="EN_NONE are not loaded: materialize `verses`"):
        embed(database, openai_settings(), code="EN_NONE")


def test_without_a_key_nothing_is_written_and_the_offline_embedder_is_not_taken(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5))
    with pytest.raises(ConfigurationError, match=r"OPENAI_API_KEY.*RAG_EMBEDDING_PROVIDER=offline"):
        embed(database, openai_settings(openai_api_key=None))
    assert count_rows(database, "embedding_spaces") == 0
    assert count_rows(database, "embedding_ledger") == 0


def test_the_offline_embedder_works_without_key_in_a_space_of_its_own(
    database: Database, make_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(40))
    report = embed(database, make_settings())
    assert (report.space.spec.model, report.embedded, report.cost_usd) == (OFFLINE_MODEL, 40, 0)
    assert emulator.stats().requests == 0
    with database.connect() as connection:
        verdicts = judge_quality(version_quality(connection, make_settings(), CODE))
    assert [verdict.failures for verdict in verdicts] == [(), (), (), ()]


def test_options_of_the_run_win_over_the_settings(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(40))
    settings = openai_settings(rag_embedding_max_retries=9, rag_embedding_timeout_s=60)
    emulator.order(Fault(FaultKind.HANG))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailableError):
        embed(database, settings, EmbedOptions(batch_size=40, max_retries=0, timeout_s=0.3))
    assert time.monotonic() - started < 5
    assert emulator.stats().requests == 1


def test_no_transaction_is_open_while_the_provider_is_asked(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(60))
    emulator.order(Fault(FaultKind.LATENCY, latency_ms=400))
    settings = openai_settings(rag_embedding_batch_size=20)
    seen = []
    with ThreadPoolExecutor(1) as pool, database.named("postgres").connect(autocommit=True) as c:
        running = pool.submit(embed, database, settings)
        while not running.done():
            if emulator.stats().in_flight == 3:
                seen += c.execute(
                    "SELECT state, backend_xmin IS NOT NULL FROM pg_stat_activity"
                    " WHERE datname = %s AND backend_type = 'client backend'",
                    (database.name,),
                ).fetchall()
            time.sleep(0.02)
        assert running.result().embedded == 60
    assert len(seen) > 6, "the moment was missed"
    assert set(seen) == {("idle", False)}


def test_what_the_audit_refuses_is_not_published(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    """A kept answer goes bad on the disk, so to speak, before a second run publishes it."""
    load_version(database, CODE, sentences(20))
    emulator.order(Fault(FaultKind.OUTAGE, after=1, seconds=60))
    settings = openai_settings(rag_embedding_batch_size=10, rag_embedding_max_retries=0)
    with pytest.raises(ProviderUnavailableError):
        embed(database, settings)
    emulator.clear_faults()
    with database.connect() as connection:
        zeros = "[" + ",".join(["0"] * 1536) + "]"
        connection.execute("UPDATE answered_texts_s1 SET embedding = %s", (zeros,))
    with pytest.raises(AuditError, match="10 are not normalised; nothing was published"):
        embed(database, settings)
    assert count_rows(database, "verse_embeddings_s1") == 0


def test_a_version_seen_half_copied_costs_nothing_once_it_is_whole(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(40)
    load_version(database, CODE, texts)
    embed(database, openai_settings())
    load_version(database, CODE, texts[:10])
    assert count_rows(database, "verse_embeddings_s1") == 10
    load_version(database, CODE, texts)
    report = embed(database, openai_settings())
    assert (report.stale, report.requests) == (30, 0)
    assert emulator.stats().inputs_answered == 40
    assert_vectors_are_right(database, emulator, CODE)


def test_what_is_set_aside_does_not_serve_an_overwrite(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(40)
    load_version(database, CODE, texts)
    embed(database, openai_settings())
    load_version(database, CODE, texts[:10])
    load_version(database, CODE, texts)
    report = embed(database, openai_settings(), OVERWRITE, run_id="again")
    assert report.embedded == 40
    assert emulator.stats().inputs_answered == 80
    assert_vectors_are_right(database, emulator, CODE)


def test_an_overwrite_that_is_started_again_under_its_id_does_not_pay_for_what_it_published(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(20))
    embed(database, openai_settings(), run_id="first")
    assert embed(database, openai_settings(), OVERWRITE, run_id="second").embedded == 20
    assert embed(database, openai_settings(), OVERWRITE, run_id="second").stale == 0
    assert emulator.stats().inputs_answered == 40


def test_a_space_that_was_refused_whole_is_judged_too(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5))
    settings = openai_settings()
    embed(database, settings)
    emulator.order(Fault(FaultKind.POISON, text="river"))
    embed(database, settings, role="large")
    with database.connect() as connection:
        verdicts = judge_quality(version_quality(connection, settings, CODE))
    (failed,) = (verdict for verdict in verdicts if verdict.failures)
    assert failed.check == "completeness"
    assert "large: 5 of 5 verses have no vector" in failed.failures[0]
