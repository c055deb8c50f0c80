"""Three machines work on documents and Bibles; one is cut off and comes back, one loses its power.

The short form is part of `make test`, with short times of patience. The long one takes those of
deploy/celery/dagster.yaml and of the settings as they are; RAG_TEST_HOSTS_DOCUMENTS says with how
many documents (500), RAG_TEST_HOSTS_VERSES with how many verses in each of three versions (400).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from openai_emulator.process import Emulator, running_emulator
from rag_assets.errors import BrokerUnavailableError, RagAssetsError
from rag_assets.operations.broker import Broker
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate
from rag_assets.retrieval.sql.query_embeddings import query_hash
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.deployment import ROOT, home_of, plain_environment, stop
from rag_assets_tests.defs.site import drop
from rag_assets_tests.deployment.hosts import Host, hosts, why_not
from rag_assets_tests.deployment.redis_server import PASSWORD, RedisServer, running_redis
from rag_assets_tests.deployment.servers import Cluster, folder_of_servers

VERSIONS = ("PT_ONE", "EN_TWO", "EN_THREE")
BATCH, IN_FLIGHT, RUNS = 2, 3, 2
REASON = why_not()

pytestmark = [pytest.mark.long, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


@dataclass(frozen=True)
class Scale:
    """How much work there is, and how patient everybody is.

    :param verses: of each version.
    :param per_minute: requests that the provider is to be sent at most, by all machines together.
    :param noticed_s: in which lost runs must be noticed.
    """

    documents: int
    verses: int
    per_minute: int
    noticed_s: float
    done_s: float
    poll_s: int = 20
    much: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


SHORT = Scale(
    documents=16,
    verses=30,
    per_minute=300,
    noticed_s=30,
    done_s=200,
    poll_s=5,
    much=False,
    settings={
        "RAG_CELERY_LOST_S": "5",
        "RAG_DATABASE_SILENCE_S": "6",
        "RAG_DOCUMENT_LEASE_S": "6",
    },
)
LONG = Scale(
    documents=int(os.environ.get("RAG_TEST_HOSTS_DOCUMENTS", "500")),
    verses=int(os.environ.get("RAG_TEST_HOSTS_VERSES", "400")),
    per_minute=600,
    noticed_s=60,
    done_s=1200,
)


class OnTheHub(Cluster):
    """A server that the hosts reach."""

    address = ""

    def start(self) -> None:
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        options = f"-p {self.port} -c listen_addresses={self.address} -c unix_socket_directories="
        log = f"--log={self.data / 'log'}"
        self.run("pg_ctl", "start", "--wait", f"--pgdata={self.data}", log, f"--options={options}")


class Site:
    """The hub with its servers and daemon, and the machines with their workers."""

    def __init__(
        self,
        scale: Scale,
        folder: Path,
        machines: dict[str, Host],
        cluster: OnTheHub,
        redis: RedisServer,
        emulator: Emulator,
    ) -> None:
        self.scale, self.folder, self.machines = scale, folder, machines
        self.redis, self.emulator = redis, emulator
        url = f"postgresql://postgres@{cluster.address}:{cluster.port}/bible_api"
        self.database = Database(f"{url}?connect_timeout=5")
        self.dagster = self.database.named("bible_api_dagster")
        (folder / "inbox").mkdir()
        (folder / "secrets").mkdir()
        (folder / "secrets/rag_celery_broker_password").write_text(PASSWORD)
        self.environment = {
            "RAG_DATABASE_URL": url,
            "RAG_CELERY_BROKER_URL": redis.url,
            "RAG_SECRETS_DIR": str(folder / "secrets"),
            "RAG_BIBLES_DIR": str(folder / "bibles"),
            "RAG_BIBLE_SETTLE_S": "0",
            "RAG_DOCUMENTS_URL": str(folder / "inbox"),
            "RAG_DOCUMENTS_SETTLE_S": "0",
            "RAG_DOCUMENT_RETRY_S": "1",
            "RAG_DOCUMENTS_PER_RUN": str(max(10, scale.documents // 5)),
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "sk-test-hosts",
            "RAG_EMBEDDING_BATCH_SIZE": str(BATCH),
            "RAG_EMBEDDING_CONCURRENCY": str(IN_FLIGHT),
            "RAG_EMBEDDING_RATE_LIMIT": str(scale.per_minute),
            "RAG_EMBEDDING_TIMEOUT_S": "15",
            **scale.settings,
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def broker(self) -> Broker:
        word = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return Broker(self.redis.url.replace("redis://", f"redis://:{word}@"), 5)

    def home(self, name: str) -> Path:
        """DAGSTER_HOME and working directory of one machine."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        kept = (ROOT / "deploy/celery/dagster.yaml").read_text("utf-8")
        known = "poll_interval_seconds: 20"
        assert known in kept
        kept = kept.replace(known, f"poll_interval_seconds: {self.scale.poll_s}")
        (home / "dagster.yaml").write_text(kept)
        return home

    def on(self, name: str) -> dict[str, str]:
        home = self.home(name)
        return {**self.environment, "DAGSTER_HOME": str(home), "RAG_HOME": str(home / "rag")}

    def start_worker(self, name: str) -> None:
        self.workers[name] = self.machines[name].start(
            [str(Path(sys.executable).parent / "rag-assets"), "worker", "--runs", str(RUNS)],
            folder=self.home(name),
            environment=self.on(name),
            log=self.folder / f"{name}.log",
        )

    def end_workers(self) -> None:
        for name, worker in self.workers.items():
            self.machines[name].kill()
            worker.wait(20)

    def start_daemon(self, stack: ExitStack) -> None:
        program = str(Path(sys.executable).parent / "dagster-daemon")
        with (self.folder / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [program, "run", "-w", str(ROOT / "workspace.yaml")],
                cwd=self.home("hub"),
                env={**plain_environment(), **self.on("hub")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        stack.callback(self._end, daemon)

    def _end(self, daemon: subprocess.Popen[bytes]) -> None:
        stop(daemon)
        for process in psutil.process_iter():
            if home_of(process) == self.folder / "hub":
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def rows(self, query: str, *, dagster: bool = False) -> list[tuple[Any, ...]]:
        with (self.dagster if dagster else self.database).connect() as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def runs(self, *statuses: str) -> set[str]:
        """Ids of the runs in one of these states."""
        found = self.rows("SELECT run_id, status FROM runs", dagster=True)
        return {run_id for run_id, status in found if status in statuses}

    def starts(self) -> set[str]:
        """Runs that were sent, once Dagster's database is there."""
        with suppress(RagAssetsError, psycopg.errors.UndefinedTable):
            return self.runs("STARTING", "STARTED")
        return set()

    def at_work(self) -> dict[str, set[str]]:
        """Runs by the machine on which they are at work."""
        by_host: dict[str, set[str]] = {name: set() for name in self.machines}
        for run_id in self.runs("STARTED"):
            if name := self.host_of(run_id):
                by_host[name].add(run_id)
        return by_host

    def two_victims(self) -> tuple[str, str] | None:
        """Two machines at work; on much work one has documents, the other a version, and they flow.

        Little work is done before there are two such.
        """
        jobs = dict(self.rows("SELECT run_id, pipeline_name FROM runs", dagster=True))
        by_host = {name: {jobs[run] for run in runs} for name, runs in self.at_work().items()}
        if not self.scale.much:
            return next(combinations([name for name in by_host if by_host[name]], 2), None)
        if self.states()["ready"] < self.scale.documents // 12:
            return None
        pairs = permutations(by_host, 2)
        fit = (
            (one, other)
            for one, other in pairs
            if "document_processing" in by_host[one] and "bible_embeddings" in by_host[other]
        )
        return next(fit, None)

    def host_of(self, run_id: str) -> str | None:
        kept = self.redis.client().get(f"celery-task-meta-{run_id}")
        known = json.loads(kept) if isinstance(kept, bytes) else {}
        if known.get("status") != "STARTED":
            return None
        return str(known["result"]["hostname"]).rpartition("@")[2]

    def clients(self) -> set[str]:
        """Addresses of those who have sessions at PostgreSQL."""
        query = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE client_addr NOTNULL"
        return {address for (address,) in self.rows(query)}

    def listening(self) -> set[str]:
        """Machines whose worker takes new runs."""
        with suppress(BrokerUnavailableError):
            names = self.broker.workers()["rag_processing"]
            return {name.rpartition("@")[2] for name in names}
        return set()

    def states(self) -> Counter[str]:
        return Counter(dict(self.rows("SELECT state, count(*) FROM documents GROUP BY 1")))

    def vectors(self) -> int:
        """Of verses, in both spaces; the view is there once a run has registered them."""
        with suppress(psycopg.errors.UndefinedTable):
            ((count,),) = self.rows(
                "SELECT count(embedding_small) + count(embedding_large) FROM verse_embeddings"
            )
            return int(count)
        return 0

    def wait(self, what: str, reached: Callable[[], Any], timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := reached()):
            assert time.monotonic() < deadline, f"{what}: {self.told()}"
            time.sleep(0.5)
        return found

    def told(self) -> str:
        """What the test shows where it fails."""
        runs = self.rows(
            "SELECT pipeline_name, status, count(*) FROM runs GROUP BY 1, 2", dagster=True
        )
        logs = [
            f"--- {path.name}\n{path.read_text('utf-8', 'replace')[-2500:]}"
            for path in sorted(self.folder.glob("*.log"))
        ]
        failures = self.rows(
            "SELECT run_id, event FROM event_logs"
            " WHERE dagster_event_type IN ('STEP_FAILURE', 'PIPELINE_FAILURE') ORDER BY id",
            dagster=True,
        )
        why = [f"{run_id}: {event[:3000]}" for run_id, event in failures]
        known = f"{self.states()}, {self.vectors()} vectors, {runs}, {self.at_work()}"
        return "\n".join([known, str(self.emulator.stats()), *why, *logs])


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    scale: Scale = request.param
    folder = Path(tempfile.mkdtemp(prefix="rag-hosts-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        hub, machines = stack.enter_context(hosts("alpha", "beta", "gamma"))
        cluster = OnTheHub(stack.enter_context(folder_of_servers()))
        cluster.address = hub
        cluster.make(max_connections="200", shared_buffers="128MB")
        cluster.start()
        redis = stack.enter_context(running_redis(hub))
        emulator = stack.enter_context(running_emulator(latency_ms=100, host=hub))
        made = Site(scale, folder, machines, cluster, redis, emulator)
        stack.callback(made.end_workers)
        made.database.create()
        migrate(made.database)
        for number, code in enumerate(VERSIONS):
            texts = sentences(scale.verses, word=f"river{number}")
            write_usfm_version(folder / "bibles", code, texts)
        for number in range(scale.documents):
            drop(folder / "inbox", number)
        for name in machines:
            made.start_worker(name)
        made.wait("workers", lambda: made.listening() == set(machines), 90)
        made.start_daemon(stack)
        made.wait("a run", made.starts, 90)
        yield made


@pytest.mark.parametrize(
    "site",
    [
        pytest.param(SHORT, id="short", marks=[pytest.mark.timeout(400), pytest.mark.long]),
        pytest.param(LONG, id="long", marks=[pytest.mark.timeout(1800), pytest.mark.long]),
    ],
    indirect=True,
)
def test_a_machine_that_is_cut_off_and_one_that_dies_lose_nothing_and_buy_nothing_twice(
    site: Site,
) -> None:
    scale, began = site.scale, time.monotonic()
    cut, dead = site.wait("two at work", site.two_victims, 120)
    (left,) = set(site.machines) - {cut, dead}
    cut_off, killed = site.at_work()[cut], site.at_work()[dead]

    site.machines[cut].cut_off()
    site.machines[dead].kill()
    hurt = time.monotonic()
    lost = cut_off | killed
    site.wait("noticed", lambda: lost <= site.runs("FAILURE", "SUCCESS"), scale.noticed_s + 20)
    noticed_s = time.monotonic() - hurt
    assert noticed_s <= scale.noticed_s
    ended_by_us = lost & site.runs("FAILURE")
    assert ended_by_us, "one of them at the least was at work"
    dead_addresses = {site.machines[cut].address, site.machines[dead].address}
    site.wait("locks are free", lambda: not dead_addresses & site.clients(), 90)
    freed_s = time.monotonic() - hurt
    assert freed_s <= scale.noticed_s + 10
    going_on = site.states()["ready"]
    site.wait("others go on", lambda: site.states()["ready"] > going_on, 90)

    site.machines[cut].reconnect()
    back = time.monotonic()
    site.wait("is back", lambda: site.listening() == {cut, left}, 120)
    back_s = time.monotonic() - back
    site.wait("its runs end", lambda: not any(map(site.host_of, cut_off)), 60)

    everything = Counter(ready=scale.documents)
    verses = 2 * scale.verses * len(VERSIONS)
    site.wait(
        "everything is done",
        lambda: site.states() == everything and site.vectors() == verses,
        scale.done_s,
    )
    done_s = time.monotonic() - began

    # It takes work again: the other one ends its runs and goes, and a document is done.
    site.workers[left].terminate()
    site.wait("only the one that was cut off", lambda: site.listening() == {cut}, 120)
    drop(site.folder / "inbox", scale.documents)
    site.wait("it works", lambda: site.states() == Counter(ready=scale.documents + 1), 90)

    stats = site.emulator.stats()
    print(  # noqa: T201 -- the figures of benchmarks/README.md
        f"\n{scale.documents} documents and {verses} vectors of verses in {done_s:.0f} s; "
        f"lost runs {len(lost)}, noticed after {noticed_s:.0f} s, "
        f"their sessions gone after {freed_s:.0f} s, back after {back_s:.0f} s; "
        f"{stats.requests} requests, at most {stats.max_requests_per_minute} a minute of "
        f"{scale.per_minute}; {stats.duplicate_answers} texts of {stats.inputs_answered} twice"
    )
    check_nothing_is_there_twice(site)
    bought_again = stats.duplicate_answers - verses_asked(site)
    assert bought_again <= len(lost) * IN_FLIGHT * BATCH, stats.duplicate_examples
    # They are let go at no more than that; one that is late on its way shares a minute with others.
    assert stats.max_requests_per_minute <= 1.01 * scale.per_minute
    assert stats.last_request_at is not None
    assert stats.first_request_at is not None
    paced_s = (stats.requests - 0.05 * scale.per_minute) * 60 / scale.per_minute
    assert stats.last_request_at - stats.first_request_at >= 0.9 * paced_s, "one pace for all"


def verses_asked(site: Site) -> int:
    """How many verses the index was judged by: as queries they are embedded by themselves."""
    asked = {bytes(key) for (key,) in site.rows("SELECT query_hash FROM query_embeddings")}
    return len(asked & {query_hash(text) for (text,) in site.rows("SELECT text FROM verses")})


def check_nothing_is_there_twice(site: Site) -> None:
    """Each document once, each of its passages once, with a vector; each verse likewise."""
    ((documents, chunks, places, vectors),) = site.rows(
        """
        SELECT count(DISTINCT document_id), count(*), count(DISTINCT (document_id, position)),
               (SELECT count(*) FROM chunk_embeddings) FROM document_chunks
        """
    )
    assert documents == site.scale.documents + 1
    assert chunks == places == vectors
    assert site.rows("SELECT 1 FROM rag_dlq") == []
    ((verses,),) = site.rows("SELECT count(*) FROM verse_embeddings")
    assert verses == site.scale.verses * len(VERSIONS)
