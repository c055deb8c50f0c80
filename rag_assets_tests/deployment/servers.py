"""PostgreSQL servers of a test's own, with a port, started and stopped as it likes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import _memory_folder
from rag_assets_tests.defs.deployment import free_port
from rag_assets_tests.deployment.hosts import Host


class Cluster:
    """One server: its data folder, its port, and who runs it.

    :param programs: the folder of its programs; of the embedded server unless told.
    :param host: where it runs, if not here.
    """

    def __init__(
        self, folder: Path, programs: Path | None = None, *, host: Host | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / f"data-{free_port()}"
        self.port = free_port()
        self.programs = programs or embedded.binary("postgres").parent
        self.address = host.address if host else "127.0.0.1"
        self._user = embedded.system_user()
        self._host = host

    def make(self, **settings: str) -> None:
        """A new one, in which everybody on this machine is trusted."""
        self.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8",
                 "--no-sync", "--locale=C.UTF-8", f"--pgdata={self.data}")  # fmt: skip
        self.set(listen_addresses="127.0.0.1", **settings)

    def open_to(self, network: str) -> None:
        """Trust another network, too, from the next start on."""
        with (self.data / "pg_hba.conf").open("a", encoding="utf-8") as trusted:
            for database in ("all", "replication"):
                trusted.write(f"host {database} all {network} trust\n")
        self.set(listen_addresses="*")

    def copy_of(self, primary: Cluster, address: str = "127.0.0.1") -> None:
        """A standby that follows another, which it reaches by that address."""
        source = f"host={address} port={primary.port} user=postgres"
        self.run("pg_basebackup", "--write-recovery-conf", "--wal-method=stream", "--no-sync",
                 "--checkpoint=fast", f"--pgdata={self.data}", f"--dbname={source}")  # fmt: skip

    def set(self, **settings: str) -> None:
        """Settings, read at the next start."""
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(lines)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c unix_socket_directories="
        log = f"--log={self.data / 'log'}"
        self.run("pg_ctl", "start", "--wait", f"--pgdata={self.data}", log, f"--options={options}")

    def stop(self, how: str = "fast") -> None:
        """Stop it: smart, fast or immediate."""
        self.run("pg_ctl", "stop", "--wait", f"--mode={how}", f"--pgdata={self.data}")

    def promote(self) -> None:
        """Make a primary of a standby."""
        self.run("pg_ctl", "promote", "--wait", f"--pgdata={self.data}")

    @property
    def running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def processes(self) -> list[psutil.Process]:
        """The postmaster and its children."""
        postmaster = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        first = psutil.Process(postmaster)
        return [first, *first.children()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It hangs until the end of the block: alive, and without an answer."""
        stopped = self.processes()
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    def database(self, name: str = "postgres", user: str = "postgres") -> Database:
        """One of its databases."""
        return Database(
            f"host={self.address} port={self.port} user={user} dbname={name} connect_timeout=5"
        )

    def run(self, program: str, *arguments: str) -> str:
        """One of its programs, as who owns the data; what it printed."""
        there, user = [], self._user
        if self._host is not None and user is not None:
            there = ["ip", "netns", "exec", self._host.space]
            there += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            user = None  # root until then
        done = subprocess.run(
            [*there, str(self.programs / program), *arguments],
            user=user,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        log = self.data / "log"
        told = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
        assert done.returncode == 0, f"{program}: {done.stdout}{told}"
        return done.stdout or ""


@contextmanager
def folder_of_servers() -> Iterator[Path]:
    """A folder that PostgreSQL's user owns; what still runs in it at the end is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="rag-servers-", dir=_memory_folder()))
    folder.chmod(0o755)
    if user := embedded.system_user():  # PostgreSQL refuses to be root
        shutil.chown(folder, user, user)
    try:
        yield folder
    finally:
        for lock in folder.glob("*/postmaster.pid"):
            pid = int(lock.read_text().splitlines()[0])
            with_children = [psutil.Process(pid), *psutil.Process(pid).children()]
            psutil.Process(pid).send_signal(signal.SIGQUIT)
            psutil.wait_procs(with_children, timeout=10)
        shutil.rmtree(folder)
