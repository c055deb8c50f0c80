"""`rag-assets up`: the real UI, daemon and API start, refuse a second set, and leave nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from rag_assets.cli.opening import UI_ADDRESS
from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import PROGRAM, Run
from rag_assets_tests.cli.test_supervisor import alive, wait_until
from rag_assets_tests.corpora import write_usfm_version

pytestmark = pytest.mark.slow


@pytest.fixture
def up(
    workplace: Path, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A running `up` on free ports, and the addresses of its UI and API."""
    process = subprocess.Popen(
        [PROGRAM, "up", "--port", "0", "--api-port", "0", "--json"],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        ready = json.loads("".join(lines))
        assert ready["event"] == "ready"
        yield process, ready["url"], ready["api"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.communicate()


def test_up_serves_the_ui_and_the_api_once_and_leaves_nothing_running(
    up: tuple[subprocess.Popen[str], str, str], run: Run, workplace: Path, database: Database
) -> None:
    process, url, api_url = up
    page = httpx.get(api_url, timeout=10, trust_env=False)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    ready = httpx.get(f"{api_url}/readyz", timeout=10, trust_env=False)
    assert (ready.status_code, ready.json()["title"]) == (
        503,
        "nothing released",
    )  # an empty corpus
    query = {"query": "{instance{daemonHealth{allDaemonStatuses{healthy}}}}"}

    def daemon_is_healthy() -> bool:
        answer = httpx.post(f"{url}/graphql", json=query, timeout=10, trust_env=False).json()
        statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        return bool(statuses) and all(status["healthy"] for status in statuses)

    wait_until(daemon_is_healthy, seconds=90)

    # What holds the code dies: another one takes its place, and the UI finds it.
    before = holders_of_code(process.pid)
    before[0].kill()
    location = (
        "{workspaceOrError{...on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"
    )

    def code_is_served() -> bool:
        answer = httpx.post(f"{url}/graphql", json={"query": location}, timeout=30, trust_env=False)
        (entry,) = answer.json()["data"]["workspaceOrError"]["locationEntries"]
        return bool(entry["locationOrLoadError"]["__typename"] == "RepositoryLocation")

    wait_until(lambda: holders_of_code(process.pid) not in ([], before), seconds=60)
    wait_until(code_is_served, seconds=60)
    wait_until(daemon_is_healthy, seconds=90)

    shown = workplace / ".rag" / UI_ADDRESS
    assert shown.read_text("utf-8") == url
    second = run("up", "--port", "0", "--api-port", "0")
    assert second.status == 1
    assert "`rag-assets up` is already running in this folder" in second.err

    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert [child for child in family if alive(child.pid)] == []
    assert not shown.exists()
    with database.named(f"{database.name}_dagster").connect() as connection:
        beats = connection.execute("SELECT count(*) FROM daemon_heartbeats").fetchone()
    assert beats == (0,)  # so that the next `up` does not have to wait and see


def holders_of_code(up: int) -> list[psutil.Process]:
    """The processes that sensors, schedules and runs come from."""
    found = []
    for child in psutil.Process(up).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "rag_assets.defs.code_server" in child.cmdline()[:6]:
                found.append(child)
    return found


@pytest.fixture
def inbox(workplace: Path) -> Path:
    """An inbox that is there before `up` starts, as is the folder of the Bibles."""
    (workplace / "inbox").mkdir()
    (workplace / "bibles").mkdir(exist_ok=True)
    return workplace / "inbox"


@pytest.mark.long
def test_what_is_dropped_is_processed_by_a_warm_run_before_any_sensor_ticks(
    inbox: Path, up: tuple[subprocess.Popen[str], str, str], database: Database
) -> None:
    process, _, _ = up

    def ready() -> int:
        with database.connect() as connection:
            found = connection.execute("SELECT count(*) FROM documents WHERE state = 'ready'")
            return int(found.fetchone()[0])  # type: ignore[index]

    def forked() -> list[psutil.Process]:
        """The process that runs are forked from, and the runs."""
        found = []
        for one in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has ended meanwhile
                if "multiprocessing.forkserver" in " ".join(one.cmdline()):
                    found.append(one)
        return found

    (inbox / "a.md").write_text("# Bridges\n\nA bridge carries a road.\n")
    wait_until(lambda: ready() == 1, seconds=120)
    dagster = database.named(f"{database.name}_dagster")
    with dagster.connect() as connection:
        tags = connection.execute(
            "SELECT key, value FROM run_tags JOIN runs USING (run_id)"
            " WHERE pipeline_name = 'document_processing'"
        ).fetchall()
    assert ("dagster/sensor_name", "document_queue") in tags
    assert ("rag/lane", "rag_processing") in tags
    assert "dagster/tick" not in {key for key, _ in tags}, "the daemon's sensor was first"

    for one in forked():  # the next run starts it again
        one.kill()
    (inbox / "b.md").write_text("# Arches\n\nAn arch is pressed.\n")
    wait_until(lambda: ready() == 2, seconds=120)
    assert forked()

    write_usfm_version(inbox.parent / "bibles", "EN_WOKEN", ["In the beginning."], ai_allowed=True)
    runs = (
        "SELECT run_id FROM runs JOIN run_tags USING (run_id)"
        " WHERE key = 'bible/version' AND value = 'EN_WOKEN'"
        " AND NOT EXISTS (SELECT FROM run_tags t WHERE t.run_id = runs.run_id"
        " AND t.key = 'dagster/tick') AND status = 'SUCCESS'"
    )

    def embedded() -> bool:
        with dagster.connect() as connection:
            return connection.execute(runs).fetchall() != []

    wait_until(embedded, seconds=120)

    watchers = [
        one
        for one in psutil.Process(process.pid).children()
        if one.cmdline()[1:4] == ["-m", "rag_assets.cli.entry", "watch"]
    ]
    assert len(watchers) == 1
    watchers[0].kill()  # the sensors, or the next one, find what is dropped meanwhile
    (inbox / "c.md").write_text("# Locks\n\nA lock raises ships.\n")
    wait_until(lambda: ready() == 3, seconds=120)


@pytest.mark.parametrize("by", ["option", "variable"])
@pytest.mark.parametrize(
    ("option", "variable"), [("--port", "RAG_UI_PORT"), ("--api-port", "RAG_API_PORT")]
)
def test_up_refuses_a_taken_port(run: Run, option: str, variable: str, by: str) -> None:
    import socket

    free = {"RAG_UI_PORT": "0", "RAG_API_PORT": "0"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        if by == "option":
            done = run("up", option, port, **free)
        else:
            done = run("up", **free | {variable: port})
    assert done.status == 1
    assert f"is in use: choose another with {option}, or {variable}" in done.err


def test_serve_refuses_a_taken_port_and_an_address_of_another_machine(run: Run) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--port", str(taken.getsockname()[1]))
    assert done.status == 1
    assert "is in use: choose another with --port" in done.err
    run("keys", "create", "one")  # without a key it would not listen there in any case
    elsewhere = run("serve", "--port", "8000", "--host", "192.0.2.1")
    assert elsewhere.status == 1
    assert "port 8000 on 192.0.2.1 cannot be used (Cannot assign requested" in elsewhere.err


def test_up_refuses_one_port_for_both(run: Run) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    done = run("up", "--port", port, "--api-port", port)
    assert done.status == 1
    assert f"port {port} on 127.0.0.1 is in use: choose another with --api-port" in done.err


def test_up_refuses_an_api_that_is_open_to_all(run: Run) -> None:
    done = run("up", "--port", "0", "--api-port", "0", RAG_API_HOST="192.0.2.1")
    assert done.status == 1
    assert "no API key exists, and 192.0.2.1 can be reached from other machines" in done.err


@pytest.mark.long
def test_up_starts_no_api_when_told(workplace: Path, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [PROGRAM, "up", "--port", "0", "--no-api", "--json"],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads("".join(process.stdout.readline() for _ in range(5)))
            commands = [
                " ".join(child.cmdline())
                for child in psutil.Process(process.pid).children(recursive=True)
            ]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert ready["api"] is None
    assert [command for command in commands if "serve" in command.split()] == []


@pytest.mark.parametrize("command", [("up", "--port", "0"), ("worker",)], ids=["up", "worker"])
def test_an_env_file_that_contradicts_the_environment_is_refused(
    run: Run, workplace: Path, command: tuple[str, ...]
) -> None:
    (workplace / ".env").write_text("RAG_EMBEDDING_PROVIDER=openai\n", encoding="utf-8")
    done = run(*command)
    assert done.status == 1
    assert "RAG_EMBEDDING_PROVIDER: the environment and .env have different values" in done.err
