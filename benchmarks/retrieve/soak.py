"""The service under load while everything around it fails.

    python -m benchmarks.retrieve.soak --minutes 10
    python -m benchmarks.retrieve.soak --minutes 0.2    few made vectors: does it run?

Eight clients without a pause against two workers: half of the requests bring a vector, a quarter a
query that is known, a quarter one that is new. Meanwhile the active release changes to and fro,
the provider is away for a tenth of the time, and PostgreSQL, a server of the benchmark's own, is
restarted. Judged, the exit status being 1 where one of them does not hold:

- each request gets an HTTP answer;
- a 5xx is a 502, 503 or 504, and falls into an outage: for the database's, ten seconds on;
- while the provider is away, vectors and known queries are answered;
- each answer is of one release: it names one, holds no version of another, and has ten hits.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from benchmarks.index.bench import Bench, Report, own_server, say, show
from benchmarks.index.corpus import FIRST, made_corpus, real_corpus
from benchmarks.retrieve import services
from benchmarks.retrieve.cached import body_of
from benchmarks.retrieve.released import ServedCorpus, release_row, serve_corpus
from benchmarks.retrieve.services import PATH, Service
from benchmarks.workload import workload
from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator, running_emulator
from rag_assets.errors import RagAssetsError
from rag_assets.postgres import embedded
from rag_assets.release.releasing import activate, roll_back
from rag_assets.vectors.sql.served import active_release

CLIENTS, WORKERS, TOP_K = 8, 2, 10
ROWS, DIMENSIONS, TUNING = 62_203, 1536, 200
SMOKE_ROWS, SMOKE_DIMENSIONS = 5_000, 64
GRACE_S = 10.0
LATENCY_MS = 100
KINDS = ("vector", "known query", "vector", "new query")
_KNOWN = 200
_LOST = 0
_OUTAGES = (502, 503, 504)


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    :param at: seconds since the beginning, when it was sent.
    :param status: 0 where there was no answer.
    :param wrong: what no one release would have answered.
    """

    at: float
    seconds: float
    kind: str
    status: int
    problem: str
    release: int | None
    wrong: str

    @property
    def ended(self) -> float:
        return self.at + self.seconds


