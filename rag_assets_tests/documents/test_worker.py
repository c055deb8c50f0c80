"""Runs over the queue: outcomes of good, bad, changed, repeated and selected documents."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from openai_emulator.faults import Fault, FaultKind
from rag_assets.documents.publishing import DocumentOutcome
from rag_assets.documents.sql.queue import mark_unchanged
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.documents.worker import process_documents
from rag_assets.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ProviderUnavailableError,
    RateLimitedError,
)
from rag_assets.lanes import LARGE, PROCESSING
from rag_assets_tests.conftest import elsewhere
from rag_assets_tests.documents.lane import (
    Lane,
    assert_all_is_right,
    assert_nothing_is_left_over,
    markdown,
    passage,
)
from rag_assets_tests.documents.queued import take


def test_waiting_documents_become_searchable(lane: Lane) -> None:
    lane.drop(one=markdown("river", "hill"), two=markdown("sea"), pt="# Olá\n\n" + passage("casa"))
    done = lane.process()
    stats = lane.emulator.stats()
    assert set(done.states().values()) == {"ready"}
    one = done[lane.key("one")]
    assert (one.chunks, one.embedded, one.reused) == (2, 2, 0)
    assert one.tokens > 200
    # of the chunks, and of the titles and headings in front of them
    assert one.tokens < one.cost_usd / 0.02 * 1e6 < one.tokens + 20
    assert set(one.seconds) == {"fetch", "extract", "chunk", "embed", "store"}
    assert (one.title, one.language) == ("River", "en")
    assert done.summary.states == {"ready": 3}
    assert (done.summary.chunks, done.summary.embedded) == (4, 4)
    assert (done.summary.requests, done.summary.tokens) == (stats.ok, stats.tokens_billed)
    assert (stats.inputs_answered, stats.duplicate_answers) == (4, 0)
    assert_all_is_right(lane)
    assert_nothing_is_left_over(lane)


def test_an_empty_queue_ends_the_run_immediately(lane: Lane) -> None:
    done = lane.process()
    assert done.outcomes == []
    assert lane.emulator.stats().requests == 0
    assert str(done.summary).startswith("no documents; 0 chunks")


def test_a_bad_document_does_not_affect_the_others(lane: Lane) -> None:
    lane.drop(good=markdown("river"), empty="", blank=" \n\n", cut=b"%PDF-1.7\n1 0 obj")
    done = lane.process()
    assert lane.states() == {"good": "ready", "empty": "dead", "blank": "dead", "cut": "dead"}
    empty = done[lane.key("empty")]
    assert empty.error_class == "EmptyDocumentError"
    assert (empty.error or "").startswith("empty.md: ")
    dead = lane.sql("SELECT path, error_class, attempts FROM rag_dlq ORDER BY path")
    assert dead == [
        ("blank.md", "EmptyDocumentError", 1),
        ("cut.md", "CorruptDocumentError", 1),
        ("empty.md", "EmptyDocumentError", 1),
    ]
    assert_all_is_right(lane)


def test_a_refused_passage_is_named_and_its_neighbours_are_embedded(lane: Lane) -> None:
    lane.drop(good=markdown("river"), bad=markdown("hill", "poison", "sea"), other=markdown("sea"))
    lane.emulator.order(Fault(FaultKind.POISON, text="poison"))
    done = lane.process()
    assert lane.states() == {"good": "ready", "bad": "dead", "other": "ready"}
    bad = done[lane.key("bad")]
    assert bad.error_class == "InputRejectedError"
    assert "bad.md: the provider refuses passage 2: " in (bad.error or "")
    lane.emulator.clear_faults()
    assert_all_is_right(lane)
    # What was bought of it is kept: mended, it costs only what is new.
    lane.emulator.reset()
    lane.drop(bad=markdown("hill", "remedy", "sea"))
    mended = lane.process(run_id="second")[lane.key("bad")]
    assert (mended.state, mended.embedded, mended.reused) == ("ready", 1, 2)
    assert lane.emulator.stats().inputs_answered == 1
    assert_nothing_is_left_over(lane)


def test_only_changed_passages_of_a_document_are_paid_for(lane: Lane) -> None:
    lane.drop(a=markdown("river", "hill", "sea"))
    lane.process()
    before = dict(lane.sql("SELECT text, chunk_id FROM document_chunks"))
    lane.emulator.reset()
    lane.drop(a=markdown("river", "lake", "sea"))
    done = lane.process(run_id="second")
    after = dict(lane.sql("SELECT text, chunk_id FROM document_chunks"))
    assert (done.outcomes[0].embedded, done.outcomes[0].reused) == (1, 2)
    assert lane.emulator.stats().inputs_answered == 1
    assert len(before.items() & after.items()) == 2
    assert_all_is_right(lane)
    assert_nothing_is_left_over(lane)


def test_the_old_content_is_searchable_until_the_new_one_is_published(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    lane.process()
    lane.drop(a=b"%PDF-1.7\n1 0 obj")
    assert lane.process(run_id="second").outcomes[0].state == "dead"
    assert lane.sql("SELECT count(*) FROM chunk_embeddings") == [(1,)]
    lane.drop(a=markdown("hill"))
    assert lane.process(run_id="third").outcomes[0].state == "ready"
    assert_all_is_right(lane)


def test_the_same_text_in_several_documents_is_paid_for_once(lane: Lane) -> None:
    lane.drop(**{f"copy{n}": markdown("river", "hill") for n in range(6)}, own=markdown("sea"))
    done = lane.process()
    assert lane.emulator.stats().inputs_answered == 3
    assert sum(outcome.embedded for outcome in done.outcomes) == 3
    assert sum(outcome.reused for outcome in done.outcomes) == 10
    assert sum(outcome.cost_usd for outcome in done.outcomes) == pytest.approx(
        done.summary.cost_usd, rel=0.2
    )
    lane.drop(later=markdown("river", "hill"))
    assert lane.process(run_id="second").outcomes[0].embedded == 0
    assert lane.emulator.stats().inputs_answered == 3
    assert_all_is_right(lane)


def test_selected_documents_that_are_up_to_date_are_unchanged(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"), bad="")
    lane.process()
    keys = [lane.key(name) for name in ("a", "b", "bad")]
    lane.emulator.reset()
    done = lane.process(run_id="second", keys=[*keys, "unknown"])
    assert done.states() == {keys[0]: "unchanged", keys[1]: "unchanged", keys[2]: "dead"}
    assert (done[keys[0]].chunks, done[keys[0]].title) == (1, "River")
    forced = lane.process(run_id="third", keys=keys, force=True)
    assert forced.states() == {keys[0]: "ready", keys[1]: "ready", keys[2]: "dead"}
    assert forced[keys[0]].reused == 1
    assert lane.emulator.stats().requests == 0


def test_selected_documents_are_processed_whatever_their_lane_and_the_others_are_not(
    lane: Lane,
) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"), gone=markdown("sea"))
    with lane.database.connect() as connection:
        connection.execute("UPDATE documents SET lane = %s WHERE path = 'a.md'", (LARGE,))
        withdraw(connection, [lane.key("gone")], by="command")
    gone = next(d.key for d in lane.dropped.documents() if d.path == "gone.md")
    done = lane.process(keys=[lane.key("a"), gone])
    assert done.states() == {lane.key("a"): "ready", gone: "withdrawn"}
    assert "withdrawn" in (done[gone].error or "")
    assert lane.states()["b"] == "waiting"


def test_changed_chunk_settings_split_a_selected_document_again(lane: Lane) -> None:
    lane.drop(a=passage("river", words=300))
    lane.process()
    before = lane.sql("SELECT count(*) FROM document_chunks")
    done = lane.process(run_id="second", keys=[lane.key("a")], rag_max_chunk_size=256)
    assert done.outcomes[0].state == "ready"
    assert lane.sql("SELECT count(*) FROM document_chunks") > before
    assert_all_is_right(lane)


def test_another_model_is_filled_from_stored_chunks(lane: Lane) -> None:
    lane.drop(a=markdown("river", "hill"))
    lane.process()
    (lane.folder / "a.md").unlink()  # nothing is read again
    large = lane.process(run_id="second", keys=[lane.key("a")], rag_documents_large=True)
    assert large.outcomes[0].state == "ready"
    assert large.outcomes[0].cost_usd == pytest.approx(
        large.outcomes[0].tokens * 0.13 / 1e6,
        rel=0.05,  # and of titles and headings
    )
    assert lane.sql("SELECT count(embedding_small), count(embedding_large) FROM chunk_embeddings") \
        == [(2, 2)]  # fmt: skip


def test_a_restored_document_costs_nothing(lane: Lane) -> None:
    lane.drop(a=markdown("river", "hill"))
    lane.process()
    text = (lane.folder / "a.md").read_bytes()
    (lane.folder / "a.md").unlink()
    lane.dropped.scan(force=True)
    assert lane.sql("SELECT count(*) FROM chunk_embeddings") == [(0,)]
    lane.emulator.reset()
    lane.drop(a=text)
    assert lane.process(run_id="second").outcomes[0].reused == 2
    assert lane.emulator.stats().requests == 0
    assert_nothing_is_left_over(lane)


def test_a_file_that_changed_after_the_scan_is_left_to_the_next_scan(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"))
    (lane.folder / "a.md").write_text(markdown("lake"))
    (lane.folder / "b.md").unlink()
    done = lane.process(rag_documents_per_run=2)
    assert [(outcome.state, outcome.error_class) for outcome in done.outcomes] == [
        ("waiting", "InboxUnavailableError")
    ] * 2
    assert lane.sql("SELECT DISTINCT state, attempts FROM documents") == [("waiting", 0)]
    lane.dropped.scan(force=True)
    assert lane.process(run_id="second").outcomes[0].state == "ready"
    assert lane.states() == {"a": "ready", "b": "withdrawn"}


def test_a_run_waits_while_others_use_up_the_maximum(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"))
    (busy,) = take(lane.database, run_id="other", keys=[lane.key("a")])
    told: list[DocumentOutcome] = []
    thread = threading.Thread(
        target=lambda: told.extend(lane.process(rag_max_concurrent_jobs=1).outcomes)
    )
    thread.start()
    thread.join(1.5)
    assert thread.is_alive()
    assert told == []
    with lane.database.connect() as connection:
        mark_unchanged(connection, busy.document_id, "other")
    thread.join(30)
    assert [outcome.key for outcome in told] == [lane.key("b")]


def test_a_run_ends_at_its_limits_and_a_large_document_has_a_run_of_its_own(
    lane: Lane,
) -> None:
    lane.drop(**{f"d{n}": markdown(f"topic {n}") for n in range(7)})
    assert len(lane.process(rag_documents_per_run=3).outcomes) == 3
    assert len(lane.process(rag_documents_mb_per_run=1 / 2**20, run_id="second").outcomes) == 1
    with lane.database.connect() as connection:
        connection.execute("UPDATE documents SET lane = %s WHERE state = 'waiting'", (LARGE,))
    assert lane.process(run_id="third").outcomes == []
    assert len(lane.process(run_id="fourth", lane=LARGE).outcomes) == 1
    assert len(lane.process(run_id="fifth", lane=None).outcomes) == 2


@pytest.mark.parametrize(
    ("fault", "error", "changes"),
    [
        (
            Fault(FaultKind.RATE_LIMIT, times=99, retry_after_s=50, after=1),
            RateLimitedError,
            {"rag_embedding_max_wait_s": 0},
        ),
        (
            Fault(FaultKind.UNAVAILABLE, times=99, after=1),
            ProviderUnavailableError,
            {"rag_embedding_max_retries": 0},
        ),
        (Fault(FaultKind.INSUFFICIENT_QUOTA, after=1), Exception, {}),
    ],
    ids=["rate limit", "unavailable", "quota"],
)
def test_a_provider_in_trouble_ends_the_run_and_costs_no_attempt(
    lane: Lane, fault: Fault, error: type[Exception], changes: dict[str, object]
) -> None:
    lane.drop(**{f"d{n}": markdown(f"topic {n}") for n in range(6)})
    lane.emulator.order(fault)
    told: list[DocumentOutcome] = []
    settings = lane.settings.model_copy(
        update={"rag_embedding_batch_size": 1, "rag_embedding_concurrency": 1, **changes}
    )
    with pytest.raises(error):
        process_documents(
            lane.database,
            settings,
            lane.dropped.inbox,
            run_id="run",
            lane=PROCESSING,
            on_outcomes=told.extend,
        )
    assert {outcome.state for outcome in told} <= {"waiting", "ready"}
    assert lane.sql("SELECT max(attempts) FROM documents WHERE state <> 'ready'") == [(0,)]
    assert lane.sql("SELECT count(*) FROM documents WHERE state IN ('running', 'dead')") == [(0,)]
    bought = lane.emulator.stats().inputs_answered
    assert bought == 1
    lane.emulator.clear_faults()
    with lane.database.connect() as connection:
        connection.execute("UPDATE documents SET not_before = now() - interval '1 s'")
        connection.execute("UPDATE provider_keys SET resting_until = now()")
    lane.process(run_id="second")
    assert set(lane.states().values()) == {"ready"}
    assert lane.emulator.stats().duplicate_answers == 0
    assert_all_is_right(lane)


def test_a_refused_key_ends_the_run_and_the_documents_wait(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    with pytest.raises(AuthenticationError):
        lane.process(openai_api_key=type(lane.settings.openai_api_key)("sk-wrong"))  # type: ignore[misc]
    (document,) = lane.dropped.documents()
    assert (document.state, document.error_class) == ("waiting", "AuthenticationError")
    assert document.attempts == 0


def test_without_a_key_nothing_starts(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        lane.process(openai_api_key=None)
    assert lane.states() == {"a": "waiting"}


def test_a_run_stops_at_its_budget_and_leaves_the_rest(lane: Lane) -> None:
    lane.drop(**{f"d{n}": markdown(f"topic {n}") for n in range(4)})
    with pytest.raises(BudgetExceededError, match="RAG_MAX_RUN_COST_USD"):
        lane.process(rag_max_run_cost_usd=1e-9, rag_documents_at_once=1)
    assert sorted(lane.states().values()) == ["ready", "waiting", "waiting", "waiting"]


def test_a_budget_refuses_unknown_prices_before_any_request(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    named = "RAG_EMBEDDING_SMALL_USD_PER_MILLION_TOKENS"
    unnamed = {
        "rag_embedding_small_model": "bge-m3",
        "rag_embedding_small_dimensions": 8,
        "openai_base_url": elsewhere(lane.emulator),
    }
    with pytest.raises(BudgetExceededError, match=f"nothing was requested. Set {named}"):
        lane.process(rag_max_run_cost_usd=5, **unnamed)
    assert lane.emulator.stats().requests == 0
    done = lane.process(**unnamed)
    assert done.summary.cost_usd is None
    assert "unknown" in str(done.summary)


def test_a_failing_caller_stops_the_run_which_returns_its_documents(lane: Lane) -> None:
    lane.drop(**{f"d{n}": markdown(f"topic {n}") for n in range(160)})

    def fail(outcomes: Sequence[DocumentOutcome]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_documents(
            lane.database,
            lane.settings.model_copy(update={"rag_documents_at_once": 1}),
            lane.dropped.inbox,
            run_id="run",
            lane=PROCESSING,
            on_outcomes=fail,
        )
    counts = dict(lane.sql("SELECT state, max(attempts) FROM documents GROUP BY 1"))
    assert set(counts) == {"ready", "waiting"}
    assert counts["waiting"] == 0
    assert [thread.name for thread in threading.enumerate() if "documents" in thread.name] == []
    lane.process(run_id="second")
    assert set(lane.states().values()) == {"ready"}
    assert lane.emulator.stats().duplicate_answers == 0


def test_outcomes_are_reported_in_the_callers_thread_as_they_come(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"))
    seen: list[tuple[int, int]] = []

    def look(outcomes: Sequence[DocumentOutcome]) -> None:
        (ready,) = lane.sql("SELECT count(*) FROM documents WHERE state = 'ready'")
        seen.extend((threading.get_ident(), int(str(ready[0]))) for _ in outcomes)

    process_documents(
        lane.database,
        lane.settings.model_copy(update={"rag_documents_at_once": 1}),
        lane.dropped.inbox,
        run_id="run",
        lane=PROCESSING,
        on_outcomes=look,
    )
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert all(ready >= place for place, (_, ready) in enumerate(seen, start=1))


def test_a_change_or_withdrawal_meanwhile_wins(lane: Lane) -> None:
    lane.drop(a=markdown("river"), b=markdown("hill"))
    lane.emulator.order(Fault(FaultKind.LATENCY, latency_ms=1500))
    told: list[DocumentOutcome] = []

    def run() -> None:
        told.extend(lane.process().outcomes)

    thread = threading.Thread(target=run)
    thread.start()
    while not lane.emulator.stats().in_flight:
        thread.join(0.01)
    with lane.database.connect() as connection:
        withdraw(connection, [lane.key("b")], by="command")
    lane.drop(a=markdown("lake"))
    thread.join(60)
    assert lane.states() == {"a": "ready", "b": "withdrawn"}
    assert [outcome.state for outcome in told] == ["ready"]
    assert lane.sql("SELECT heading[1] FROM chunk_embeddings") == [("Lake",)]


def test_the_offline_embedder_needs_no_key_and_costs_nothing(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    done = lane.process(rag_embedding_provider="offline", openai_api_key=None)
    assert (done.outcomes[0].state, done.outcomes[0].cost_usd) == ("ready", 0)
    assert lane.emulator.stats().requests == 0
