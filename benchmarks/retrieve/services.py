"""Processes that answer over HTTP: ours, others', the trivial one; started, watched, stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.others import PEERS
from benchmarks.workload import ROOT

PATH = "/api/v1/ai/rag/retrieve"
_START_S = 90.0
_STOP_S = 40.0


@dataclass(frozen=True)
class Service:
    """One that answers POSTs with a vector.

    :param log: where its standard error goes.
    """

    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def worker_mb(self) -> float:
        """Resident memory of its largest process now: a worker; others only start workers."""
        parent = psutil.Process(self.process.pid)
        family = [parent, *parent.children(recursive=True)]
        return max(process.memory_info().rss for process in family) / 1e6

    def load(
        self,
        bodies: Path,
        *,
        connections: int,
        requests: int,
        warm_up: int = 0,
        start: int = 0,
    ) -> dict[str, object]:
        """Closed-loop load from a process of its own; what :mod:`benchmarks.retrieve.load` says."""
        words = {
            "port": self.port, "path": self.path, "bodies": bodies, "connections": connections,
            "requests": requests, "warm-up": warm_up, "start": start,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.retrieve.load",
             *(f"--{name}={value}" for name, value in words.items())],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"load on {self.name} failed:\n{done.stderr[-2000:]}")
        result: dict[str, object] = json.loads(done.stdout)
        return result


@contextmanager
def ours(
    name: str, home: Path, *, workers: int, environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """``rag-assets serve`` as a person starts it, its log lines into a file."""
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("rag-assets")), "serve",
        "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip
    settings = {"RAG_HOME": str(home), **(environment or {})}
    with _running(name, command, port, PATH, home, settings) as service:
        wait_until_ready(service, "/readyz")
        yield service


@contextmanager
def peer(name: str, script: str, arguments: list[str], folder: Path) -> Iterator[Service]:
    """Another's retriever behind ten lines of FastAPI."""
    port = free_port()
    command = [str(PEERS), str(ROOT / "benchmarks" / "peers" / script), *arguments]
    with _running(name, [*command, "--port", str(port)], port, "/retrieve", folder) as service:
        wait_until_ready(service, "/docs")
        yield service


def prepare_peer(script: str, arguments: list[str]) -> None:
    """Have a peer make its own table."""
    command = [str(PEERS), str(ROOT / "benchmarks" / "peers" / script), *arguments, "--prepare"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{script} could not make its table:\n{done.stderr[-4000:]}")


@contextmanager
def trivial(folder: Path) -> Iterator[Service]:
    """What answers without doing anything."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.retrieve.trivial", str(port)]
    with _running("trivial endpoint", command, port, "/", folder) as service:
        wait_until_ready(service, "/")
        yield service


def wait_until_ready(service: Service, path: str) -> None:
    """Until it answers 200."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(service.url + path, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if service.process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"{service.name} does not start:\n{service.log.read_text()[-4000:]}")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    name: str,
    command: list[str],
    port: int,
    path: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    log = folder / f"{name.replace(' ', '-').replace(',', '')}.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=lines,
        )
    try:
        yield Service(name, port, path, process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
