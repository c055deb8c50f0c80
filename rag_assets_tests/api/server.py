"""The real service in a separate process: start it, wait for it, query it, stop it.

Nothing here runs in the service.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rag_assets.postgres.database import Database

RETRIEVE = "/api/v1/ai/rag/retrieve"
CORPUS = "/api/v1/corpus"
VERSES = "/api/v1/verses"
EXPLAIN = "/api/v1/explain"
EVAL = "/api/v1/ai/rag/eval"
DOCUMENTS = "/api/v1/documents"
METRICS = "/metrics/prometheus/"
ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0

Found = TypeVar("Found")


class Server:
    """A running service.

    :param origin: such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.origin = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.origin, trust_env=False, timeout=30)
        self._log = log

    @property
    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log, if it logs JSON; any other line fails."""
        return [json.loads(line) for line in self.log.splitlines()]

    def retrieve(
        self, *, headers: Mapping[str, str] | None = None, **body: object
    ) -> httpx.Response:
        """Send a POST request."""
        return self.http.post(RETRIEVE, json=body, headers=dict(headers or {}))

    def found(self, **body: object) -> dict[str, Any]:
        """Send a POST request and return the successful response."""
        answer = self.retrieve(**body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def metrics(self) -> dict[str, float]:
        """Samples by name and labels, as exposed."""
        text = self.http.get(METRICS).raise_for_status().text
        samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in ("#", ""))
        return {name: float(value) for name, _, value in samples}

    def workers(self) -> list[int]:
        """Process ids of the workers, if there are several."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = []
        for pid in map(int, children.split()):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"spawn_main" in words:
                    found.append(pid)
        return found

    def terminate(self) -> None:
        """Ask it to stop, as a service manager does."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it, by force if necessary."""
        self.http.close()
        with suppress(ProcessLookupError):
            self.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def environment_of(database: Database, **extra: object) -> dict[str, str]:
    """A minimal environment for the database and the offline embedder, plus ``extra``."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(ROOT),
        "RAG_DATABASE_URL": database.conninfo,
        "RAG_EMBEDDING_PROVIDER": "offline",
        "RAG_SEARCH_EXACT_ROWS": "100",
        **{name: str(value) for name, value in extra.items()},
    }


def command(*arguments: str) -> list[str]:
    """The command line, run by this interpreter."""
    return [sys.executable, "-m", "rag_assets.cli.main", *arguments]


def free_port() -> int:
    """A port that no process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    folder: Path,
    environment: Mapping[str, str],
    *,
    workers: int = 1,
    ready: str = "/readyz",
    shell: str = "",
) -> Iterator[Server]:
    """Start the service and stop it at the end.

    :param folder: where it runs and its log is kept.
    :param ready: the path that answers 200 once it may be used.
    :param shell: what a shell does before it becomes the service, such as ``ulimit -n 1024``.
    """
    port = free_port()
    log = folder / f"serve-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*(["sh", "-c", f'{shell} && exec "$@"', "sh"] if shell else []),
             *command("serve", "--port", str(port), "--workers", str(workers))],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    server = Server(process, port, log)
    try:
        wait_until(lambda: _answers(server, ready), START_TIMEOUT_S, lambda: server.log)
        if workers > 1:
            wait_until(lambda: server.log.count("startup complete") >= workers, START_TIMEOUT_S)
        yield server
    finally:
        server.stop()


def _answers(server: Server, path: str) -> bool:
    assert server.process.poll() is None, server.log
    with suppress(httpx.TransportError):
        return server.http.get(path).status_code == 200
    return False


def wait_until(
    happened: Callable[[], Found], seconds: float = 20.0, failure: Callable[[], str] = str
) -> Found:
    """Poll until it is true.

    :param failure: the message if it never is.
    """
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s: {failure()}"
        time.sleep(0.05)
    return found
