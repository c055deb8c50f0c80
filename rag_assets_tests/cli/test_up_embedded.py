"""`rag-assets up` keeps the embedded PostgreSQL: kill -9 of it, again and again, and another's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from rag_assets.cli.embedded_keeper import MAX_STARTS, WINDOW_S, EmbeddedKeeper
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres import embedded
from rag_assets_tests.cli.conftest import PROGRAM, ROOT
from rag_assets_tests.cli.test_supervisor import wait_until

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Site:
    """A running `up` with a database of its own."""

    home: Path
    ui: str
    api: str

    @property
    def cluster(self) -> Path:
        return self.home / ".rag/postgres"

    def said(self) -> str:
        return (self.home / "said").read_text(encoding="utf-8")

    def api_reads_the_database(self) -> bool:
        """Its readiness is read from there: in an empty corpus nothing is released."""
        try:
            answer = httpx.get(f"{self.api}/readyz", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.json().get("title") == "nothing released"

    def daemon_beats(self) -> float | None:
        """Time of the daemon's latest heartbeat, by way of the webserver and the database."""
        query = "{instance{daemonHealth{allDaemonStatuses{lastHeartbeatTime}}}}"
        try:
            answer = httpx.post(
                f"{self.ui}/graphql", json={"query": query}, timeout=10, trust_env=False
            )
            statuses = answer.json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None
        times = [status["lastHeartbeatTime"] for status in statuses]
        return min(times) if times and None not in times else None


def kill_postmaster(cluster: Path) -> int:
    """kill -9 of the server that serves this folder."""
    pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
    assert str(cluster) in psutil.Process(pid).cmdline()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not embedded.is_alive(cluster))
    return pid


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of its own. Not in pytest's, which every other pytest closes to others."""
    folder = Path(tempfile.mkdtemp(prefix="rag-up-")).resolve()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def site(home: Path) -> Iterator[Site]:
    """A running `up` on free ports, with the embedded server."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, home / name)
    environment = {"PATH": os.environ["PATH"], "RAG_EMBEDDING_PROVIDER": "offline"}
    with (
        (home / "said").open("w", encoding="utf-8") as said,
        subprocess.Popen(
            [PROGRAM, "up", "--port", "0", "--api-port", "0", "--json"],
            cwd=home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads("".join(process.stdout.readline() for _ in range(5)))
            yield Site(home, ready["url"], ready["api"])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(90)


def test_after_kill_9_of_the_embedded_server_everything_works_again(site: Site) -> None:
    wait_until(site.api_reads_the_database, seconds=60)
    wait_until(lambda: site.daemon_beats() is not None, seconds=90)
    before = site.daemon_beats()
    assert before is not None
    killed = kill_postmaster(site.cluster)
    wait_until(lambda: "the embedded PostgreSQL is up again" in site.said(), seconds=60)
    assert "the embedded PostgreSQL ended: restarting it" in site.said()
    assert int((site.cluster / "postmaster.pid").read_text().splitlines()[0]) != killed
    wait_until(site.api_reads_the_database, seconds=60)
    wait_until(lambda: (site.daemon_beats() or 0) > before, seconds=120)
    assert "Traceback" not in site.said()


def test_a_server_that_goes_on_dying_is_given_up_with_its_log(home: Path) -> None:
    cluster = home / "postgres"
    embedded.ensure_running(cluster)
    said: list[str] = []
    now = 0.0
    keeper = EmbeddedKeeper(cluster, say=said.append, clock=lambda: now)
    try:
        keeper.check()
        assert said == []
        for _ in range(MAX_STARTS):
            kill_postmaster(cluster)
            keeper.check()
            assert embedded.is_alive(cluster)
        kill_postmaster(cluster)
        with pytest.raises(
            DatabaseUnavailableError, match=r"ended 6 times .* see the end of"
        ) as up:
            keeper.check()
        assert str(cluster / "log") in str(up.value)
        assert len(said) == 2 * MAX_STARTS
        now += WINDOW_S
        keeper.check()
        assert embedded.is_alive(cluster)
    finally:
        embedded.release(cluster)


def test_a_process_id_that_is_another_programs_counts_as_ended(home: Path) -> None:
    cluster = home / "postgres"
    embedded.ensure_running(cluster)
    said: list[str] = []
    try:
        kill_postmaster(cluster)
        lock = cluster / "postmaster.pid"
        lines = lock.read_text().splitlines(keepends=True)
        lock.write_text("".join((f"{os.getpid()}\n", *lines[1:])))
        EmbeddedKeeper(cluster, say=said.append).check()
        assert embedded.is_alive(cluster)
        assert said[-1] == "the embedded PostgreSQL is up again"
    finally:
        embedded.release(cluster)
