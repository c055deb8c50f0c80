"""A daemon that processes documents, with its database and provider, for fault tests.

Whoever hurts it is the test; here stands what can be hurt, and how it is put right again.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from openai_emulator.process import Emulator, running_emulator
from rag_assets.errors import RagAssetsError
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings
from rag_assets_tests.defs.deployment import ROOT, home_of, plain_environment


@dataclass
class Site:
    """A daemon that is restarted whenever it is killed, its database and its provider."""

    folder: Path
    database: Database
    emulator: Emulator
    environment: dict[str, str]
    daemon: subprocess.Popen[bytes] | None = None

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def data(self) -> Path:
        return self.folder / "rag" / "postgres"

    def start_daemon(self) -> None:
        with (self.folder / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "dagster-daemon"),
                    "run",
                    "-w",
                    str(ROOT / "workspace.yaml"),
                ],
                cwd=self.folder,
                env={**plain_environment(), **self.environment, "DAGSTER_HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def keep_daemon(self) -> None:
        """Restart the daemon if it has ended, as it does if its database is down for too long."""
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            self.start_daemon()

    def family(self) -> list[psutil.Process]:
        """All of Dagster's processes here, whoever started them."""
        return [process for process in psutil.process_iter() if home_of(process) == self.folder]

    def runs(self) -> list[psutil.Process]:
        """The processes of runs: each is started anew by the code server."""
        found = []
        for process in self.family():
            with suppress(psutil.Error):
                if any("spawn_main" in part for part in process.cmdline()):
                    found.append(process)
        return found

    def kill_run(self, draw: random.Random) -> bool:
        runs = self.runs()
        if runs:
            with suppress(psutil.NoSuchProcess):
                draw.choice(runs).kill()
        return bool(runs)

    def kill_daemon(self) -> None:
        """Kill the daemon and start another, as a supervisor does."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def stop_postgresql(self) -> None:
        """Kill PostgreSQL, as in a crash."""
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        with suppress(ProcessLookupError):  # it may be gone since the last time
            os.kill(pid, signal.SIGKILL)

    def start_postgresql(self) -> None:
        embedded.ensure_running(self.data)

    def states(self) -> Counter[str]:
        """Documents by state; empty while the database is down."""
        try:
            with self.database.connect(autocommit=True) as connection:
                rows = connection.execute("SELECT state, count(*) FROM documents GROUP BY 1")
                return Counter(dict(rows.fetchall()))
        except RagAssetsError:
            return Counter()

    def wait_for(self, expected: Counter[str], *, timeout_s: float) -> None:
        """Wait until the documents have these states."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.states() == expected:
                return
            self.keep_daemon()
            time.sleep(0.5)
        raise AssertionError(
            f"{self.states()} instead of {expected} after {timeout_s:.0f} s\n{self.log()}"
        )

    def log(self) -> str:
        """The end of the daemon's log, for a failing test's message."""
        return (self.folder / "daemon.log").read_text("utf-8", "replace")[-4000:]


def drop(inbox: Path, number: int, *, empty: bool = False) -> None:
    """Drop a document with a unique text, atomically."""
    text = "" if empty else "\n\n".join(
        f"# Part {part} of {number}\n\n" + f"Sentence {part} of document {number}. " * 40
        for part in range(6)
    )  # fmt: skip
    beside = inbox.with_name(f"document-{number:04}.md")
    beside.write_text(text, encoding="utf-8")
    beside.rename(inbox / beside.name)


@contextmanager
def running_site(*, latency_ms: float, own_server: bool = True, **changes: str) -> Iterator[Site]:
    """A database, a provider and an inbox; the daemon is started by the test.

    :param own_server: whether each process starts the server again where it is away.
    :param changes: of the environment, beyond what makes a site quick.
    """
    folder = Path(tempfile.mkdtemp(prefix="rag-site-"))
    home = folder / "rag"
    (folder / "inbox").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder)
    database = open_database(Settings(rag_home=home))
    migrate(database)
    with running_emulator(latency_ms=latency_ms) as emulator:
        made = Site(
            folder,
            database,
            emulator,
            {
                "RAG_HOME": str(home),
                "RAG_BIBLES_DIR": str(folder / "bibles"),
                "RAG_DOCUMENTS_URL": str(folder / "inbox"),
                "RAG_DOCUMENTS_SETTLE_S": "0",
                "RAG_DOCUMENT_LEASE_S": "4",
                "RAG_DOCUMENT_RETRY_S": "1",
                "RAG_DOCUMENTS_PER_RUN": "20",
                "OPENAI_BASE_URL": emulator.base_url,
                "OPENAI_API_KEY": "sk-test-site",
                "RAG_EMBEDDING_RATE_LIMIT": "1000000",
                "RAG_EMBEDDING_TOKEN_LIMIT": "1000000000",
                **({} if own_server else {"RAG_DATABASE_URL": database.conninfo}),
                **changes,
            },
        )
        try:
            yield made
        finally:
            for process in made.family():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if made.daemon is not None:
                made.daemon.wait()
            embedded.ensure_running(made.data)
            embedded.release(made.data)
            shutil.rmtree(folder, ignore_errors=True)
