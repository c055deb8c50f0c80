"""Documents flow while processes are killed at random: of runs, of the daemon, of PostgreSQL.

RAG_TEST_KILLS_S says for how long (25 s), RAG_TEST_KILLS_DOCUMENTS among how many (60).
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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from rag_assets.settings import Settings
from rag_assets.store import embedded
from rag_assets.store.database import Database, open_database
from rag_assets.store.migrations import migrate
from rag_assets_tests.defs.deployment import ROOT, home_of, plain_environment
from rag_assets_tests.openai_emulator.process import Emulator, running_emulator

SECONDS = float(os.environ.get("RAG_TEST_KILLS_S", "25"))
DOCUMENTS = int(os.environ.get("RAG_TEST_KILLS_DOCUMENTS", "60"))
PAUSE_S = 1.0, 4.0
RECOVERY_S = 300.0
BATCH, IN_FLIGHT, RUNS = 8, 3, 3


@dataclass
class Site:
    """A daemon that is started again whenever it is killed, its database and its provider."""

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
        """And start another, as a supervisor does."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()
        self.start_daemon()

    def kill_postgresql(self) -> None:
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        with suppress(ProcessLookupError):  # it may be gone since the last time
            os.kill(pid, signal.SIGKILL)
        embedded.ensure_running(self.data)

    def states(self) -> Counter[str]:
        try:
            with self.database.connect(autocommit=True) as connection:
                rows = connection.execute("SELECT state, count(*) FROM documents GROUP BY 1")
                return Counter(dict(rows.fetchall()))
        except psycopg.OperationalError:
            return Counter()


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="rag-kills-"))
    home = folder / "rag"
    (folder / "inbox").mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder)
    database = open_database(Settings(rag_home=home))
    migrate(database)
    with running_emulator(latency_ms=50) as emulator:
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
                # Of many random kills some hit the same documents: nobody is to be dead of that.
                "RAG_DOCUMENT_MAX_ATTEMPTS": "20",
                "OPENAI_BASE_URL": emulator.base_url,
                "OPENAI_API_KEY": "sk-test-kills",
                "RAG_EMBEDDING_RATE_LIMIT": "1000000",
                "RAG_EMBEDDING_TOKEN_LIMIT": "1000000000",
                "RAG_EMBEDDING_BATCH_SIZE": str(BATCH),
                "RAG_EMBEDDING_CONCURRENCY": str(IN_FLIGHT),
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


@pytest.mark.timeout(SECONDS + 2 * RECOVERY_S)
def test_killed_processes_lose_nothing_and_do_nothing_twice(site: Site) -> None:
    draw = random.Random(7)
    site.start_daemon()
    kills: Counter[str] = Counter()
    drop(site.inbox, 0)
    wait_until_done(site, Counter(ready=1))
    dropped = 1
    started = time.monotonic()
    while (share := (time.monotonic() - started) / SECONDS) < 1:
        for number in range(dropped, round(DOCUMENTS * min(1, 0.1 + share))):
            drop(site.inbox, number)
            dropped = number + 1
        time.sleep(draw.uniform(*PAUSE_S))
        victim = draw.choices(("run", "daemon", "postgresql"), (6, 2, 2))[0]
        if victim == "run" and not site.kill_run(draw):
            continue
        if victim == "daemon":
            site.kill_daemon()
        elif victim == "postgresql":
            site.kill_postgresql()
        kills[victim] += 1
    while dropped < DOCUMENTS:
        drop(site.inbox, dropped)
        dropped += 1
    good = DOCUMENTS - DOCUMENTS // 10  # each tenth is empty
    wait_until_done(site, Counter(ready=good, dead=DOCUMENTS - good))
    with site.database.connect() as connection:
        dead = connection.execute("SELECT DISTINCT error_class FROM rag_dlq").fetchall()
        assert dead == [("EmptyDocumentError",)]
        twice = connection.execute(
            "SELECT document_id, position FROM document_chunks GROUP BY 1, 2 HAVING count(*) > 1"
        ).fetchall()
        assert twice == []
        ((chunks, vectors, documents),) = connection.execute(
            """
            SELECT (SELECT count(*) FROM document_chunks), (SELECT count(*) FROM chunk_embeddings),
                   (SELECT count(DISTINCT document_id) FROM document_chunks)
            """
        ).fetchall()
        assert documents == good
        assert chunks == vectors
    lost = site.emulator.stats().duplicate_answers
    # A process that is killed loses what it had in flight, and nothing else.
    assert lost <= sum(kills.values()) * RUNS * IN_FLIGHT * BATCH
    assert sum(kills.values()) > 2


def drop(inbox: Path, number: int) -> None:
    """A document of its own text, moved in whole; each tenth is empty."""
    text = "" if number % 10 == 9 else "\n\n".join(
        f"# Part {part} of {number}\n\n" + f"Sentence {part} of document {number}. " * 40
        for part in range(6)
    )  # fmt: skip
    beside = inbox.with_name(f"document-{number:04}.md")
    beside.write_text(text, encoding="utf-8")
    beside.rename(inbox / beside.name)


def wait_until_done(site: Site, expected: Counter[str]) -> None:
    deadline = time.monotonic() + RECOVERY_S
    while time.monotonic() < deadline:
        if site.states() == expected:
            return
        assert site.daemon is not None
        if site.daemon.poll() is not None:  # it ends where its database was away for too long
            site.start_daemon()
        time.sleep(0.5)
    log = (site.folder / "daemon.log").read_text("utf-8", "replace")[-4000:]
    raise AssertionError(f"{site.states()} instead of {expected} after {RECOVERY_S:.0f} s\n{log}")
