"""Embedding by the provider's batches: from a run to the publication, through every fault."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.definitions import defs
from rag_assets.defs.bible.batch_sensor import embedding_batches
from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.defs.operations.schedules import build_schedules
from rag_assets.embedding.batch_lane import cancel, give_up
from rag_assets.embedding.providers.batch_api import BatchApi
from rag_assets.embedding.sql.batches import mark, open_batches, recent_batches
from rag_assets.operations.backfill import WindowRun, remaining_budget
from rag_assets.operations.windows import backfill_windows
from rag_assets.settings.model import Settings
from rag_assets_tests.bible.processes import embed_until_killed
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run

BATCH = {"requests": "batch", "batch_size": 8, "spaces": "small"}
PRICE = 0.02  # dollars a million tokens of the small model


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(rag_batch_min_texts=10)


def tick(lane: Lane, *, minutes: float = 0) -> list[dg.RunRequest] | str:
    """The runs that a tick of the sensor requests, or why it requests none."""
    clock = partial(lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    corpus = replace(lane.corpus, clock=clock)
    context = dg.build_sensor_context(instance=lane.instance, resources={"corpus": corpus})
    answer = embedding_batches(context)
    if isinstance(answer, dg.SkipReason):
        return answer.skip_message or ""
    assert isinstance(answer, list)
    return answer


def config_of(request: dg.RunRequest) -> dict[str, Any]:
    """The launchpad choices of a requested run."""
    return dict(request.run_config["ops"]["verse_embeddings"]["config"])


def obey(lane: Lane, request: dg.RunRequest) -> Run:
    """Execute a requested run in this process."""
    only = [key.to_user_string() for key in request.asset_selection or ()]
    code = str(request.partition_key)
    return lane.run(code, config=config_of(request), only=only, tags=request.tags)


def until_published(lane: Lane, ticks: int = 6) -> Run:
    """Follow the batches until a run materializes the version."""
    for number in range(ticks):
        requests = tick(lane, minutes=10 * number)
        if not isinstance(requests, list):
            time.sleep(0.2)  # a slow batch takes a moment
            continue
        for request in requests:
            run = obey(lane, request)
            if run.materialized():
                return run
    raise AssertionError(f"not published after {ticks} ticks")


def assert_paid_once(lane: Lane, emulator: Emulator, *, texts: int, share: float = 0.5) -> None:
    """Every text has a vector and was paid for once, at this share of the price."""
    stats = emulator.stats()
    assert (stats.distinct_texts, stats.duplicate_answers) == (texts, 0)
    assert lane.count("SELECT sum(tokens) FROM embedding_ledger") == stats.tokens_billed
    (cost,) = lane.rows("SELECT sum(cost_usd)::float8 FROM embedding_ledger")[0]
    assert cost == pytest.approx(stats.tokens_billed * PRICE * share / 1e6)
    assert lane.count("SELECT count(*) FROM embedding_batch_texts") == 0
    assert lane.count("SELECT count(*) FROM embedding_waits") == 0
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == texts


def test_a_version_is_embedded_by_a_batch_at_half_the_price(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(30))
    run = lane.run("EN_RUN", config=BATCH)
    assert run.success
    assert run.materialized() == ["verses"]
    logged = [entry.user_message for entry in lane.instance.all_logs(run.run_id)]
    assert any("30 texts; live $0.0000 in 0 min, by batch $0.0000 within 24 h" in one
               for one in logged)  # fmt: skip
    observed = [
        event.event_specific_data.asset_observation
        for event in run.result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    ]
    assert [(one.partition, one.metadata["waiting"].value) for one in observed] == [("EN_RUN", 30)]
    due = datetime.fromtimestamp(observed[0].metadata["due"].value, UTC)
    assert timedelta(hours=23) < due - datetime.now(UTC) < timedelta(hours=25)
    assert emulator.stats().requests == 0
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 0

    done = until_published(lane)
    assert done.metadata("verse_embeddings")["embedded"] == 30
    assert not done.failed_checks()
    assert_paid_once(lane, emulator, texts=30)
    assert tick(lane) == "no version waits for a batch"


def test_what_is_small_goes_live_in_auto(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(9))
    run = lane.run("EN_RUN", config={**BATCH, "requests": "auto"})
    assert run.materialized() == ["verses", "verse_embeddings"]
    assert_paid_once(lane, emulator, texts=9, share=1.0)


def test_a_live_run_does_not_request_what_is_in_a_batch(lane: Lane, emulator: Emulator) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    lane.drop("EN_TWO", sentences(30)[:10])
    assert lane.run("EN_TWO", config={"spaces": "small"}).materialized() == ["verses"]
    assert emulator.stats().requests == 0
    assert tick(lane) == "wait for batches: EN_RUN, EN_TWO"
    emulator.batches(seconds=0)
    assert until_published(lane).metadata("verse_embeddings")["embedded"] == 30
    assert until_published(lane).metadata("verse_embeddings")["reused"] == 10
    assert emulator.stats().duplicate_answers == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.BATCH_SHUFFLE),
        Fault(FaultKind.BATCH_DUPLICATE),
        Fault(FaultKind.BATCH_EXPIRED),
        Fault(FaultKind.BATCH_INVALID),
        Fault(FaultKind.BATCH_CUT),
        Fault(FaultKind.BATCH_SLOW, seconds=0.3),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_a_fault_loses_nothing_and_pays_for_nothing_twice(
    lane: Lane, emulator: Emulator, fault: Fault
) -> None:
    emulator.order(fault)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    until_published(lane)
    assert_paid_once(lane, emulator, texts=30)


def test_a_text_that_is_refused_is_found_live_and_named(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", [*sentences(30), "a poisoned text"])
    emulator.order(
        Fault(FaultKind.BATCH_LINE_ERROR, text="poisoned", times=2),
        Fault(FaultKind.POISON, text="poisoned"),
    )
    lane.run("EN_RUN", config=BATCH)
    done = until_published(lane)
    assert "GEN 1:31" in str(done.metadata("verse_embeddings")["refused_texts"])
    stats = emulator.stats()
    assert (stats.distinct_texts, stats.duplicate_answers) == (30, 0)
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 30


def test_batches_wait_for_room_in_the_providers_queue(
    make_lane: MakeLane, emulator: Emulator
) -> None:
    texts = sentences(60)
    tokens = sum(-(-len(text.encode()) // 4) for text in texts)
    lane = make_lane(rag_batch_min_texts=1, rag_batch_enqueued_tokens=tokens // 3)
    emulator.batches(enqueued_tokens=tokens // 3)
    lane.drop("EN_RUN", texts)
    lane.run("EN_RUN", config=BATCH)
    states = lane.rows("SELECT state FROM embedding_batches ORDER BY batch_id")
    assert states[0] == ("submitted",)
    assert ("prepared",) in states
    until_published(lane, ticks=12)
    assert_paid_once(lane, emulator, texts=60)


def test_a_queue_that_others_filled_is_waited_for(lane: Lane, emulator: Emulator) -> None:
    emulator.batches(enqueued_tokens=1)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    assert lane.rows("SELECT state, message FROM embedding_batches") == [
        ("prepared", "the provider's queue is full")
    ]
    assert tick(lane) == "wait for batches: EN_RUN"
    emulator.batches(enqueued_tokens=None)
    emulator.batches(enqueued_tokens=1_000_000)
    until_published(lane)
    assert_paid_once(lane, emulator, texts=30)


def test_a_cancelled_batch_keeps_what_is_answered(lane: Lane, emulator: Emulator) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(32))
    lane.run("EN_RUN", config=BATCH)
    with lane.corpus.database.connect(autocommit=True) as connection:
        cancel(connection, lane.corpus.settings, open_batches(connection)[0])
    emulator.batches(seconds=0)
    until_published(lane)
    with lane.corpus.database.connect() as connection:
        last, first = recent_batches(connection, 2)
    assert (first.provider, first.completed, last.completed) == ("cancelled", 16, 16)
    assert_paid_once(lane, emulator, texts=32)


def test_texts_that_are_gone_before_their_batch_begins_are_not_paid_for(
    lane: Lane, emulator: Emulator
) -> None:
    emulator.batches(enqueued_tokens=1)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    lane.drop("EN_RUN", sentences(12, word="stream"))
    lane.run("EN_RUN", job="bible_verses")
    emulator.batches(enqueued_tokens=1_000_000)
    until_published(lane)
    assert_paid_once(lane, emulator, texts=12)


def test_answers_to_texts_that_the_version_has_no_more_are_kept(
    lane: Lane, emulator: Emulator
) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(12, word="stream"))
    assert lane.run("EN_RUN", config={"spaces": "small"}).success
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    lane.drop("EN_RUN", sentences(12, word="stream"))
    lane.run("EN_RUN", config={"spaces": "small"})
    emulator.batches(seconds=0)
    assert until_published(lane).metadata("verse_embeddings")["tokens"] > 0
    assert lane.count("SELECT count(*) FROM embedding_batches WHERE state = 'done'") == 1
    assert lane.count("SELECT count(*) FROM answered_texts_s1 WHERE NOT set_aside") == 30
    assert lane.count("SELECT count(*) FROM embedding_waits") == 0


def test_texts_that_change_meanwhile_are_requested_again(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    lane.drop("EN_RUN", [*sentences(29), "Another last verse"])
    lane.run("EN_RUN", job="bible_verses")
    done = until_published(lane)
    assert done.success
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 30
    assert emulator.stats().duplicate_answers == 0


def test_a_trials_limit_does_not_hold_for_a_whole_run_after_it(
    lane: Lane, emulator: Emulator
) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config={**BATCH, "limit": 5})
    lane.run("EN_RUN", config=BATCH)
    emulator.batches(seconds=0)
    until_published(lane)
    assert_paid_once(lane, emulator, texts=30)


@pytest.mark.parametrize("command", ["give up", "cancel"])
def test_a_batch_that_a_run_begins_is_not_closed_meanwhile(
    lane: Lane, emulator: Emulator, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(30))
    upload, closing = BatchApi.upload, []

    def close() -> None:
        with lane.corpus.database.connect(autocommit=True) as connection:
            (batch,) = open_batches(connection)
            if command == "give up":
                assert give_up(connection, batch) == 30
            else:
                cancel(connection, lane.corpus.settings, batch)

    def closed_meanwhile(api: BatchApi, path: Path) -> str:
        closing.append(Thread(target=close))
        closing[0].start()
        closing[0].join(0.5)
        assert closing[0].is_alive(), "it did not wait for the run"
        return upload(api, path)

    monkeypatch.setattr(BatchApi, "upload", closed_meanwhile)
    lane.run("EN_RUN", config=BATCH)
    closing[0].join(10)
    batches = lane.rows("SELECT state, provider_id IS NULL FROM embedding_batches")
    assert batches == [("given up" if command == "give up" else "ended", False)]
    assert emulator.stats().requests == 0


def test_a_closed_batch_is_not_opened_by_a_late_answer(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    with lane.corpus.database.connect(autocommit=True) as connection:
        (batch,) = open_batches(connection)
        until_published(lane)
        mark(connection, batch.batch_id, state="ended", ended_at="now")
        assert open_batches(connection) == ()


def test_a_batch_that_the_provider_forgot_is_named_with_the_way_out(
    lane: Lane, emulator: Emulator
) -> None:
    emulator.batches(seconds=3600)
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    with lane.corpus.database.connect(autocommit=True) as connection:
        mark(connection, open_batches(connection)[0].batch_id, provider_id="batch_gone")
        assert tick(lane) == "wait for batches: EN_RUN"
        (batch,) = open_batches(connection)
        assert "does not know the batch batch_gone" in batch.message
        assert "give-up" in batch.message
        assert give_up(connection, batch) == 30
    emulator.batches(seconds=0)
    assert until_published(lane).metadata("verse_embeddings")["embedded"] == 30


KILLED_AT = {
    "after reserving": ("rag_assets.embedding.batch_lane:BatchLane._write", 1),
    "after uploading": ("rag_assets.embedding.providers.batch_api:BatchApi.create", 1),
    "after beginning": ("rag_assets.embedding.batch_lane:BatchLane._begun", 1),
    "before the results": ("rag_assets.embedding.providers.batch_api:BatchApi.download", 1),
    "among the results": ("rag_assets.embedding.batch_lane:BatchLane._keep_line", 3),
}
SATURDAY = datetime(2026, 11, 21, 2, tzinfo=ZoneInfo("America/Sao_Paulo")).astimezone(UTC)


def backfill(lane: Lane) -> Iterator[dg.RunRequest]:
    """The runs that the weekend's ticks request, each tick after the runs of the one before."""
    (schedule,) = (one for one in build_schedules(Settings.model_construct())
                   if one.name == "weekend_backfill")  # fmt: skip
    while True:
        with dg.build_schedule_context(
            instance=lane.instance,
            scheduled_execution_time=SATURDAY,
            resources={"corpus": replace(lane.corpus, clock=lambda: SATURDAY)},
            repository_def=defs.get_repository_def(),
        ) as context:
            requests = schedule.evaluate_tick(context).run_requests
        if not requests:
            return
        yield from requests


