"""Embedding by the provider's batches: from a run to the publication, through every fault."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.defs.bible.batch_sensor import embedding_batches
from rag_assets.defs.resources import CorpusResource
from rag_assets.embedding.batch_lane import cancel, follow
from rag_assets.embedding.sql.batches import open_batches, recent_batches
from rag_assets_tests.bible.processes import embed_until_killed
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run

BATCH = {"requests": "batch", "batch_size": 8, "spaces": "small"}
PRICE = 0.02  # dollars a million tokens of the small model


@pytest.fixture
def lane(make_lane: MakeLane) -> Lane:
    return make_lane(rag_batch_min_texts=10)


def tick(lane: Lane, *, minutes: float = 0) -> list[Run] | str:
    """A tick of the sensor, and the runs that it requests."""
    corpus = CorpusResource(
        lane.corpus.settings,
        lane.corpus.database,
        clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes),
    )
    context = dg.build_sensor_context(instance=lane.instance, resources={"corpus": corpus})
    answer = embedding_batches(context)
    if isinstance(answer, dg.SkipReason):
        return answer.skip_message or ""
    assert isinstance(answer, list)
    return [
        lane.run(
            str(request.partition_key),
            config={**BATCH, **request.run_config["ops"]["verse_embeddings"]["config"]},
            only=["verse_embeddings"],
        )
        for request in answer
    ]


def until_published(lane: Lane, ticks: int = 6) -> Run:
    """Follow the batches until a run materializes the version."""
    for number in range(ticks):
        runs = tick(lane, minutes=10 * number)
        for run in runs if isinstance(runs, list) else []:
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
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == texts


def test_a_version_is_embedded_by_a_batch_at_half_the_price(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(30))
    run = lane.run("EN_RUN", config=BATCH)
    assert run.success
    assert run.materialized() == ["verses"]
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
    assert tick(lane) == "no batch is under way"


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
    assert tick(lane) == "batches under way: 1"
    emulator.batches(seconds=0)
    until_published(lane)
    assert lane.run("EN_TWO", config={"spaces": "small"}).metadata("verse_embeddings")["reused"]
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
    assert tick(lane) == "batches under way: 1"
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


def test_texts_that_change_meanwhile_are_requested_again(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_RUN", sentences(30))
    lane.run("EN_RUN", config=BATCH)
    lane.drop("EN_RUN", [*sentences(29), "Another last verse"])
    lane.run("EN_RUN", job="bible_verses")
    done = until_published(lane)
    assert done.success
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 30
    assert emulator.stats().duplicate_answers == 0


POINTS = {
    "after reserving": "rag_assets.embedding.batch_lane:BatchLane._write",
    "after uploading": "rag_assets.embedding.providers.batch_api:BatchApi.create",
    "after beginning": "rag_assets.embedding.batch_lane:BatchLane._begun",
    "before the results": "rag_assets.embedding.providers.batch_api:BatchApi.download",
    "among the results": "rag_assets.embedding.batch_lane:BatchLane._keep_line",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_pays_for_nothing_twice(
    lane: Lane, emulator: Emulator, point: str
) -> None:
    settings = lane.corpus.settings
    lane.drop("EN_RUN", sentences(40))
    lane.run("EN_RUN", job="bible_verses")
    if point.endswith("results"):
        lane.run("EN_RUN", config=BATCH, only=["verse_embeddings"])
        with lane.corpus.database.connect(autocommit=True) as connection:
            follow(connection, settings)
    options = EmbedOptions(requests="batch", batch_size=8)
    call = 3 if point == "among the results" else 1
    database = lane.corpus.database
    code = embed_until_killed(database, settings, "EN_RUN", options, POINTS[point], call)
    assert code == -signal.SIGKILL
    until_published(lane)
    assert_paid_once(lane, emulator, texts=40)
