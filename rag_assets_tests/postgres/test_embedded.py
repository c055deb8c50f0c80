"""The embedded server, shared by real processes that start, exit and are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres import embedded

pytestmark = pytest.mark.slow

USER = """
import sys
from pathlib import Path
from rag_assets.postgres import embedded
sys.stdout.write(embedded.ensure_running(Path(sys.argv[1])) + "\\n")
sys.stdout.flush()
sys.stdin.read()  # until its input is closed
"""

Enter = Callable[[], subprocess.Popen[str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """One folder for all tests here, outside pytest's folder, which other users cannot enter."""
    home = Path(tempfile.mkdtemp(prefix="rag-embedded-"))
    yield home / "postgres"
    embedded.ensure_running(home / "postgres")
    embedded.release(home / "postgres")
    shutil.rmtree(home)


@pytest.fixture
def enter(cluster: Path) -> Iterator[Enter]:
    """Starts a process that uses the server until its input is closed."""
    users: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        users.append(
            subprocess.Popen(
                [sys.executable, "-c", USER, str(cluster)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return users[-1]

    yield start
    for user in users:
        leave(user)


def address(user: subprocess.Popen[str]) -> str:
    """Wait for the address that the process prints."""
    assert user.stdout is not None
    return user.stdout.readline().strip()


def leave(user: subprocess.Popen[str]) -> None:
    """The process exits normally."""
    user.communicate(timeout=30)


def kill(user: subprocess.Popen[str]) -> None:
    """The process is killed with kill -9."""
    user.kill()
    user.wait()


def answers(uri: str) -> bool:
    try:
        with psycopg.connect(uri, dbname="postgres") as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def postmaster(cluster: Path) -> int:
    return int((cluster / "postmaster.pid").read_text().splitlines()[0])


def test_concurrent_processes_share_one_server_and_the_last_stops_it(
    enter: Enter, cluster: Path
) -> None:
    first, second = enter(), enter()
    uri = address(first)
    assert address(second) == uri
    assert uri.startswith("postgresql://")
    leave(first)
    assert answers(uri)
    leave(second)
    assert not answers(uri)
    assert not (cluster / "postmaster.pid").exists()


def test_a_killed_user_neither_stops_the_server_nor_keeps_it_alive(enter: Enter) -> None:
    killed, other = enter(), enter()
    uri = address(killed)
    address(other)
    kill(killed)
    assert answers(uri)
    leave(other)
    assert not answers(uri)


def test_a_server_that_its_killed_users_left_behind_is_taken_over(
    enter: Enter, cluster: Path
) -> None:
    killed = enter()
    uri = address(killed)
    kill(killed)
    assert answers(uri)
    running = postmaster(cluster)
    heir = enter()
    assert address(heir) == uri
    assert postmaster(cluster) == running
    leave(heir)
    assert not answers(uri)


def test_committed_data_survive_kill_9_of_the_postmaster(enter: Enter, cluster: Path) -> None:
    first = enter()
    uri = address(first)
    with psycopg.connect(uri, dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    killed = postmaster(cluster)
    os.kill(killed, signal.SIGKILL)
    second = enter()
    with psycopg.connect(address(second), dbname="postgres") as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert postmaster(cluster) != killed
    leave(second)
    assert answers(uri), "the first process still uses it"
    leave(first)
    assert not answers(uri)


def test_a_server_waits_for_the_remaining_processes_of_a_killed_one(
    enter: Enter, cluster: Path
) -> None:
    with psycopg.connect(address(enter()), dbname="postgres") as connection:
        left_behind = psutil.Process(connection.info.backend_pid)
        left_behind.suspend()
        try:
            os.kill(postmaster(cluster), signal.SIGKILL)
            heir = enter()
            log = cluster / "log"
            while "shared memory block" not in log.read_text("utf-8", "replace"):
                time.sleep(0.05)
        finally:
            left_behind.resume()
        assert answers(address(heir))


def test_a_process_id_now_used_by_another_program_is_not_taken_for_the_server(
    enter: Enter, cluster: Path
) -> None:
    """As after a container restart: postmaster.pid exists, and another process has its id."""
    first = enter()
    address(first)
    crashed = postmaster(cluster)
    lock_files = [cluster / "postmaster.pid", *cluster.glob(".s.PGSQL.*.lock")]
    left_behind = [file.read_text() for file in lock_files]
    leave(first)
    for file, text in zip(lock_files, left_behind, strict=True):
        file.write_text(text.replace(f"{crashed}\n", f"{os.getpid()}\n", 1))
        shutil.chown(file, cluster.owner())
    second = enter()
    assert answers(address(second))
    leave(second)


def test_a_server_that_cannot_start_names_its_log_and_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    (folder / "log").write_text("")
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="does not start: see the end of") as caught:
        embedded.ensure_running(folder)
    embedded.release(folder)
    assert str(folder / "log") in str(caught.value)
    assert "RAG_HOME moves it" in str(caught.value)
    assert time.monotonic() - started < 15


def test_its_programs_are_found() -> None:
    said = subprocess.run(
        [embedded.binary("psql"), "--version"], check=True, capture_output=True, text=True
    )
    assert "(PostgreSQL) 18" in said.stdout
