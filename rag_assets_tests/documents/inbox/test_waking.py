"""The watch takes documents in and wakes the queue, while Dagster or its own listening is down."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rag_assets.documents.sql import wake
from rag_assets.operations.dagster_ui import DagsterUi
from rag_assets.operations.waking import Plan, Watch
from rag_assets_tests.documents.lane import Lane

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
LEFT = "queue: left to the sensors: http://127.0.0.1"


def wait_for(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def watched(lane: Lane, caplog: pytest.LogCaptureFixture) -> Iterator[Lane]:
    """The lane of a watch that has done its first work, and whose Dagster is down.

    A file without a notice would settle for an hour.
    """
    caplog.set_level(logging.INFO, "rag_assets.watch")
    with socket.socket() as closed:  # bound and not listening: it refuses
        closed.bind(("127.0.0.1", 0))
        settings = lane.settings.model_copy(update={"rag_documents_settle_s": 3600.0})
        settings.rag_home.mkdir(parents=True, exist_ok=True)
        ui = DagsterUi(f"http://127.0.0.1:{closed.getsockname()[1]}")
        watch = Watch(lane.database, settings, ui)
        thread = threading.Thread(target=watch.run)
        thread.start()
        wait_for((settings.rag_home / "watch.alive").exists, "it does not run")
        wait_for(lambda: listeners(lane) != [] and watch._plan.pause(60) == 60, "it is busy")
        time.sleep(0.5)
        yield lane
        watch.stop()
        thread.join(20)
        assert not thread.is_alive()


def listeners(lane: Lane) -> list[int]:
    with lane.database.connect(autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND query = 'LISTEN rag_documents_waiting'"
        ).fetchall()
    return [pid for (pid,) in rows]


def test_documents_are_taken_in_while_dagster_is_down_and_it_is_said_once(
    watched: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        watched.dropped.drop(f"{number}.md", f"# {number}")
        wait_for(lambda count=number + 1: len(watched.states()) == count, "not taken in")  # type: ignore[misc]
    assert set(watched.states().values()) == {"waiting"}
    with watched.database.connect(autocommit=True) as connection:
        assert wake.listeners(connection) == 1, "the metric and the doctor see it"
    wait_for(lambda: LEFT in caplog.text, "the queue was not woken")
    time.sleep(2.5)  # the next attempt
    assert caplog.text.count(LEFT) == 1


def test_what_waits_after_a_lost_notification_is_found_when_it_listens_again(
    watched: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    (before,) = listeners(watched)
    with watched.database.connect(autocommit=True) as connection:
        connection.execute("ALTER TABLE documents DISABLE TRIGGER wake")
        watched.drop(upload="# Added by command")
        time.sleep(1)
        assert LEFT not in caplog.text, "there was a notification"
        connection.execute("SELECT pg_terminate_backend(%s)", (before,))
    wait_for(lambda: LEFT in caplog.text, "the queue was not woken")
    wait_for(lambda: listeners(watched) not in ([], [before]), "it does not listen again")


def test_work_planned_while_it_is_done_is_done_again() -> None:
    now = [0.0]
    plan = Plan(lambda: now[0])
    plan.within("scan", 5)
    plan.within("scan", 9)
    assert (plan.take("scan"), plan.pause(60)) == (False, 5)
    plan.after("scan", 7)
    now[0] = 7
    assert plan.take("scan")
    plan.within("scan", 0)  # a notice meanwhile
    plan.within("scan", 5)  # what the scan leaves
    assert plan.take("scan")
    assert not plan.take("scan")
    assert plan.pause(60) == 60
