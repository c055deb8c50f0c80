"""Runs, readers and databases that end or hang in the middle: nothing lost, twice, or stuck."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.documents.sql.leases import LOST
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.lanes import PROCESSING
from rag_assets.postgres import embedded
from rag_assets.postgres.database import open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings
from rag_assets_tests.documents.dropped import Dropped
from rag_assets_tests.documents.lane import (
    Lane,
    assert_all_is_right,
    assert_nothing_is_left_over,
    markdown,
)
from rag_assets_tests.documents.processes import process_elsewhere, readers
from rag_assets_tests.documents.queued import take

pytestmark = pytest.mark.long

BATCH, IN_FLIGHT = 4, 3
SMALL_REQUESTS = {"rag_embedding_batch_size": BATCH, "rag_embedding_concurrency": IN_FLIGHT}


def until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    """Poll a condition, and fail after a time limit."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def slow(lane: Lane, latency_ms: float = 100) -> None:
    lane.emulator.order(Fault(FaultKind.LATENCY, latency_ms=latency_ms))


def fill(lane: Lane, count: int) -> None:
    """Documents of three passages each under one title: one all have, one the document after."""
    lane.drop(
        **{f"d{n:03}": markdown("topics", f"topic {n}", f"topic {n + 1}") for n in range(count)}
    )


def start(lane: Lane, run_id: str, **changes: object) -> ForkServerProcess:
    settings = lane.settings.model_copy(update={**SMALL_REQUESTS, **changes})
    return process_elsewhere(lane.database, settings, PROCESSING, run_id)


def end_leases(lane: Lane) -> None:
    """Expire the leases."""
    with lane.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET lease_until = now() - interval '1 s' WHERE state = 'running'"
        )


def test_runs_that_are_killed_at_any_moment_lose_nothing_and_pay_only_for_what_was_in_flight(
    lane: Lane,
) -> None:
    fill(lane, 60)
    slow(lane)
    rng = random.Random(7)
    kills = 5
    for number in range(kills):
        before = lane.emulator.stats().inputs_answered
        process = start(lane, f"killed {number}")
        until(lambda before=before: lane.emulator.stats().inputs_answered > before)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.join()
        end_leases(lane)
    lane.emulator.clear_faults()
    lane.process(run_id="last")
    assert set(lane.states().values()) == {"ready"}
    stats = lane.emulator.stats()
    assert stats.distinct_texts == 62
    assert stats.duplicate_answers <= kills * IN_FLIGHT * BATCH
    assert_nothing_is_left_over(lane)
    assert_all_is_right(lane)
    until(lambda: readers() == [])


def test_two_runs_on_one_lane_do_everything_once(lane: Lane) -> None:
    fill(lane, 60)
    slow(lane, 50)
    processes = [start(lane, f"run {number}") for number in range(2)]
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0, 0]
    assert set(lane.states().values()) == {"ready"}
    assert lane.sql("SELECT count(DISTINCT run_id), max(attempts) FROM documents") == [(2, 1)]
    stats = lane.emulator.stats()
    assert (stats.distinct_texts, stats.duplicate_answers) == (62, 0)
    assert_nothing_is_left_over(lane)
    assert_all_is_right(lane)


def test_a_hanging_run_is_replaced_and_does_no_harm_when_it_continues(lane: Lane) -> None:
    fill(lane, 20)
    slow(lane)
    hanging = start(lane, "hanging")
    assert hanging.pid is not None
    until(lambda: lane.emulator.stats().inputs_answered > 0)
    os.kill(hanging.pid, signal.SIGSTOP)
    try:
        end_leases(lane)
        lane.process(run_id="next")
        assert set(lane.states().values()) == {"ready"}
        chunks = lane.sql("SELECT chunk_id FROM document_chunks ORDER BY 1")
    finally:
        os.kill(hanging.pid, signal.SIGCONT)
    hanging.join(60)
    assert hanging.exitcode == 1
    assert lane.sql("SELECT chunk_id FROM document_chunks ORDER BY 1") == chunks
    assert lane.emulator.stats().duplicate_answers <= IN_FLIGHT * BATCH
    lane.emulator.clear_faults()
    assert_nothing_is_left_over(lane, late_answers=IN_FLIGHT * BATCH)
    assert_all_is_right(lane)


def test_a_run_extends_its_leases_while_it_works(lane: Lane) -> None:
    fill(lane, 3)
    slow(lane, 2500)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lane.process, rag_document_lease_s=0.9)
        until(lambda: lane.emulator.stats().in_flight > 0)
        while not work.done():
            assert take(lane.database, run_id="thief") == ()
    assert set(lane.states().values()) == {"ready"}
    assert lane.sql("SELECT DISTINCT attempts, run_id FROM documents") == [(1, "run")]


