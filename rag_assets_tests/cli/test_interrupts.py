"""Ctrl-C and SIGTERM at many moments of `demo`: one line, no trace; the next start continues."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from rag_assets.postgres import embedded
from rag_assets_tests.api.server import wait_until
from rag_assets_tests.cli.conftest import PROGRAM, ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

HELD = ["env", "--block-signal=INT,TERM"]  # as the Makefile starts it
LAST_WORDS = "what was done is kept, and the next start continues"
OF_AN_OUTER_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


@pytest.fixture
def checkout() -> Iterator[Path]:
    """What `demo` needs, with an embedded server of its own, outside of pytest's closed folders."""
    folder = Path(tempfile.mkdtemp(prefix="rag-demo-")).resolve()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "samples", folder / "samples")
    yield folder
    # A command that is interrupted does not wait for initdb, which removes what it made itself.
    wait_until(lambda: not working_in(folder), 60)
    shutil.rmtree(folder)


def working_in(folder: Path) -> list[psutil.Process]:
    """Processes whose working directory is the folder or in it; zombies have none."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@contextmanager
def started(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The leader of a group of processes, as from a terminal; killed if the block fails."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


@contextmanager
def program(folder: Path, *arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """``rag-assets``; a signal that comes before ``env`` has blocked it is held all the same."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | env
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    with ExitStack() as stack:
        try:
            process = stack.enter_context(started([*HELD, PROGRAM, *arguments], folder, env))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield process


def interrupted(
    folder: Path, number: signal.Signals, *, after_line: str = "", after_s: float = 0
) -> tuple[int, str]:
    """Status of a demo whose group of processes gets a signal, and what it says from then on."""
    with program(folder, "demo") as process:
        assert process.stdout is not None
        if after_line:
            next(line for line in process.stdout if after_line in line)
        time.sleep(after_s)
        os.killpg(process.pid, number)
        said = process.stdout.read()
    return process.returncode, said


def runs_under_way(folder: Path) -> int:
    """Runs that Dagster takes for started."""
    uri = embedded.ensure_running(folder / ".rag/postgres")
    try:
        with psycopg.connect(uri, dbname="bible_api_dagster") as connection:
            row = connection.execute(
                "SELECT count(*) FROM runs WHERE status IN ('STARTING', 'STARTED')"
            ).fetchone()
    finally:
        embedded.release(folder / ".rag/postgres")
    assert row is not None
    return int(row[0])


def test_a_signal_at_any_moment_of_the_demo_ends_it_and_the_next_one_continues(
    checkout: Path,
) -> None:
    moments: list[tuple[str, float, signal.Signals]] = [
        *(("", seconds, signal.SIGINT) for seconds in (0, 0.05, 0.2, 0.5, 1.0, 2.0)),
        ("database ready", 0, signal.SIGINT),
        ("bible_embeddings: read", 0, signal.SIGTERM),
        ("PT_SAMPLE small: 0", 0, signal.SIGINT),
        ("corpus_release", 0.5, signal.SIGINT),
        ("checking index_valid", 0, signal.SIGTERM),
        ("checking golden", 0.2, signal.SIGINT),
        ("release 1 is active", 0, signal.SIGINT),
    ]
    for line, seconds, number in moments:
        moment = f"{number.name} {seconds} s after {line or 'the start'!r}"
        status, said = interrupted(checkout, number, after_line=line, after_s=seconds)
        assert status == 128 + number, f"{moment}: {said}"
        assert said.count(LAST_WORDS) == 1, f"{moment}: {said}"
        assert "Traceback" not in said, f"{moment}: {said}"
        assert "rror" not in said, f"{moment}: {said}"
        assert not embedded.is_alive(checkout / ".rag/postgres"), moment
    assert runs_under_way(checkout) == 0
    with program(checkout, "demo") as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said
    assert re.search(r"release \d+ is active", said)
    assert "Jonah 1:17" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command", [["up", "--port", "0", "--api-port", "0"], ["serve", "--port", "0"], ["doctor"]]
)
def test_other_commands_end_quietly_while_they_start(
    checkout: Path, command: list[str], number: signal.Signals
) -> None:
    for seconds in (0.0, 0.3, 1.0):
        with program(checkout, *command, RAG_EMBEDDING_PROVIDER="offline") as process:
            time.sleep(seconds)
            os.killpg(process.pid, number)
            said, _ = process.communicate(timeout=120)
        assert process.returncode in (0, 128 + number), said
        assert "Traceback" not in said, said


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.3, 0.5])
def test_ctrl_c_while_make_installs_the_packages_shows_no_trace(
    tmp_path: Path, after_s: float
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.lock").write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name not in OF_AN_OUTER_MAKE}
    with started(["make", "VENV=env", "demo"], tmp_path, env | {"PIP_NO_INDEX": "1"}) as make:
        assert make.stdout is not None
        assert make.stdout.readline().startswith("installing 1 locked packages")
        time.sleep(after_s)
        os.killpg(make.pid, signal.SIGINT)
        shown, _ = make.communicate(timeout=60)
    assert "Traceback" not in shown
    assert make.returncode != 0
