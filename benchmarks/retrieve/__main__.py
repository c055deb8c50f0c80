"""Retrieval over HTTP measured: raw SQL, ours, and others', in one run.

    python -m benchmarks.retrieve            the tables of benchmarks/README.md
    python -m benchmarks.retrieve --smoke    few made vectors, without the others: does it run?

Everybody searches the same vectors, as ``halfvec``, in one embedded PostgreSQL of the benchmark's
own, and returns the nearest ten with their texts. Ours reads codes as the product decides; raw SQL
and the others search IVFFlat indexes over the vectors with the same lists and probes, tuned to the
same recall. *Raw SQL, our plan* is our very statement without the service. Contenders take turns, a
share of the requests a round. 10 GB on disk while it runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from psycopg import sql

from benchmarks.index.bench import Bench, Report, own_server, say, show
from benchmarks.index.corpus import Vectors, made_corpus, real_corpus
from benchmarks.retrieve import cached, services
from benchmarks.retrieve.alone import index_ms
from benchmarks.retrieve.others import TABLES, index_scans, start_others
from benchmarks.retrieve.raw import TOP_K, RawSearch, plan_of_vectors, plan_served
from benchmarks.retrieve.released import ServedCorpus, serve_corpus
from benchmarks.retrieve.services import Service
from rag_assets.index.questions import recall, similarity_floors

ROWS, DIMENSIONS, TUNING = 310_000, 1536, 200
SMOKE_ROWS, SMOKE_DIMENSIONS = 5_000, 64
CONNECTIONS = (1, 8, 32)
RECALL_QUERIES = 100
RAW, RAW_OURS = "raw SQL", "raw SQL, our plan"


@dataclass
class Contender:
    """One of those who are compared.

    :param load: (connections, requests, warm-up, first query) to seconds and milliseconds.
    :param service: over HTTP; or ``raw``, without it.
    :param index_ms: median time of a bare search of its own index over vectors, in PostgreSQL
        alone.
    """

    name: str
    load: Callable[[int, int, int, int], tuple[float, list[float]]]
    service: Service | None = None
    raw: RawSearch | None = None
    seconds: dict[int, float] = field(default_factory=dict)
    ms: dict[int, list[float]] = field(default_factory=dict)
    memory_mb: float | None = None
    recall: float | None = None
    index_ms: float | None = None

    def percentile(self, connections: int, share: float) -> float:
        return float(np.percentile(self.ms[connections], share))

    def rate(self, connections: int) -> float:
        return len(self.ms[connections]) / self.seconds[connections]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="few made vectors, no others")
    options.add_argument("--rows", type=int, help=f"{ROWS:,} without --smoke")
    options.add_argument("--requests", type=int, help="of each at each concurrency; 2,000")
    options.add_argument("--rounds", type=int, help="turns that they are sent in; 2")
    options.add_argument("--no-peers", action="store_true", help="without the others")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the servers along
    smoke = given.smoke
    corpus = made_corpus(SMOKE_ROWS // 4, SMOKE_DIMENSIONS, SMOKE_DIMENSIONS) if smoke else (
        real_corpus(DIMENSIONS)
    )  # fmt: skip
    own = {"rag_embedding_small_dimensions": corpus.dimensions}
    with own_server() as (database, settings), tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            database=database,
            settings=settings.model_copy(update=own),
            corpus=corpus,
            sizes=(given.rows or (SMOKE_ROWS if smoke else ROWS),),
            rounds=given.rounds or (1 if smoke else 2),
            tuning=50 if smoke else TUNING,
            smoke=smoke,
        )
        served = serve_corpus(bench, bench.sizes[0])
        requests = given.requests or (100 if smoke else 2000)
        peers = not (smoke or given.no_peers)
        home = settings.rag_home
        show(compare(bench, served, Path(folder), home, requests=requests, peers=peers))
        show(cached.measure(bench, served, Path(folder), home))


def compare(
    bench: Bench, served: ServedCorpus, folder: Path, home: Path, *, requests: int, peers: bool
) -> Report:
    """One row a contender and concurrency."""
    queries = bench.corpus.queries(bench.tuning, len(bench.corpus.held_out))
    bodies = folder / "vectors.jsonl"
    bodies.write_text("".join(cached.body_of(query) + "\n" for query in queries))
    ours = plan_served(bench.database, served)
    contenders = [
        _raw(name, RawSearch(bench.database, served, plan), queries)
        for name, plan in ((RAW, plan_of_vectors(served)), (RAW_OURS, ours))
    ]
    share = requests // bench.rounds
    with ExitStack() as stack:
        for workers in (1, 2):
            name = f"ours, {workers} worker{'s' if workers > 1 else ''}"
            service = stack.enter_context(services.ours(name, home, workers=workers))
            contenders.append(_over_http(service, bodies))
        if peers:
            found = start_others(bench, served, folder, stack)
            contenders += [_over_http(service, bodies) for service in found]
        idle = _over_http(stack.enter_context(services.trivial(folder)), bodies)
        _measure_recall(bench, served, contenders)
        _measure_indexes(bench, served, queries, contenders)
        for contender in contenders:  # nobody meets a cold cache, or has to open a connection
            contender.load(CONNECTIONS[-1], requests // 4, 0, 0)
        for turn in range(bench.rounds):
            for connections in CONNECTIONS:
                say(f"round {turn + 1} of {bench.rounds}: {connections} connections")
                # Who comes first changes, too.
                for contender in (contenders, contenders[::-1])[turn % 2]:
                    _measure(contender, connections, share, turn)
                _measure(idle, connections, share, turn)
        for contender in contenders:
            if contender.service is not None:
                contender.memory_mb = contender.service.worker_mb()
    for table, scans in index_scans(bench).items():
        say(f"{table}: its IVFFlat index was read {scans:,} times")
    cost = ", ".join(f"{idle.rate(many):,.0f} at {many}" for many in CONNECTIONS)
    return Report(
        f"Retrieval: {bench.corpus.what}, {bench.sizes[0]:,} × {bench.corpus.dimensions}; raw SQL: "
        f"{plan_of_vectors(served)}; ours: {ours}; {requests:,} requests each; the load generator "
        f"alone does {cost} requests a second",
        ("contender", "connections", "P50 ms", "P95 ms", "P99 ms", "requests/s", "P95 ÷ raw",
         "requests/s ÷ raw", "MB", "recall@10", "its index alone, P50 ms"),
        [
            _row(contender, contenders[0], connections)
            for connections in CONNECTIONS
            for contender in contenders
        ],
    )  # fmt: skip


def _raw(name: str, raw: RawSearch, queries: Vectors) -> Contender:
    def load(
        connections: int, requests: int, warm_up: int, start: int
    ) -> tuple[float, list[float]]:
        return raw.run(
            queries, connections=connections, requests=requests, warm_up=warm_up, start=start
        )

    return Contender(name, load, raw=raw)


def _over_http(service: Service, bodies: Path) -> Contender:
    def load(
        connections: int, requests: int, warm_up: int, start: int
    ) -> tuple[float, list[float]]:
        result = service.load(
            bodies, connections=connections, requests=requests, warm_up=warm_up, start=start
        )
        if result["statuses"] != {"200": requests}:
            raise SystemExit(f"{service.name} answered {result['statuses']}")
        return float(str(result["seconds"])), list(result["ms"])  # type: ignore[call-overload]

    return Contender(service.name, load, service)


def _measure(contender: Contender, connections: int, requests: int, turn: int) -> None:
    """The same queries to everybody, after a warm-up with others that are not counted."""
    warm_up = max(2 * connections, requests // 10)
    seconds, ms = contender.load(connections, requests, warm_up, turn * requests)
    contender.seconds[connections] = contender.seconds.get(connections, 0.0) + seconds
    contender.ms.setdefault(connections, []).extend(ms)
    say(f"  {contender.name}: {requests / seconds:,.0f} requests/s")


def _measure_recall(bench: Bench, served: ServedCorpus, contenders: list[Contender]) -> None:
    """Everybody finds as much: against all rows."""
    say("recall")
    queries = bench.corpus.queries(bench.tuning, bench.tuning + RECALL_QUERIES)
    cases = {"all": tuple(served.scopes)}
    with bench.database.connect(autocommit=True) as connection:
        truth = similarity_floors(connection, served.table, queries, cases, top_k=TOP_K)["all"]
    for contender in contenders:
        if contender.service is not None:
            found = [_scores(contender.service, query) for query in queries]
        elif contender.raw is not None:
            found = [list(one) for one in contender.raw.similarities(queries)]
        contender.recall = float(np.mean([recall(o, t) for o, t in zip(found, truth, strict=True)]))


def _measure_indexes(
    bench: Bench, served: ServedCorpus, queries: Vectors, contenders: list[Contender]
) -> None:
    """What each one's own index over vectors takes without it."""
    say("each index alone")
    made = served.vectors
    assert made.probes is not None
    mine = sql.SQL("{} WHERE {} <> {}").format(
        served.table.identifier, served.table.id_column, sql.Literal(-made.number)
    )
    tables: dict[str, tuple[sql.Composable, sql.Composable]] = {
        name: (sql.Identifier(table), sql.Identifier(ids))
        for name, (table, ids) in TABLES.items()
        if name in {contender.name for contender in contenders}
    }
    tables[RAW] = (mine, served.table.id_column)
    ms = index_ms(bench.database, tables, queries[:400], probes=made.probes.plain)
    for contender in contenders:
        contender.index_ms = ms.get(contender.name)


