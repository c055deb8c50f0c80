"""The emulator as tests and benchmarks use it: started as a process of its own, then ordered about.

Nothing here runs in the server.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx

from openai_emulator.accounting import Stats
from openai_emulator.faults import Fault
from openai_emulator.limits import Limits

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
# Megabyte answers stay in glibc's heap instead of going back to the kernel each time: 9 → 7 ms of
# CPU for a batch of 128 texts. Read when a process starts, so it cannot set them itself.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "100000000", "MALLOC_MMAP_THRESHOLD_": "100000000"}


class Emulator:
    """A running emulator.

    :param origin: such as ``http://127.0.0.1:8080``.
    :param pid: its process id, where it is ours.
    """

    def __init__(self, origin: str, *, pid: int | None = None) -> None:
        self.origin = origin
        self.base_url = f"{origin}/v1"
        self.pid = pid
        self._http = httpx.Client(base_url=f"{origin}/_emulator", trust_env=False, timeout=10)

    def stats(self) -> Stats:
        """The figures so far."""
        return Stats.from_json(self._http.get("/stats").raise_for_status().json())

    def order(self, *faults: Fault) -> None:
        """Order faults, after those that were ordered before."""
        self._post("/faults", [fault.as_json() for fault in faults])

    def clear_faults(self) -> None:
        """Forget all orders; counts stay."""
        self._http.delete("/faults").raise_for_status()

    def reset(self) -> None:
        """Forget counts, faults, dialect and what was used of the limits; keys and limits stay."""
        self._post("/reset", None)

    def keys(
        self,
        valid: Collection[str] | None = None,
        *,
        limits: Mapping[str, Limits] | None = None,
        organisation: Limits | None = None,
    ) -> None:
        """Change keys and limits.

        :param valid: the only valid keys from now on; ``None`` for any ``sk-test-…``.
        :param limits: of single keys; others keep theirs.
        :param organisation: over all keys together; ``None`` leaves it as it is.
        """
        given: dict[str, object] = {
            "valid": None if valid is None else list(valid),
            "limits": {key: asdict(limit) for key, limit in (limits or {}).items()},
        }
        if organisation is not None:
            given["organisation"] = asdict(organisation)
        self._post("/keys", given)

    def speak(self, dialect: str) -> None:
        """Do what another server does, until reset: one of ``dialects.DIALECTS``."""
        self._post("/dialect", {"name": dialect})

    def batches(self, *, seconds: float = 0.0, enqueued_tokens: int | None = None) -> None:
        """How long a batch takes, and how many tokens may be in open ones, until reset."""
        self._post("/batches", {"seconds": seconds, "enqueued_tokens": enqueued_tokens})

    def close(self) -> None:
        """Close the connection to it; it runs on."""
        self._http.close()

    def _post(self, path: str, body: object) -> None:
        self._http.post(path, json=body).raise_for_status()


@contextmanager
def running_emulator(
    *,
    latency_ms: float = 0,
    rpm: int | None = None,
    tpm: int | None = None,
    key_rpm: int | None = None,
    key_tpm: int | None = None,
    valid_keys: Collection[str] | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
) -> Iterator[Emulator]:
    """Start an emulator and stop it at the end. It also ends if this process is killed.

    :param latency_ms: from a request's arrival to its answer.
    :param rpm: requests a minute, all keys together; ``tpm`` likewise tokens.
    :param key_rpm: requests a minute of each key; ``key_tpm`` likewise tokens.
    :param valid_keys: ``None`` for any that begins with ``sk-test-``.
    :param host: the address that it listens on.
    :param port: 0 for a free one; a fixed one lets it "come back" after a stop.
    :raises RuntimeError: it did not start.
    """
    options = {
        "--latency-ms": latency_ms,
        "--rpm": rpm,
        "--tpm": tpm,
        "--key-rpm": key_rpm,
        "--key-tpm": key_tpm,
        "--port": port,
        "--host": host,
        "--owner": os.getpid(),
    }
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    words += [f"--valid-key={key}" for key in valid_keys or ()]
    command = [sys.executable, "-m", "openai_emulator", *words]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **MALLOC},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            emulator = Emulator(_wait_for_address(process), pid=process.pid)
            try:
                yield emulator
            finally:
                emulator.close()
        finally:
            _stop(process)


def _wait_for_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline() if ready else ""
    head, _, origin = line.strip().rpartition(" ")
    if head != "listening on":
        raise RuntimeError(f"the emulator did not start within {START_TIMEOUT_S:g} s: {line!r}")
    return origin


def _stop(process: subprocess.Popen[str]) -> None:
    """By its own process id; by force only if it does not end."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
