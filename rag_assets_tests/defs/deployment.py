"""The real webserver and daemon, as a Dagster user starts them, and their GraphQL.

Each runs in a process group of its own and is stopped by it; whatever they started is looked for
afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 20.0
REPOSITORY = {"repositoryLocationName": "rag_assets", "repositoryName": "__repository__"}
T = TypeVar("T")


@dataclass(frozen=True)
class Deployment:
    """A running deployment: its address, and its DAGSTER_HOME, where it logs, too."""

    url: str
    folder: Path

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The one field of a query's or mutation's answer."""
        answer = httpx.post(
            f"{self.url}/graphql",
            json={"query": query, "variables": variables},
            trust_env=False,
            timeout=30,
        ).json()
        assert not answer.get("errors"), answer["errors"]
        (field,) = answer["data"].values()
        return dict(field)

    def family(self) -> list[psutil.Process]:
        """All processes of it, whoever started them: those with its DAGSTER_HOME."""
        return [process for process in psutil.process_iter() if home_of(process) == self.folder]

    def logs(self) -> str:
        """The last lines of each process, for a failing test's message."""
        tails = (path.read_text("utf-8", "replace")[-3000:] for path in self.folder.glob("*.log"))
        return "\n".join(tails)


@contextmanager
def deployed(folder: Path, environment: Mapping[str, str]) -> Iterator[Deployment]:
    """Start both, stop both, and check that no process is left.

    :param folder: DAGSTER_HOME, with a copy of the project's ``dagster.yaml``; where both run.
    """
    shutil.copy(ROOT / "dagster.yaml", folder)
    port = free_port()
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    commands = {
        "webserver": ["dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)],
        "daemon": ["dagster-daemon", "run", *workspace],
    }
    with ExitStack() as stack:
        started = []
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            started.append(
                subprocess.Popen(
                    [str(Path(sys.executable).parent / command[0]), *command[1:]],
                    cwd=folder,
                    env={**plain_environment(), **environment, "DAGSTER_HOME": str(folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        deployment = Deployment(f"http://127.0.0.1:{port}", folder)
        try:
            yield deployment
        finally:
            for process in started:
                stop(process)
            left = [member for member in deployment.family() if is_alive(member)]
            for member in left:
                member.kill()
        assert left == [], f"still running after the stop: {left}"


def plain_environment() -> dict[str, str]:
    """A minimal environment without our settings."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


def home_of(process: psutil.Process) -> Path | None:
    """A process's DAGSTER_HOME; none when it has none, is gone, or is somebody else's."""
    try:
        home = process.environ().get("DAGSTER_HOME")
    except psutil.Error:
        return None
    return Path(home) if home else None


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate its process group, by force if needed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait(STOP_TIMEOUT_S)


def is_alive(process: psutil.Process, *, patience_s: float = 10.0) -> bool:
    """Whether it still runs after a while; zombies do not count."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.1)
    return True


def wait_for(
    what: str, probe: Callable[[], T | None], deployment: Deployment, *, timeout_s: float
) -> T:
    """Ask until the answer is not ``None`` (or false).

    :raises AssertionError: it did not come; with the ends of the logs.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            found = probe()
        except httpx.TransportError:  # not up yet
            found = None
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s\n{deployment.logs()}")
