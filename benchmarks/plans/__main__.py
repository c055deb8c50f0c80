"""Ways to read one table, as prepared SQL: what each takes to build, finds, and takes to search.

    python -m benchmarks.plans                                    the tables of benchmarks/README.md
    python -m benchmarks.plans --kind raised --rows 310000 --hnsw
    python -m benchmarks.plans --codes-alone 10000000             and no vectors
    python -m benchmarks.plans --few                              filters that pass few rows
    python -m benchmarks.plans --smoke                            few made vectors: does it run?

Exact search, IVFFlat over ``halfvec``, HNSW over ``halfvec``, a scan of the codes, IVFFlat over the
codes: each with the least probes, ``ef_search`` or candidates that reach recall@10 0.95 for each
sort of query (0.98 for a scan), chosen by some queries and judged by others. Then all of them in
turn, a share of the queries a round, over 1 and 8 connections. A second table has filters.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from benchmarks.index.bench import Bench, Report, own_server, say, show
from benchmarks.index.corpus import Corpus, Vectors
from benchmarks.plans.alone import codes_alone
from benchmarks.plans.contenders import (
    TOP_K,
    Contender,
    Planned,
    contenders,
    percentiles,
    search_all,
)
from benchmarks.plans.few import few_rows, of_few
from benchmarks.plans.kinds import KINDS
from rag_assets.index.questions import held_out_queries, recall, similarity_floors
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.servable import servable_scopes

FLOOR, SCAN_FLOOR = 0.95, 0.98
CONNECTIONS = 1, 8
ROUNDS = 2
_GLANCE = 50
_FEW = 10
_SEED = 5
USUAL = (("raised", 62_203, True), ("original", 62_203, True), ("lexical", 62_203, True),
         ("raised", 310_000, True), ("original", 310_000, False),
         ("raised", 1_000_000, False))  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="few made vectors")
    options.add_argument("--kind", choices=KINDS, nargs="+", help="these kinds of vectors")
    options.add_argument("--rows", type=int, nargs="+", help="these sizes")
    options.add_argument("--bits", type=int, nargs="+", help="of the codes")
    options.add_argument("--hnsw", action="store_true", help="with HNSW, also where it takes long")
    options.add_argument("--queries", type=int, help="of each sort, judged; 200")
    options.add_argument("--codes-alone", type=int, metavar="ROWS", help="codes without vectors")
    options.add_argument("--few", action="store_true", help="filters that pass few rows")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the server along
    if given.codes_alone or given.smoke:
        corpus = KINDS["original"](smoke=given.smoke)
        bits = given.bits[0] if given.bits else 4 * corpus.dimensions
        rows = given.codes_alone or 4_000
        with _bench(corpus, rows, smoke=given.smoke) as bench:
            show(codes_alone(bench, rows, bits, given.queries or 200))
    if given.few or given.smoke:
        corpus, rows = of_few(KINDS["raised"](smoke=given.smoke))
        with _bench(corpus, rows, smoke=given.smoke) as bench:
            show(few_rows(bench, rows, given.queries or (20 if given.smoke else 200)))
    if given.codes_alone or given.few:
        return
    usual = [(kind, 2_000, True) for kind in KINDS] if given.smoke else list(USUAL)
    if given.rows or given.kind:
        kinds = given.kind or list(KINDS)
        usual = [(kind, rows, given.hnsw) for kind in kinds for rows in given.rows or (62_203,)]
    for kind, most, hnsw in usual:
        corpus = KINDS[kind](smoke=given.smoke)
        rows = most if kind != "lexical" else min(most, sum(map(len, corpus.versions.values())))
        own = corpus.versions[next(iter(corpus.versions))].shape[1]
        widths = given.bits or ([own, 2 * own, 4 * own] if kind == "original" else
                                [corpus.dimensions])  # fmt: skip
        count = given.queries or (20 if given.smoke else 200)
        with _bench(corpus, rows, smoke=given.smoke) as bench:
            for report in compare(bench, rows, widths, count, hnsw=hnsw):
                show(report)


@contextmanager
def _bench(corpus: Corpus, rows: int, *, smoke: bool) -> Iterator[Bench]:
    """A server of its own for one table."""
    with own_server() as (database, usual):
        settings = usual.model_copy(update={"rag_embedding_small_dimensions": corpus.dimensions})
        yield Bench(database, settings, corpus, (rows,), ROUNDS, 0, smoke)


def compare(
    bench: Bench, rows: int, widths: Sequence[int], count: int, *, hnsw: bool
) -> Sequence[Report]:
    """One kind at one size: everything, then filters."""
    table = bench.table(rows)
    with bench.database.connect(autocommit=True) as connection:
        scopes = servable_scopes(connection, bench.settings, table)
        mixed = held_out_queries(connection, table, 2 * count, seed=_SEED)
        real = bench.corpus.queries(0, 2 * count)
        say("what exact search finds")
        largest = max(scopes, key=lambda scope: scopes[scope])
        language = tuple(scope for scope in scopes if scope[:2] == largest[:2])
        confined = {"": tuple(scopes), f"version {largest}": (largest,),
                    f"language {largest[:2].lower()}": language}  # fmt: skip
        queries = np.vstack([real, mixed])
        truth = similarity_floors(connection, table, queries, confined, top_k=TOP_K)
    sorts = {"given": slice(0, len(real)), "mixtures": slice(len(real), len(queries))}
    tuned = {name: range(s.start, s.start + (s.stop - s.start) // 2) for name, s in sorts.items()}
    judged = {name: range(s.start + (s.stop - s.start) // 2, s.stop) for name, s in sorts.items()}
    ways: list[Contender] = []
    scan_of: Planned | None = None
    for way in contenders(bench, table, tuple(scopes), rows, widths, hnsw=hnsw):
        if isinstance(way, Planned) and way.plan.kind == "codes":
            scan_of = way
        elif isinstance(way, Planned) and way.plan.codes is not None and scan_of is not None:
            # As the product does: the candidates of the scan.
            way.plan = replace(way.plan, candidates=scan_of.knob)
        if not is_exact(way):
            _choose(bench, way, queries, truth[""], tuned)
        say(f"{way.name}: {way.told()}")
        ways.append(way)
    asked = np.concatenate([np.fromiter(places, int) for places in judged.values()])
    draw = np.random.default_rng(_SEED).permutation(asked)
    for turn, share in enumerate(np.array_split(draw, ROUNDS)):
        for many in CONNECTIONS:
            say(f"round {turn + 1} of {ROUNDS}: {many} connections")
            for way in (ways, ways[::-1])[turn % 2]:
                few = share[: max(8, len(share) // _FEW)] if is_exact(way) else share
                _measure(bench, way, queries[few], many)
    for way in ways:
        if is_exact(way):
            way.recalls = [1.0 for _ in judged]
            continue
        with bench.database.connect(autocommit=True) as connection:
            way.recalls = [
                _recall(connection, way, queries, truth[""], places) for places in judged.values()
            ]
    what = f"{bench.corpus.what}, {rows:,} × {bench.corpus.dimensions}, {len(asked)} queries"
    whole = Report(
        what,
        ("way", "built, s", "MB", "read", f"recall@10, {' / '.join(sorts)}",
         *(f"P50 / P95 ms at {many}" for many in CONNECTIONS), "searches/s at 8"),
        [_row(way) for way in ways],
    )  # fmt: skip
    del confined[""]
    known = {name: floors[asked] for name, floors in truth.items()}
    return whole, _filters(bench, ways, queries[asked], confined, known, what)


def is_exact(way: Contender) -> bool:
    """Whether it compares every vector: all is found, a thousand times as slowly as by an index."""
    return isinstance(way, Planned) and way.plan.kind == "exact"


def _row(way: Contender) -> tuple[str, ...]:
    return (
        way.name, f"{way.built_s:.1f}" if way.megabytes else "",
        f"{way.megabytes:,.0f}" if way.megabytes else "", way.told(),
        " / ".join(f"{one:.3f}" for one in way.recalls),
        *(percentiles(way.ms[many]) for many in CONNECTIONS), f"{np.mean(way.rates[8]):,.0f}",
    )  # fmt: skip


def _choose(
    bench: Bench, way: Contender, queries: Vectors, truth: Vectors, sorts: Mapping[str, range]
) -> None:
    """The least knob that keeps the floor for each sort of query; what is hopeless is skipped."""
    floor = SCAN_FLOOR if isinstance(way, Planned) and way.plan.kind == "codes" else FLOOR
    for knob in way.knobs:
        way.knob = knob
        with bench.database.connect(autocommit=True) as connection:
            if all(
                _recall(connection, way, queries, truth, places[:_GLANCE]) >= floor - 0.02
                for places in sorts.values()
            ) and all(
                _recall(connection, way, queries, truth, places) >= floor
                for places in sorts.values()
            ):
                return


def _recall(
    connection: Connection, way: Contender, queries: Vectors, truth: Vectors, places: range
) -> float:
    asked = list(places)
    found = search_all(connection, way, queries[asked])[0]
    return float(np.mean([recall(f, t) for f, t in zip(found, truth[asked], strict=True)]))


def _measure(bench: Bench, way: Contender, queries: Vectors, many: int) -> None:
    """All queries over so many connections, each with its share of them, after a warm-up."""
    ready = threading.Barrier(many + 1)

    def client(share: Vectors) -> list[float]:
        with bench.database.connect(autocommit=True) as connection:
            search_all(connection, way, share[:5])
            ready.wait(300)
            return search_all(connection, way, share)[1]

    with ThreadPoolExecutor(many) as threads:
        clients = [threads.submit(client, share) for share in np.array_split(queries, many)]
        ready.wait(300)
        began = time.perf_counter()
        ms = [one for done in clients for one in done.result()]
        seconds = time.perf_counter() - began
    way.ms.setdefault(many, []).extend(ms)
    way.rates.setdefault(many, []).append(len(ms) / seconds)


def _choose_filtered(
    connection: Connection, way: Contender, queries: Vectors, truth: Vectors, scopes: Sequence[str]
) -> None:
    """The fewest candidates that keep a scan's recall under this filter."""
    for knob in way.knobs:
        way.knob = knob
        found = search_all(connection, way, queries, scopes)[0]
        if np.mean([recall(f, t) for f, t in zip(found, truth, strict=True)]) >= SCAN_FLOOR:
            return


def _filters(
    bench: Bench,
    ways: Sequence[Contender],
    queries: Vectors,
    confined: Mapping[str, Sequence[str]],
    truth: Mapping[str, Vectors],
    what: str,
) -> Report:
    """Exact search and the scan of the codes under filters: each with the candidates it takes."""
    rows = []
    for name, scopes in confined.items():
        for way in ways:
            if not isinstance(way, Planned) or way.plan.kind not in ("exact", "codes"):
                continue
            way.wide = 2 * len(scopes) >= len(way.scopes)
            judged = slice(1, 2 * max(8, len(queries) // _FEW) if is_exact(way) else None, 2)
            with bench.database.connect(autocommit=True) as connection:
                if not is_exact(way):
                    _choose_filtered(connection, way, queries[::2], truth[name][::2], scopes)
                found, ms = search_all(connection, way, queries[judged], scopes)
            shares = [recall(f, t) for f, t in zip(found, truth[name][judged], strict=True)]
            rows.append((name, way.name, way.told(), f"{np.mean(shares):.3f}", percentiles(ms)))
    return Report(
        f"{what}, under a filter", ("filter", "way", "read", "recall@10", "P50 / P95 ms"), rows
    )


if __name__ == "__main__":
    main()
