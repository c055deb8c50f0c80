"""Searches before, while and after a second generation is built, switched to, the first dropped.

Eight clients search everything without a pause, each on a connection of its own, by the plan of the
generation in force. :func:`rag_assets.index.maintain.maintain` is then forced to build and tune
another; the plan changes under the clients; the first generation's index is dropped at once,
without waiting for anybody. An error, or fewer than ten hits, is a fault whatever the latency.

The clients share two things with the build that production keeps apart: the machine's cores, and
this process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from benchmarks.index.bench import RUN_ID, Bench, Report, say
from benchmarks.index.corpus import Vectors
from rag_assets.index.build import drop_unneeded
from rag_assets.index.cases import TOP_K
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.index.measuring import target_of
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.plan import choose_plan
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

CLIENTS = 8


@dataclass
class _Clients:
    """What the clients are told (plan, phase), and what they tell: (phase, ms, hits)."""

    database: Database
    table: VectorTable
    scopes: tuple[str, ...]
    queries: Vectors
    plan: SearchPlan
    phase: str = "warm-up"
    stopped: bool = False
    searches: list[tuple[str, float, int]] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def enter(self, phase: str) -> None:
        """A phase begins; a search belongs to the one in which it began."""
        now = time.perf_counter()
        self.seconds[self.phase] = now - self._since
        self.phase, self._since = phase, now
        say(f"clients: {phase}")

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as threads:
            done = [threads.submit(self._search_on, first) for first in range(CLIENTS)]
            try:
                yield
            finally:
                self.enter("end")
                self.stopped = True
        for client in done:
            client.result()

    def _search_on(self, first: int) -> None:
        with self.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            for turn in count(first, CLIENTS):
                if self.stopped:
                    return
                phase = self.phase
                started = time.perf_counter()
                try:
                    found = nearest(
                        connection,
                        self.table,
                        self.plan,
                        self.queries[turn % len(self.queries)],
                        top_k=TOP_K,
                        scopes=self.scopes,
                    )
                except Exception as error:  # whatever it is: it is what a client would have seen
                    self.errors.append((phase, f"{type(error).__name__}: {error}"))
                    if connection.closed:
                        return
                    continue
                elapsed = (time.perf_counter() - started) * 1000
                self.searches.append((phase, elapsed, len(found)))


class _Phases(Silent):
    """Hears from the build when it gives way to tuning."""

    def __init__(self, clients: _Clients) -> None:
        self._clients = clients

    def say(self, message: str) -> None:
        say(message)
        if message.startswith("building generation"):
            self._clients.enter("build")
        elif message.startswith("generation") and " built in " in message:
            self._clients.enter("tuning")


def run(bench: Bench) -> Iterator[Report]:
    """One row a phase, at the largest size."""
    size, quiet_s = bench.sizes[-1], 1.0 if bench.smoke else 30.0
    table = bench.table(size)
    # The clients search everything: with this, no filter is left to be tuned through the index.
    settings = bench.settings.model_copy(update={"rag_search_exact_rows": size})
    tuning = bench.corpus.queries(0, min(200, bench.tuning))
    queries = bench.corpus.queries(bench.tuning, 2 * bench.tuning)
    request = IndexRequest(force=True)
    first = maintain(
        bench.database, settings, table, request, run_id=RUN_ID, progress=Silent(), queries=tuning
    ).generation
    assert first is not None
    with bench.database.connect() as connection:
        scopes = servable_scopes(connection, settings, table)

    def plan_of(generation: Generation) -> SearchPlan:
        target = target_of(table, scopes, generation, None)
        return choose_plan(target, scopes, exact_rows=settings.rag_search_exact_rows)

    bench.serve(table, first)
    clients = _Clients(bench.database, table, tuple(scopes), queries, plan_of(first))
    with clients.running():
        time.sleep(quiet_s / 5)
        clients.enter("before")
        time.sleep(quiet_s)
        second = maintain(
            bench.database, settings, table, request, run_id=RUN_ID, progress=_Phases(clients),
            queries=tuning,
        ).generation  # fmt: skip
        assert second is not None
        clients.enter("switch and drop")
        clients.plan = plan_of(second)
        bench.serve(table, second)
        with bench.database.connect(autocommit=True) as session:
            dropped = drop_unneeded(session, table, second, kept=0)
        assert dropped == (first.number,), dropped
        clients.enter("after")
        time.sleep(quiet_s)
    bench.serve_nothing()
    for phase, error in clients.errors[:5]:
        say(f"error during {phase}: {error}")
    phases = ("before", "build", "tuning", "switch and drop", "after")
    yield Report(
        f"Searches while an index is rebuilt: {bench.corpus.what}, {size:,} rows, {CLIENTS} clients"
        f" without a pause, probes {plan_of(first).probes} then {plan_of(second).probes} of "
        f"{second.lists} lists; objective: P95 of {settings.rag_slo_p95_ms:.0f} ms",
        ("phase", "s", "searches", "a second", "errors", "under 10 hits", "P50 ms", "P95 ms",
         "max ms"),
        [_row(clients, phase) for phase in phases],
    )  # fmt: skip


def _row(clients: _Clients, phase: str) -> tuple[str, ...]:
    latencies = [ms for when, ms, _ in clients.searches if when == phase]
    short = sum(hits < TOP_K for when, _, hits in clients.searches if when == phase)
    errors = sum(when == phase for when, _ in clients.errors)
    seconds = clients.seconds[phase]
    p50, p95, most = np.percentile(latencies, [50, 95, 100]) if latencies else [np.nan] * 3
    return (
        phase,
        f"{seconds:.1f}",
        f"{len(latencies):,}",
        f"{len(latencies) / seconds:.0f}",
        str(errors),
        str(short),
        f"{p50:.0f}",
        f"{p95:.0f}",
        f"{most:.0f}",
    )