@dataclass
class Soak:
    """One run: the clients, and a record of what was done to the service."""

    bench: Bench
    served: ServedCorpus
    service: Service
    emulator: Emulator
    seconds: float
    releases: Mapping[int, tuple[str, ...]]
    answers: list[Answer] = field(default_factory=list)
    outages: dict[str, tuple[float, float]] = field(default_factory=dict)
    switches: int = 0
    _began: float = field(default_factory=time.perf_counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> float:
        return time.perf_counter() - self._began

    def run(self) -> None:
        """The clients in threads; the rest in this one."""
        vectors = self.bench.corpus.queries(self.bench.tuning, self.bench.tuning + 400)
        bodies = [body_of(vector) for vector in vectors]
        texts = [verse.text for verse in workload(_KNOWN).verses]
        turns = count()
        with ThreadPoolExecutor(CLIENTS + 1) as threads:
            for text in texts:  # known from now on, in PostgreSQL; each worker learns it from there
                self._ask(self._connection(), "warm-up", json.dumps({"query": text}))
            self.answers.clear()
            self._began = time.perf_counter()
            clients = [threads.submit(self._client, turns, bodies, texts) for _ in range(CLIENTS)]
            switching = threads.submit(self._switch_releases)
            try:
                self._at(0.3, self._provider_outage)
                self._at(0.6, self._restart_database)
                self._at(1.0, lambda: None)
            finally:
                self._stop.set()
            for client in (*clients, switching):
                client.result()

    def _client(self, turns: Iterator[int], bodies: list[str], texts: list[str]) -> None:
        connection = self._connection()
        while not self._stop.is_set():
            turn = next(turns)
            kind = KINDS[turn % len(KINDS)]
            if kind == "vector":
                body = bodies[turn % len(bodies)]
            else:
                text = texts[turn % len(texts)]
                body = json.dumps({"query": text if kind == "known query" else f"{text} {turn}"})
            self.answers.append(self._ask(connection, kind, body))

    def _ask(self, connection: http.client.HTTPConnection, kind: str, body: str) -> Answer:
        at = self.now()
        try:
            connection.request("POST", PATH, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            status, content = response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            problem = f"{type(error).__name__}: {error}"
            return Answer(at, self.now() - at, kind, _LOST, problem, None, "")
        seconds = self.now() - at
        if status != 200:
            return Answer(at, seconds, kind, status, content.get("type", "?"), None, "")
        wrong = self._wrong(content)
        return Answer(at, seconds, kind, status, "", content["release"], wrong)

    def _wrong(self, content: Mapping[str, object]) -> str:
        """What cannot be of the release that the answer names."""
        release, hits = content["release"], content["hits"]
        versions = self.releases.get(int(str(release)))
        if versions is None:
            return f"release {release} was never active"
        assert isinstance(hits, list)
        strange = {hit["version"] for hit in hits} - set(versions)
        if strange:
            return f"release {release} does not hold {', '.join(sorted(strange))}"
        if len(hits) != TOP_K:
            return f"{len(hits)} hits"
        return ""

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)

    def _switch_releases(self) -> None:
        """To the other release, back by a rollback, all the time; not while there is no server."""
        pause = max(0.5, self.seconds / 60)
        _, other = sorted(self.releases)
        database = self.bench.database
        while not self._stop.wait(pause):
            try:
                with database.connect() as connection:
                    active = active_release(connection)
                assert active is not None
                if active.release_id == other:
                    roll_back(database)
                else:
                    activate(database, other)
                self.switches += 1
            except RagAssetsError as error:
                say(f"no switch: {str(error)[:60]}")

    def _provider_outage(self) -> None:
        length = self.seconds / 10
        with self._outage("provider"):
            self.emulator.order(Fault(FaultKind.OUTAGE, seconds=length))
            time.sleep(length)
            self.emulator.clear_faults()

    def _restart_database(self) -> None:
        folder = self.bench.settings.rag_home / "postgres"
        with self._outage("database"):
            subprocess.run(
                [str(embedded.binary("pg_ctl")), "-w", "-m", "fast", "-D", str(folder),
                 "-l", str(folder / "log"), "restart"],
                user=folder.owner(), check=True, stdout=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip

    @contextmanager
    def _outage(self, what: str) -> Iterator[None]:
        began = self.now()
        say(f"{what}: away")
        yield
        self.outages[what] = (began, self.now())
        say(f"{what}: back after {self.now() - began:.1f} s")

    def _at(self, share: float, work: Callable[[], None]) -> None:
        self._stop.wait(max(0.0, share * self.seconds - self.now()))
        work()

    def phase(self, answer: Answer) -> str:
        """In which part of the run it falls; one that was in flight when an outage began, in it.

        An outage goes before the time after another, the database's before the provider's.
        """
        outages = sorted(self.outages.items())
        for what, (began, ended) in outages:
            if answer.ended >= began and answer.at <= ended:
                return f"{what} away"
        for what, (_, ended) in outages:
            grace = GRACE_S if what == "database" else self.bench.settings.rag_query_timeout_s
            if ended < answer.at <= ended + grace:
                return f"{what} back, {grace:g} s"
        return "all well"

    def recovery_s(self) -> float:
        """From the server's return to the last failure that is its absence's."""
        _, ended = self.outages["database"]
        failed = [
            answer.ended - ended for answer in self.answers
            if answer.kind != "new query" and answer.status >= 500 and answer.ended > ended
        ]  # fmt: skip
        return max(failed, default=0.0)

    def faults(self) -> list[str]:
        """What does not hold of what the module promises."""
        found = []
        for answer in self.answers:
            phase, told = self.phase(answer), f"at {answer.at:.1f} s: {answer.kind}"
            if answer.status == _LOST:
                found.append(f"lost {told}: {answer.problem}")
            elif answer.wrong:
                found.append(f"mixed {told}: {answer.wrong}")
            elif answer.status >= 500 and (phase == "all well" or answer.status not in _OUTAGES):
                found.append(f"{answer.status} {told}, {phase}: {answer.problem}")
            elif answer.status >= 500 and phase.startswith("provider"):
                if answer.kind != "new query":
                    found.append(f"{answer.status} {told}, {phase}: {answer.problem}")
            elif 400 <= answer.status < 500:
                found.append(f"{answer.status} {told}: {answer.problem}")
        return found


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--minutes", type=float, default=10, help="under 1: made vectors; 10")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the servers along
    smoke = given.minutes < 1
    corpus = made_corpus(SMOKE_ROWS // 4, SMOKE_DIMENSIONS, SMOKE_DIMENSIONS) if smoke else (
        real_corpus(DIMENSIONS)
    )  # fmt: skip
    own = {"rag_embedding_small_dimensions": corpus.dimensions}
    with own_server() as (database, settings):
        bench = Bench(
            database=database,
            settings=settings.model_copy(update=own),
            corpus=corpus,
            sizes=(SMOKE_ROWS if smoke else ROWS,),
            rounds=1,
            tuning=50 if smoke else TUNING,
            smoke=smoke,
        )
        soak = run(bench, given.minutes * 60)
        show(_by_phase(soak))
        show(_by_second(soak))
        faults = soak.faults()
        for fault in faults[:20]:
            print(fault)
        verdict = f"{len(faults)} faults" if faults else "holds"
        print(
            f"{verdict}: {len(soak.answers):,} requests, {soak.switches} switches and rollbacks; "
            f"recovered {soak.recovery_s():.1f} s after PostgreSQL was back"
        )
    sys.exit(1 if faults else 0)


def run(bench: Bench, seconds: float) -> Soak:
    """Everything."""
    served = serve_corpus(bench, bench.sizes[0])
    versions = tuple(sorted(served.scopes))
    with bench.database.connect() as connection:
        first = active_release(connection)
        assert first is not None
        second = release_row(
            connection, served.table, served.generation, served.codes, served.scopes, [FIRST]
        )
    releases = {first.release_id: versions, second: (FIRST,)}
    with (
        running_emulator(latency_ms=LATENCY_MS) as emulator,
        services.ours(
            "ours", bench.settings.rag_home, workers=WORKERS,
            environment={"OPENAI_BASE_URL": emulator.base_url, "OPENAI_API_KEY": "sk-test-soak"},
        ) as service,
    ):  # fmt: skip
        say(f"soaking for {seconds:.0f} s")
        soak = Soak(bench, served, service, emulator, seconds, releases)
        soak.run()
        return soak


def _by_phase(soak: Soak) -> Report:
    counted: dict[tuple[str, str], list[Answer]] = {}
    for answer in soak.answers:
        counted.setdefault((soak.phase(answer), answer.kind), []).append(answer)
    rows = []
    for (phase, kind), answers in sorted(counted.items()):
        statuses = Counter(answer.status for answer in answers)
        good = [answer.seconds * 1000 for answer in answers if answer.status == 200]
        told = ", ".join(f"{status or 'lost'}: {n:,}" for status, n in sorted(statuses.items()))
        kinds = Counter(
            answer.problem.rpartition(":")[2] for answer in answers if answer.status != 200
        )
        rows.append(
            (
                phase,
                kind,
                told,
                ", ".join(f"{problem} {n:,}" for problem, n in sorted(kinds.items())),
                *(f"{np.percentile(good, share):.0f}" if good else "" for share in (50, 95)),
                f"{max(good):.0f}" if good else "",
            )
        )
    return Report(
        f"Soak: {soak.bench.corpus.what}, {soak.bench.sizes[0]:,} × "
        f"{soak.bench.corpus.dimensions}, {CLIENTS} clients, {WORKERS} workers, "
        f"{soak.seconds:.0f} s",
        ("when", "request", "status: answers", "problems", "P50 ms", "P95 ms", "max ms"),
        rows,
    )


def _by_second(soak: Soak) -> Report:
    """Twenty windows of the same length."""
    width = soak.seconds / 20
    windows: dict[int, Counter[int]] = {}
    for answer in soak.answers:
        windows.setdefault(int(answer.at / width), Counter())[answer.status] += 1
    statuses = sorted({answer.status for answer in soak.answers})
    return Report(
        f"Answers by the time when they were asked for, in windows of {width:.1f} s",
        ("from, s", *(str(status or "lost") for status in statuses)),
        [
            (f"{place * width:.1f}", *(f"{found[status]:,}" for status in statuses))
            for place, found in sorted(windows.items())
        ],
    )


if __name__ == "__main__":
    main()
