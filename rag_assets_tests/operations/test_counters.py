"""Counters never decrease, whatever happens to documents, attempts and readers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.attempts import count_attempts, delete_attempts
from rag_assets.documents.sql.leases import collect_lost
from rag_assets.operations.sql.dagster_state import EndedRun, delete_ended_runs, keep_ended_runs
from rag_assets.operations.sql.metrics import queue_figures, snapshot
from rag_assets.postgres.database import Connection, Database
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.queued import change, new, queue, take
from rag_assets_tests.operations.filled import LARGE, SMALL, scrape

KEYS = ("a", "b", "c", "d")
RUN = "run"
ENDED = datetime(2026, 1, 1, tzinfo=UTC)


def _each_held(database: Database, end: Callable[[Connection, int], object]) -> None:
    """End the attempts at all running documents."""
    with database.connect(autocommit=True) as connection:
        held = connection.execute("SELECT document_id FROM documents WHERE state = 'running'")
        for (document_id,) in held.fetchall():
            end(connection, document_id)


def _succeed(database: Database) -> None:
    _each_held(database, lambda c, n: document_queue.mark_unchanged(c, n, RUN))


def _fail(database: Database) -> None:
    _each_held(database, lambda c, n: document_queue.mark_for_retry(c, n, RUN, "E", "told", 0))


def _die(database: Database) -> None:
    _each_held(database, lambda c, n: document_queue.mark_dead(c, n, RUN, "NoTextError", "told"))
    with database.connect() as connection:
        document_queue.requeue(connection, KEYS, dead=True)


def _give_back(database: Database) -> None:
    _each_held(database, lambda c, _: document_queue.give_back(c, RUN))


def _lose(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE documents SET lease_until = now() - interval '1 s' WHERE state = 'running'"
        )
        collect_lost(connection, 3)


def _change(database: Database) -> None:
    change(database, KEYS[0], datetime.now(UTC).isoformat())


def _count(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        count_attempts(connection)


def _forget(database: Database) -> None:
    """Delete old data immediately: only counted attempts are deleted."""
    with database.connect(autocommit=True) as connection:
        delete_attempts(connection, days=0)
        delete_ended_runs(connection, days=0)


def _end_run(database: Database) -> None:
    """Read the same runs repeatedly, with one more each time."""
    with database.connect(autocommit=True) as connection:
        known = connection.execute("SELECT coalesce(sum(runs), 0) FROM run_totals").fetchone()
        assert known is not None
        seen = [
            EndedRun(f"run-{n}", "documents", None, "SUCCESS", ENDED, ENDED + timedelta(seconds=n))
            for n in range(int(known[0]), int(known[0]) + 2)
        ]
        keep_ended_runs(connection, seen)


STEPS = (
    lambda database: take(database, run_id=RUN, lane=None),
    lambda database: take(database, run_id=RUN, lane=None, limit=2),
    *(_succeed, _fail, _die, _give_back, _lose, _change, _count, _forget, _end_run),
)


def _counters(found: dict[str, float]) -> dict[str, float]:
    return {
        name: value
        for name, value in found.items()
        if name.partition("{")[0].endswith(("_total", "_bucket", "_sum", "_count"))
    }


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one history for all examples
)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=10))
def test_counters_never_decrease_or_disappear(
    database: Database, make_settings: MakeSettings, steps: list[Callable[[Database], object]]
) -> None:
    with database.connect() as connection:
        (known,) = connection.execute("SELECT count(*) FROM documents").fetchone() or (0,)
    if not known:
        queue(database, *(new(key, lane=LARGE if key == "d" else SMALL) for key in KEYS))
    before = _counters(scrape(make_settings(), database))
    for step in steps:
        step(database)
        now = _counters(scrape(make_settings(), database))  # by who was just started
        assert {name for name, value in before.items() if now.get(name, -1) < value} == set()
        _agree(now)
        before = now


def _agree(now: dict[str, float]) -> None:
    """Each lane's histogram counts the attempts with a meaningful duration."""
    for lane in (SMALL, LARGE):
        ends = [
            now[f'rag_jobs_completed_total{{lane="{lane}",status="{status}"}}']
            for status in ("succeeded", "failed", "dead")
        ]
        assert now[f'rag_job_duration_seconds_count{{lane="{lane}"}}'] == sum(ends)
        buckets = [value for name, value in now.items() if name.startswith(
            f'rag_job_duration_seconds_bucket{{lane="{lane}"')]  # fmt: skip
        assert buckets == sorted(buckets)


def test_started_jobs_are_the_ended_and_the_running_ones(
    database: Database, make_settings: MakeSettings
) -> None:
    queue(database, *KEYS)
    take(database, run_id=RUN, limit=3)
    started = f'rag_jobs_started_total{{lane="{SMALL}"}}'
    assert scrape(make_settings(), database)[started] == 3
    _give_back(database)
    assert scrape(make_settings(), database)[started] == 3
    take(database, run_id=RUN)
    with database.connect() as connection:  # a lease that is over is still an attempt
        connection.execute("UPDATE documents SET lease_until = now() - interval '1 s'")
    found = scrape(make_settings(), database)
    assert found[started] == 7
    assert found[f'rag_worker_active_jobs{{lane="{SMALL}"}}'] == 0
    assert found[f'rag_queue_length{{lane="{SMALL}"}}'] == 4


def test_an_attempt_that_ends_while_the_metrics_are_read_is_neither_lost_nor_counted_twice(
    database: Database, make_settings: MakeSettings
) -> None:
    """A reader that began before the end sees none of it: one snapshot for all statements."""
    queue(database, "a")
    take(database, run_id=RUN)
    with snapshot(database, 5) as connection:
        assert queue_figures(connection).held == {SMALL: 1}
        _succeed(database)
        seen = queue_figures(connection)
        assert seen.held == {SMALL: 1}
        assert seen.attempts == ()