def test_a_suspect_document_is_processed_alone(lane: Lane) -> None:
    lane.drop(suspect=markdown("river"), **{f"d{n}": markdown(f"topic {n}") for n in range(6)})
    with lane.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET error_class = %s, attempts = 2 WHERE path = 'suspect.md'", (LOST,)
        )
    slow(lane, 1500)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lane.process)
        until(lambda: lane.emulator.stats().in_flight > 0)
        assert lane.sql("SELECT path FROM documents WHERE state = 'running'") == [("suspect.md",)]
        work.result(60)
    assert set(lane.states().values()) == {"ready"}
    assert lane.sql("SELECT attempts FROM documents WHERE path = 'suspect.md'") == [(3,)]


def test_a_killed_reader_costs_its_document_one_attempt_and_the_others_none(lane: Lane) -> None:
    fill(lane, 5)
    killed = threading.Event()

    def kill_the_reader() -> None:
        until(lambda: readers() != [])
        reader: psutil.Process = readers()[0]
        reader.suspend()
        until(lambda: bool(lane.sql("SELECT FROM documents WHERE state = 'running'")))
        reader.kill()
        killed.set()

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(kill_the_reader)
        done = lane.process()
        work.result(60)
    assert killed.is_set()
    assert set(lane.states().values()) == {"ready"}
    assert sorted(outcome.state for outcome in done.outcomes) == ["ready"] * 5 + ["waiting"]
    (waiting,) = (outcome for outcome in done.outcomes if outcome.state == "waiting")
    assert waiting.error_class == "ExtractionInterruptedError"
    assert lane.sql("SELECT sum(attempts) FROM documents") == [(6,)]


def test_documents_that_kill_their_reader_each_time_become_dead_letters(
    lane: Lane,
) -> None:
    lane.drop(a=markdown("river"))
    stop = threading.Event()

    def kill_every_reader() -> None:
        while not stop.is_set():
            for reader in readers():
                reader.kill()
            stop.wait(0.02)

    thread = threading.Thread(target=kill_every_reader)
    thread.start()
    try:
        done = [lane.process(run_id=f"run {n}").outcomes for n in range(3)]
    finally:
        stop.set()
        thread.join()
    assert [outcome.state for outcomes in done for outcome in outcomes] == ["waiting"] * 4 + [
        "dead"
    ]
    (document,) = lane.dropped.documents()
    assert (document.error_class, document.attempts) == ("ExtractionInterruptedError", 5)


def test_cut_connections_end_the_run_and_its_documents_are_requeued(lane: Lane) -> None:
    fill(lane, 20)
    slow(lane, 300)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lane.process, **SMALL_REQUESTS)
        until(lambda: lane.emulator.stats().inputs_answered > 0)
        lane.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(DatabaseUnavailableError):
            work.result(60)
    waiting = lane.sql("SELECT DISTINCT attempts FROM documents WHERE state = 'waiting'")
    assert waiting == [(0,)]
    assert set(lane.states().values()) <= {"waiting", "ready"}
    lane.emulator.clear_faults()
    lane.process(run_id="second")
    assert set(lane.states().values()) == {"ready"}
    assert lane.emulator.stats().duplicate_answers <= IN_FLIGHT * BATCH
    assert_nothing_is_left_over(lane)
    assert_all_is_right(lane)


@pytest.fixture
def own_server(emulator: Emulator, lane: Lane) -> Iterator[tuple[Lane, Path]]:
    """A lane on its own PostgreSQL server, to be killed."""
    home = Path(tempfile.mkdtemp(prefix="rag-documents-"))
    database = open_database(Settings(rag_home=home))
    migrate(database)
    try:
        dropped = Dropped(lane.folder, database, lane.settings)
        yield Lane(dropped, emulator), home / "postgres"
    finally:
        embedded.ensure_running(home / "postgres")
        embedded.release(home / "postgres")
        shutil.rmtree(home)


def test_a_killed_postgresql_loses_nothing(own_server: tuple[Lane, Path]) -> None:
    lane, data = own_server
    fill(lane, 30)
    slow(lane, 200)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(lane.process, **SMALL_REQUESTS)
        until(lambda: lane.emulator.stats().inputs_answered >= 2 * BATCH)
        os.kill(int((data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        with pytest.raises(DatabaseUnavailableError):
            work.result(90)
    embedded.ensure_running(data)
    assert set(lane.states().values()) <= {"waiting", "ready", "running"}
    end_leases(lane)
    lane.emulator.clear_faults()
    lane.process(run_id="second")
    assert set(lane.states().values()) == {"ready"}
    assert lane.sql("SELECT max(attempts) <= 2 FROM documents") == [(True,)]
    assert lane.emulator.stats().duplicate_answers <= 2 * IN_FLIGHT * BATCH
    assert_nothing_is_left_over(lane)
    assert_all_is_right(lane)