def kill(lane: Lane, request: dg.RunRequest, where: str) -> None:
    """Do what a requested run does, in a process that kills itself."""
    corpus, (point, call) = lane.corpus, KILLED_AT[where]
    options = EmbeddingConfig.of(config_of(request)).options()
    code = str(request.partition_key)
    ended = embed_until_killed(corpus.database, corpus.settings, code, options, point, call)
    assert ended == -signal.SIGKILL, f"{code} was not killed {where}"


@pytest.mark.long  # six processes that kill themselves, and as many runs: some 20 s
def test_a_weekend_of_batches_killed_at_five_points_pays_for_each_text_once(
    make_lane: MakeLane, emulator: Emulator, tmp_path: Path
) -> None:
    lane = make_lane(rag_batch_min_texts=10, rag_embedding_batch_size=8)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as stored:
        backfill_killed(replace(lane, instance=stored), emulator)


def backfill_killed(lane: Lane, emulator: Emulator) -> None:
    texts = sentences(100)
    versions = {"EN_ONE": texts[:60], "EN_TWO": texts[30:90], "EN_XXX": texts[50:]}
    for code, own in versions.items():
        lane.drop(code, own)
        lane.run(code, job="bible_verses")
    started = []
    for request, where in zip(backfill(lane), KILLED_AT, strict=False):
        assert config_of(request) == {"requests": "batch"}
        kill(lane, request, where)
        started.append(request)
    assert [request.partition_key for request in started] == list(versions)
    assert_the_estimate_is_spent(lane, started[0])

    left, done = list(KILLED_AT)[3:], set[str]()
    for number in range(12):
        requests = tick(lane, minutes=200 * number)
        for request in requests if isinstance(requests, list) else []:
            code = str(request.partition_key)
            ended = "SELECT count(*) FROM embedding_batches WHERE state = 'ended' AND"
            if left and lane.count(f"{ended} version_code = %s AND texts > 16", code):
                kill(lane, request, left.pop(0))
            elif obey(lane, request).materialized():
                done.add(code)
    assert (left, done) == ([], set(versions))
    stats = emulator.stats()
    assert (stats.distinct_texts, stats.duplicate_answers) == (200, 0)
    paid = lane.rows("SELECT sum(tokens)::int, sum(input_bytes)::int FROM embedding_ledger")[0]
    assert paid == (stats.tokens_billed, 2 * sum(len(text.encode()) for text in texts))
    costs = lane.rows("SELECT space_id, cost_usd::float8 / sum(tokens) OVER (PARTITION BY space_id,"
                      " run_id) * 1e6 FROM embedding_ledger")  # fmt: skip
    assert {(space, round(price, 4)) for space, price in costs} == {(1, 0.01), (2, 0.065)}
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 170
    assert lane.count("SELECT count(*) FROM verse_embeddings_s2") == 170
    assert lane.count("SELECT count(*) FROM embedding_waits") == 0


def assert_the_estimate_is_spent(lane: Lane, request: dg.RunRequest) -> None:
    """The window's budget counts a run that has ended while its batch is under way."""
    settings = lane.corpus.settings
    window = backfill_windows(settings).open_at(SATURDAY)
    assert window is not None
    ids = frozenset({f"process for {request.partition_key}"})
    estimate = float(request.tags["rag/estimated_usd"])
    run = WindowRun(str(request.partition_key), False, estimate, ids)
    with lane.corpus.database.connect() as connection:
        left = remaining_budget(connection, settings, window, [run], SATURDAY)
    assert estimate > 0
    assert left.usd == pytest.approx(settings.rag_backfill_budget_usd - estimate)
