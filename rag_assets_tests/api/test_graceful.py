"""Stops, switches and restarts under load drop no request unnecessarily."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.release.releasing import roll_back
from rag_assets.settings.model import Settings
from rag_assets_tests.api.conftest import Copy, corpus_settings
from rag_assets_tests.api.server import RETRIEVE, Server, environment_of, serving, wait_until
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import prepare, release_corpus

pytestmark = pytest.mark.long

CONCURRENCY = 8
VECTOR = [1.0] + [0.0] * 63


@dataclass
class Load:
    """Continuous requests from eight clients, and their responses."""

    answers: list[httpx.Response] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def statuses(self, since: int = 0) -> Counter[int]:
        """The number of responses per status."""
        return Counter(answer.status_code for answer in self.answers[since:])

    def releases(self, since: int = 0) -> set[int]:
        """The releases that answered."""
        return {a.json()["release"] for a in self.answers[since:] if a.status_code == 200}


@contextmanager
def load_on(server: Server, headers: Mapping[str, str] | None = None) -> Iterator[Load]:
    """Eight clients that send one request after another, until the block ends."""
    load, ended = Load(), threading.Event()

    def ask() -> None:
        with httpx.Client(
            base_url=server.origin, trust_env=False, timeout=20, headers=headers
        ) as http:
            while not ended.is_set():
                try:
                    load.answers.append(http.post(RETRIEVE, json={"vector": VECTOR, "top_k": 5}))
                except httpx.HTTPError as error:
                    load.failures.append(error)
                    time.sleep(0.05)

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        asking = [threads.submit(ask) for _ in range(CONCURRENCY)]
        try:
            wait_until(lambda: len(load.answers) > 50)
            yield load
        finally:
            ended.set()
    for one in asking:
        one.result()


def released(database: Database) -> Settings:
    """Release a version of 60 verses there; return the settings."""
    settings = corpus_settings(database)
    prepare(database, settings, "EN_A", sentences(60))
    release_corpus(database, settings)
    return settings


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_in_flight_is_answered_after_sigterm(
    bought: Database, copied: Copy, tmp_path: Path, emulator: Emulator, workers: int
) -> None:
    environment = environment_of(
        copied(bought),
        RAG_EMBEDDING_PROVIDER="openai",
        OPENAI_BASE_URL=emulator.base_url,
        OPENAI_API_KEY="sk-test-one",
    )
    with (
        serving(tmp_path, environment, workers=workers) as server,
        ThreadPoolExecutor(4) as threads,
        httpx.Client(base_url=server.origin, trust_env=False) as idle,
    ):
        assert idle.get("/healthz").status_code == 200  # its connection stays open
        emulator.order(Fault(FaultKind.LATENCY, latency_ms=2500, times=4))
        slow = [
            threads.submit(
                httpx.post,
                server.origin + RETRIEVE,
                json={"query": f"a slow question {number}"},
                trust_env=False,
                timeout=30,
            )
            for number in range(4)
        ]
        wait_until(lambda: emulator.stats().requests == 4)
        server.terminate()
        assert [answer.result().status_code for answer in slow] == [200] * 4
        wait_until(lambda: server.process.poll() is not None, 25)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.origin}/healthz", trust_env=False)
    assert "Traceback" not in server.log


def test_a_switch_and_a_rollback_under_load_drop_no_request(
    template_database: Database, copied: Copy, tmp_path: Path
) -> None:
    database = copied(template_database)
    settings = released(database)
    with serving(tmp_path, environment_of(database)) as server, load_on(server) as load:
        prepare(database, settings, "EN_B", sentences(60, word="brook"), force=True)
        assert load.releases() == {1}
        release_corpus(database, settings)
        wait_until(lambda: load.releases(len(load.answers) - CONCURRENCY) == {2})
        switched = len(load.answers)
        wait_until(lambda: len(load.answers) > switched + 50)
        assert load.releases(switched + CONCURRENCY) == {2}
        roll_back(database)
        wait_until(lambda: load.releases(len(load.answers) - CONCURRENCY) == {1})
        back = len(load.answers)
        wait_until(lambda: len(load.answers) > back + 50)
    assert load.failures == []
    assert set(load.statuses()) == {200}
    assert load.releases() == {1, 2}
    assert all(answer.json()["k_returned"] == 5 for answer in load.answers)
    assert server.log.count("serving release 2") == 1


@pytest.fixture
def cluster() -> Iterator[Path]:
    """A separate server, outside pytest's folder, which other users cannot enter."""
    home = Path(tempfile.mkdtemp(prefix="rag-restart-"))
    try:
        embedded.ensure_running(home / "postgres")
        yield home
    finally:
        embedded.release(home / "postgres")
        shutil.rmtree(home)


def end_postgres(data: Path, how: signal.Signals) -> None:
    """Stop the server: SIGQUIT immediately, SIGINT after its transactions."""
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, how)
    wait_until(lambda: not Path(f"/proc/{postmaster}").exists() or is_zombie(postmaster))


def is_zombie(pid: int) -> bool:
    """Whether it has ended but was not reaped yet."""
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def only_503_meanwhile(answers: Sequence[httpx.Response]) -> None:
    """Every failed response is a problem that says when to retry."""
    for answer in answers:
        if answer.status_code == 200:
            continue
        assert answer.status_code == 503, answer.text
        assert answer.json()["type"] == "urn:rag-assets:problem:database-unavailable"
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
def test_a_database_that_restarts_under_load_gives_503_for_that_time_only(
    cluster: Path, tmp_path: Path, how: signal.Signals
) -> None:
    data = cluster / "postgres"
    database = open_database(Settings(rag_home=cluster)).named("corpus")
    migrate(database)
    released(database)
    with serving(tmp_path, environment_of(database)) as server, load_on(server) as load:
        before = len(load.answers)
        end_postgres(data, how)
        wait_until(lambda: load.statuses(before)[503] >= CONCURRENCY)
        ready = server.http.get("/readyz")
        assert (ready.status_code, ready.json()["title"]) == (503, "database unavailable")
        assert ready.headers["retry-after"]
        assert server.http.get("/healthz").status_code == 200
        assert server.http.get("/metrics/prometheus/").status_code == 200
        embedded.ensure_running(data)
        wait_until(lambda: load.statuses(len(load.answers) - 50)[200] == 50, 40)
        recovered = len(load.answers)
        wait_until(lambda: len(load.answers) > recovered + 100)
        assert server.http.get("/readyz").status_code == 200
    assert load.failures == []
    only_503_meanwhile(load.answers)
    assert set(load.statuses(recovered)) == {200}
    assert "unexpected error" not in server.log
    assert "Traceback" not in server.log
    # It follows releases again.
    with serving(tmp_path, environment_of(database)) as again:
        assert again.found(vector=VECTOR)["release"] == 1


def test_a_worker_that_is_slow_on_a_busy_machine_is_not_replaced(
    database: Database, tmp_path: Path
) -> None:
    with serving(tmp_path, environment_of(database), workers=2, ready="/healthz") as server:
        before = server.workers()
        os.kill(before[0], signal.SIGSTOP)
        time.sleep(8)  # it gets no CPU for longer than uvicorn's default time-out
        os.kill(before[0], signal.SIGCONT)
        assert server.http.get("/healthz").status_code == 200
        assert server.workers() == before
        assert "died" not in server.log
