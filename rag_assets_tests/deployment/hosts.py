"""Hosts of a test's own: network namespaces on one bridge, each with its name and its processes.

This process is the hub: it has the bridge's address. Needs root, or the rights to make namespaces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rag_assets_tests.defs.deployment import plain_environment

_NUMBER = os.getpid() % 4096
"""Makes names and addresses this process' own."""


def why_not() -> str | None:
    """Why hosts cannot be made here; ``None`` where they can."""
    name = f"rag{_NUMBER:x}try"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        told = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return f"network namespaces cannot be made here: {told.strip()}"
    _ip("netns", "delete", name)
    return None


@dataclass
class Host:
    """One host.

    :param name: its host name, as its processes see it.
    :param space: its network namespace.
    """

    name: str
    space: str
    address: str

    def start(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a program on it."""
        named = ["sh", "-c", 'hostname "$0" && exec "$@"', self.name, *command]
        with log.open("ab") as lines:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.space, "unshare", "--uts", *named],
                cwd=folder,
                env={**plain_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def cut_off(self) -> None:
        """Nothing reaches it and nothing leaves it; what runs there is not told."""
        _ip("link", "set", f"{self.space}o", "down")

    def reconnect(self) -> None:
        _ip("link", "set", f"{self.space}o", "up")

    def processes(self) -> list[int]:
        """Ids of all that runs on it."""
        return [int(pid) for pid in _ip("netns", "pids", self.space).split()]

    def kill(self) -> None:
        """As a power cut does: nothing on it has a word to say."""
        self.cut_off()
        deadline = time.monotonic() + 20
        while pids := self.processes():
            assert time.monotonic() < deadline, f"{self.name} still runs {pids}"
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


@contextmanager
def hosts(*names: str) -> Iterator[tuple[str, dict[str, Host]]]:
    """The hub's address, and hosts of these names; all of them, and what they run, end here."""
    bridge, net = f"rag{_NUMBER:x}b", f"10.{200 + _NUMBER // 256}.{_NUMBER % 256}"
    hub = f"{net}.1"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("address", "add", f"{hub}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made = {}
        for number, name in enumerate(names, start=2):
            host = Host(name, f"rag{_NUMBER:x}h{number}", f"{net}.{number}")
            _ip("netns", "add", host.space)
            stack.callback(_ip, "netns", "delete", host.space)
            outer, inner = f"{host.space}o", f"{host.space}i"
            _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            stack.callback(_ip, "link", "delete", outer)
            _ip("link", "set", inner, "netns", host.space)
            _ip("link", "set", outer, "master", bridge, "up")
            _ip("-n", host.space, "address", "add", f"{host.address}/24", "dev", inner)
            _ip("-n", host.space, "link", "set", inner, "up")
            _ip("-n", host.space, "link", "set", "lo", "up")
            stack.callback(host.kill)
            made[name] = host
        yield hub, made


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout
