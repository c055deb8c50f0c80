"""vector against halfvec, in the row (PLAIN) against out of it (EXTERNAL, EXTENDED).

The same rows into a table of each kind, loaded and indexed in turn, then searched in turn. Recall
is against the truth among the 32-bit vectors, so that it tells what 16 bits lose. pgvector's own
default is EXTERNAL; EXTENDED also tries to compress. Sizes are with the TOAST table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from psycopg import sql

from benchmarks.index.bench import RUN_ID, Bench, Report, median, say
from benchmarks.index.corpus import FIRST
from rag_assets.index.build import BuildOptions, build
from rag_assets.index.cases import EVERYTHING, TOP_K
from rag_assets.index.policy import recommended_lists
from rag_assets.index.questions import recall, similarity_floors
from rag_assets.index.sql import builds as index_builds
from rag_assets.postgres.database import Connection, one
from rag_assets.progress import Silent
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.timing import TimedSearch, time_plan
from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

PROBES = 16
_EXACT_QUERIES = 60
_PRECISIONS: tuple[Precision, ...] = ("halfvec", "vector")


@dataclass
class _Kind:
    """A table of one kind, and what was measured on it."""

    table: VectorTable
    storage: str
    generation: int = 0
    index_bytes: int = 0
    table_bytes: int = 0
    load_s: list[float] = field(default_factory=list)
    build_s: list[float] = field(default_factory=list)
    exact_ms: list[float] = field(default_factory=list)
    filtered_ms: list[float] = field(default_factory=list)
    found: list[TimedSearch] = field(default_factory=list)


def run(bench: Bench) -> Iterator[Report]:
    """One row a kind, at the smallest size."""
    size = bench.sizes[0]
    kinds = []
    for precision in _PRECISIONS:
        for storage in ("PLAIN", "EXTERNAL", "EXTENDED"):
            table = bench.space_table(f"{precision}-{storage}", precision)
            with bench.database.connect() as connection:
                connection.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN embedding SET STORAGE {}").format(
                        table.identifier, sql.SQL(storage)
                    )
                )
            kinds.append(_Kind(table, storage))
    for turn in range(bench.rounds):
        for kind in kinds:
            say(f"round {turn + 1}: {kind.table.space.spec} {kind.storage}")
            _load_and_build(bench, kind, size)
    queries = bench.corpus.queries(bench.tuning, 2 * bench.tuning)
    scopes, truth = _truth(bench, kinds[-1].table, queries)
    with bench.database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for turn, share in enumerate(np.array_split(queries, bench.rounds)):
            say(f"searching, round {turn + 1}")
            for kind in kinds:
                _search(connection, kind, share, scopes, _EXACT_QUERIES // bench.rounds)
    yield Report(
        f"How vectors are stored: {bench.corpus.what}, {size:,} × {bench.corpus.dimensions}, "
        f"{recommended_lists(size, 'prod')} lists, {PROBES} probes",
        ("kind", "load s", "table MB", "build s", "index MB", "exact P50 ms",
         f"exact, {FIRST} only, P50 ms", "index P50 ms", "index P95 ms", "recall@10"),
        [_row(kind, truth) for kind in kinds],
    )  # fmt: skip


def _load_and_build(bench: Bench, kind: _Kind, size: int) -> None:
    bench.drop_indexes(kind.table)
    kind.load_s.append(bench.fill(kind.table, size))
    precision = kind.table.space.spec.precision
    options = BuildOptions(
        recommended_lists(size, "prod"),
        "profile",
        precision,
        bench.settings.rag_index_maintenance_work_mem,
        bench.settings.rag_index_parallel_workers,
    )
    with bench.database.connect(autocommit=True) as session:
        index_builds.lock_builds(session, kind.table, waiting=lambda: None)
        started = time.perf_counter()
        kind.generation = build(
            session, bench.database, kind.table, options, rows=size, run_id=RUN_ID,
            progress=Silent(),
        )  # fmt: skip
        kind.build_s.append(time.perf_counter() - started)
        (index,) = live_indexes(session, kind.table)
        kind.index_bytes = index.bytes
        (kind.table_bytes,) = one(
            session.execute("SELECT pg_table_size(to_regclass(%s))", (kind.table.name,))
        )


def _truth(
    bench: Bench, table: VectorTable, queries: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    with bench.database.connect(autocommit=True) as connection:
        scopes = tuple(servable_scopes(connection, bench.settings, table))
        cases = {EVERYTHING: scopes}
        return scopes, similarity_floors(connection, table, queries, cases, top_k=TOP_K)[EVERYTHING]


def _search(
    connection: Connection, kind: _Kind, share: np.ndarray, scopes: Sequence[str], exactly: int
) -> None:
    plan = SearchPlan("ivfflat", kind.generation, kind.table.space.spec.precision, PROBES, PROBES)

    def searched(
        chosen: SearchPlan, queries: np.ndarray, confined: Sequence[str]
    ) -> list[TimedSearch]:
        time_plan(connection, kind.table, chosen, queries[:2], top_k=TOP_K, scopes=confined)
        return list(
            time_plan(connection, kind.table, chosen, queries, top_k=TOP_K, scopes=confined)
        )

    kind.found += searched(plan, share, scopes)
    kind.exact_ms += [one.latency_ms for one in searched(EXACT, share[:exactly], scopes)]
    kind.filtered_ms += [one.latency_ms for one in searched(EXACT, share[:exactly], [FIRST])]


def _row(kind: _Kind, truth: np.ndarray) -> tuple[str, ...]:
    latencies = [found.latency_ms for found in kind.found]
    recalls = [
        recall(found.similarities, true) for found, true in zip(kind.found, truth, strict=True)
    ]
    return (
        f"{kind.table.space.spec.precision}, {kind.storage}",
        f"{median(kind.load_s):.1f}",
        f"{kind.table_bytes / 1e6:,.0f}",
        f"{median(kind.build_s):.1f}",
        f"{kind.index_bytes / 1e6:,.0f}",
        f"{median(kind.exact_ms):.1f}",
        f"{median(kind.filtered_ms):.1f}",
        f"{np.percentile(latencies, 50):.1f}",
        f"{np.percentile(latencies, 95):.1f}",
        f"{np.mean(recalls):.3f}",
    )
