"""The supervisor leaves nothing behind, however it ends, and starts again what ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rag_assets_tests.cli.conftest import ROOT


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rag_assets_tests.cli.supervised", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for pid in started(tmp_path):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def started(folder: Path) -> list[int]:
    """Every process id that the children wrote so far."""
    return [
        int(pid)
        for file in sorted(folder.glob("*.pids"))
        for pid in file.read_text(encoding="utf-8").split()
    ]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_children_and_grandchildren(
    supervisor: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    wait_until(lambda: len(started(tmp_path)) == 4)
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert not any(alive(pid) for pid in started(tmp_path))


def test_a_killed_supervisor_takes_its_children_along(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    wait_until(lambda: len(started(tmp_path)) == 4)
    children = started(tmp_path)[::2]
    supervisor.kill()
    wait_until(lambda: not any(alive(pid) for pid in children))


def test_a_child_that_ends_is_started_again_without_what_it_left(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    wait_until(lambda: len(started(tmp_path)) == 4)
    child, grandchild = started(tmp_path)[:2]
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: len(started(tmp_path)) == 6)
    assert not alive(grandchild)
    supervisor.terminate()
    said, _ = supervisor.communicate(timeout=20)
    assert "one ended with status -9: restarting it" in said
    assert not any(alive(pid) for pid in started(tmp_path))
