"""CPU time by kind of process: of `rag-assets up` with all it has started, and of PostgreSQL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from rag_assets_tests.defs.deployment import Deployment

_KINDS = {
    "multiprocessing.forkserver": "runs and readers",
    "rag_assets.defs.code_server": "code server",
    "dagster_webserver": "webserver",
    "dagster._daemon": "daemon",
    "watch": "watch",
    "up": "up",
}
"""By an argument of the command; the first that is there."""


class Cpu:
    """CPU time since the start, or the last :meth:`restart`.

    A process that has ended counts with the one that waited for it: a run with the process that it
    was forked from, a connection with PostgreSQL's first process.

    :param postgres: data folder of the server.
    """

    def __init__(self, deployment: Deployment, postgres: Path) -> None:
        self._deployment = deployment
        self._postmaster = int((postgres / "postmaster.pid").read_text().split("\n")[0])
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._before, self._since = self._used(), time.monotonic()

    def seconds(self) -> dict[str, float]:
        """Seconds by kind."""
        now = self._used()
        return {kind: now[kind] - self._before[kind] for kind in sorted(now)}

    def cores(self) -> dict[str, float]:
        """Cores used by kind."""
        passed = time.monotonic() - self._since
        return {kind: used / passed for kind, used in self.seconds().items()}

    def _used(self) -> Counter[str]:
        used: Counter[str] = Counter()
        for kind, process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            used[kind] += sum(times[:4])  # its own, and of the children it has waited for
        return used

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        server = psutil.Process(self._postmaster)
        for process in (server, *server.children(recursive=True)):
            yield "PostgreSQL", process
        for process in self._deployment.family():
            try:
                command = " ".join(process.cmdline()).split()
            except psutil.Error:
                continue
            kinds = (kind for part, kind in _KINDS.items() if any(part in one for one in command))
            yield next(kinds, "others"), process


def is_of_run(process: psutil.Process) -> bool:
    """Whether it is a run's process: forked by a process that is itself started by no run.

    :raises psutil.Error: it has ended.
    """
    parent = process.parent()
    return parent is not None and _forks(parent) and not _forks(parent.parent())


def _forks(process: psutil.Process | None) -> bool:
    return process is not None and "multiprocessing.forkserver" in " ".join(process.cmdline())