def _scores(service: Service, query: Vectors) -> list[float]:
    answer = httpx.post(
        service.url + service.path,
        content=cached.body_of(query),
        headers={"Content-Type": "application/json"},
        trust_env=False,
        timeout=30,
    )
    hits = json.loads(answer.raise_for_status().content)["hits"]
    assert len(hits) == TOP_K, (service.name, len(hits))
    assert all(hit["text"] for hit in hits), service.name
    return [hit["score"] for hit in hits]


def _row(contender: Contender, raw: Contender, connections: int) -> tuple[str, ...]:
    p50, p95, p99 = (contender.percentile(connections, share) for share in (50, 95, 99))
    mine = contender is raw
    return (
        contender.name,
        str(connections),
        f"{p50:.1f}",
        f"{p95:.1f}",
        f"{p99:.1f}",
        f"{contender.rate(connections):,.0f}",
        "" if mine else f"{p95 / raw.percentile(connections, 95):.2f}",
        "" if mine else f"{contender.rate(connections) / raw.rate(connections):.2f}",
        "" if contender.memory_mb is None else f"{contender.memory_mb:.0f}",
        f"{contender.recall:.3f}",
        "" if contender.index_ms is None else f"{contender.index_ms:.1f}",
    )


if __name__ == "__main__":
    main()
