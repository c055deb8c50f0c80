"""Keeps a few processes running and, at the end, leaves none of them behind.

Each child leads its own process group. The whole group is stopped, not only the child, and the
kernel stops a child whose supervisor was killed. A child that ends is restarted, whatever its exit
status: Dagster ends with 0 when its daemon was killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

_PR_SET_PDEATHSIG = 1
_RESTART_AFTER_S = 2.0
_MAX_RESTART_AFTER_S = 60.0
_HEALTHY_AFTER_S = 60.0
_PORT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Service:
    """One process to keep running.

    :param port: on loopback; the services after this one start when it accepts connections.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None


class Supervisor:
    """Runs services until :meth:`stop`, or until SIGINT or SIGTERM.

    :param log: receives all their output.
    :param say: receives a message when a service has ended and will be restarted.
    :param check: called twice a second, to check what the services need besides each other; an
        exception from it stops them all.
    :param grace_s: seconds that services have to end before they are killed.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        log: IO[bytes],
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
        grace_s: float = 15.0,
    ) -> None:
        self._services = services
        self._log = log
        self._say = say
        self._check = check
        self._grace_s = grace_s
        self._stopping = threading.Event()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}
        self._starts: dict[str, int] = {}
        self._start_again_at: dict[str, float] = {}

    def run(self) -> None:
        """Start all, restart what ends, and return after all have been stopped."""
        # Set even where they were ignored (`nohup … &`): otherwise nothing could stop us.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stopping.set())
        try:
            for service in self._services:
                self._start(service)
                self._wait_for_port(service)
            while not self._stopping.wait(0.5):
                self._check()
                for service in self._services:
                    self._restart_if_ended(service)
        finally:
            self._stop_all()

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stopping.set()

    def _start(self, service: Service) -> None:
        self._running[service.name] = subprocess.Popen(
            service.command,
            env={**os.environ, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- it allocates nothing and takes no lock
        )
        self._started_at[service.name] = time.monotonic()

    def _wait_for_port(self, service: Service) -> None:
        deadline = time.monotonic() + _PORT_TIMEOUT_S
        while service.port and not self._stopping.is_set() and time.monotonic() < deadline:
            self._check()
            self._restart_if_ended(service)
            with suppress(OSError), socket.create_connection(("127.0.0.1", service.port), 1):
                return
            self._stopping.wait(0.2)

    def _restart_if_ended(self, service: Service) -> None:
        """Restart it after a pause that grows, without waiting for the pause here."""
        process = self._running[service.name]
        if process.poll() is None:
            return
        if service.name in self._start_again_at:
            if time.monotonic() >= self._start_again_at[service.name]:
                del self._start_again_at[service.name]
                self._start(service)
            return
        lived = time.monotonic() - self._started_at[service.name]
        if lived > _HEALTHY_AFTER_S:
            self._starts[service.name] = 0
        self._starts[service.name] = starts = self._starts.get(service.name, 0) + 1
        _signal_group(process, signal.SIGKILL)  # its children would get in the way of its successor
        self._say(f"{service.name} ended with status {process.returncode}: restarting it")
        pause = min(_RESTART_AFTER_S * 2 ** (starts - 1), _MAX_RESTART_AFTER_S)
        self._start_again_at[service.name] = time.monotonic() + pause

    def _stop_all(self) -> None:
        for process in self._running.values():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        for process in self._running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _die_with_parent() -> None:
    """In the child, before the program starts: default signals, and SIGTERM if we die."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":  # elsewhere, children of a killed supervisor survive
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
