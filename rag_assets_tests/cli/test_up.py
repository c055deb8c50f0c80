"""`rag-assets up`: the real UI and daemon start, refuse a second pair, and leave nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from rag_assets.store.database import Database
from rag_assets_tests.cli.conftest import PROGRAM, Run
from rag_assets_tests.cli.test_supervisor import alive, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def up(workplace: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `up` on a free port, and its address."""
    process = subprocess.Popen(
        [PROGRAM, "up", "--port", "0", "--json"],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        ready = json.loads("".join(lines))
        assert ready["event"] == "ready"
        yield process, ready["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.communicate()


def test_up_serves_the_ui_once_and_leaves_nothing_running(
    up: tuple[subprocess.Popen[str], str], run: Run, workplace: Path, database: Database
) -> None:
    process, url = up
    query = {"query": "{instance{daemonHealth{allDaemonStatuses{healthy}}}}"}

    def daemon_is_healthy() -> bool:
        answer = httpx.post(f"{url}/graphql", json=query, timeout=10, trust_env=False).json()
        statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        return bool(statuses) and all(status["healthy"] for status in statuses)

    wait_until(daemon_is_healthy, seconds=90)

    second = run("up", "--port", "0")
    assert second.status == 1
    assert "`up` runs already in this folder" in second.err

    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert [child for child in family if alive(child.pid)] == []
    with database.named(f"{database.name}_dagster").connect() as connection:
        beats = connection.execute("SELECT count(*) FROM daemon_heartbeats").fetchone()
    assert beats == (0,)  # so that the next `up` does not have to wait and see


def test_up_refuses_a_taken_port(run: Run) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("up", "--port", str(taken.getsockname()[1]))
    assert done.status == 1
    assert "is taken: choose another with --port" in done.err


def test_up_refuses_an_env_file_that_contradicts_the_environment(run: Run, workplace: Path) -> None:
    (workplace / ".env").write_text("RAG_EMBEDDING_PROVIDER=openai\n", encoding="utf-8")
    done = run("up", "--port", "0")
    assert done.status == 1
    assert "RAG_EMBEDDING_PROVIDER: the environment and .env say different things" in done.err
