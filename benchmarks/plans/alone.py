"""Codes without vectors: what a table of them and an index take where vectors have no room.

Ten million vectors of 1,536 dimensions are 41 GB, their codes 3 GB. The first step of a search
reads the codes alone: its time, its index and what the index misses of a scan can be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from pgvector import Bit
from psycopg import sql

from benchmarks.index.bench import RUN_ID, Bench, Report, say
from benchmarks.plans.contenders import percentiles
from rag_assets.index.build_size import kilobytes
from rag_assets.index.policy import recommended_lists
from rag_assets.index.sql import builds as index_builds
from rag_assets.postgres.database import Connection
from rag_assets.vectors.binary_copy import ids_and_codes
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

NEAREST = 200
_JUDGED = 10
"""As many candidates as are compared exactly, and as many hits as are wanted of them."""
FLOOR = 0.95
_GENERATION = 9_001

Search = Callable[[Connection, Bit], Sequence[int]]


def codes_alone(bench: Bench, rows: int, bits: int, queries: int) -> Report:
    """A scan of all codes, of one version's, and an index that finds 0.95 of the scan's best ten.

    :param queries: the scan answers a tenth of them.
    """
    table = bench.space_table(f"codes-{rows}", "halfvec")
    code_set, encoded_s, written_s = _fill(bench, table, rows, bits)
    asked = [
        Bit(code.tobytes()) for code in code_set.recipe.encode(bench.corpus.queries(0, queries))
    ]
    few = asked[: max(4, queries // 10)]
    with bench.database.connect() as connection:
        size = index_builds.relation_bytes(connection, code_set.name)
    found = [("codes", f"{encoded_s:.0f} to encode, {written_s:.0f} to write", f"{size / 1e6:,.0f}",
              "", *("",) * 3)]  # fmt: skip

    def scan(connection: Connection, code: Bit) -> Sequence[int]:
        return _nearest(connection, code_set, code, sql.SQL("TRUE"))

    def version(connection: Connection, code: Bit) -> Sequence[int]:
        return _nearest(connection, code_set, code, sql.SQL("part = 1"))

    found += [("scan", "", "", "", *_times(bench, scan, few))]
    found += [("scan of one version", "", "", "", *_times(bench, version, asked))]
    with bench.database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        truth = [scan(connection, code) for code in few]
    lists = recommended_lists(rows, "prod")
    name, built_s = _build(bench, table, code_set, lists)
    with bench.database.connect() as connection:
        size = index_builds.relation_bytes(connection, name)
    for probes in _probes(lists):
        search = _through_index(code_set, probes)
        with bench.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            near = [search(connection, code) for code in few]
        shares = [_share(ours, best) for ours, best in zip(near, truth, strict=True)]
        say(f"{probes} of {lists} lists: {np.mean(shares):.3f}")
        if np.mean(shares) >= FLOOR:
            break
    read = f"{probes} of {lists:,} lists: {np.mean(shares):.3f}"
    found += [
        ("index", f"{built_s:.0f}", f"{size / 1e6:,.0f}", read, *_times(bench, search, asked))
    ]
    return Report(
        f"codes alone, {bench.corpus.what}, {rows:,} × {bits:,} bits",
        ("what", "s", "MB", f"of the scan's best {_JUDGED}", "P50 / P95 ms at 1",
         "P50 / P95 ms at 8", "searches/s at 8"),
        found,
    )  # fmt: skip


def _fill(bench: Bench, table: VectorTable, rows: int, bits: int) -> tuple[CodeSet, float, float]:
    say(f"{rows:,} codes of {bits:,} bits")
    encoded_s = written_s = 0.0
    first_id = 1
    with bench.database.connect(autocommit=True) as session:
        recipe = Recipe(bench.corpus.dimensions, bits)
        code_set = code_sets.create(session, table, recipe, measured={}, run_id=RUN_ID)
        for part, (_, vectors) in enumerate(bench.corpus.blocks(rows), start=1):
            began = time.perf_counter()
            codes = recipe.encode(bench.corpus.raised(vectors))
            encoded_s += time.perf_counter() - began
            began = time.perf_counter()
            with session.transaction():
                _write(session, code_set, np.arange(first_id, first_id + len(codes)), codes, part)
            written_s += time.perf_counter() - began
            first_id += len(codes)
            if part % 20 == 0:
                say(f"{first_id - 1:,} codes")
        session.execute(sql.SQL("VACUUM ANALYZE {}").format(code_set.identifier))
        session.execute("CHECKPOINT")
    return code_set, encoded_s, written_s


def _write(
    session: Connection, code_set: CodeSet, ids: np.ndarray, codes: np.ndarray, part: int
) -> None:
    session.execute("SELECT set_config('rag_assets.coding', %s, true)", (code_set.name,))
    session.execute("CREATE TEMPORARY TABLE incoming (id bigint, code varbit) ON COMMIT DROP")
    with session.cursor().copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(ids_and_codes(ids, codes, code_set.recipe.bits))
    session.execute(
        sql.SQL("INSERT INTO {} SELECT id, {}, 'GEN', 1, code::bit({}) FROM incoming").format(
            code_set.identifier, sql.Literal(part), sql.Literal(code_set.recipe.bits)
        )
    )


def _nearest(
    connection: Connection, code_set: CodeSet, code: Bit, condition: sql.Composable
) -> Sequence[int]:
    """Bits by which the nearest codes differ from this one, ascending."""
    found = connection.execute(
        sql.SQL(
            "SELECT code <~> %s::bit({bits}) AS away FROM {codes} WHERE {condition}"
            " ORDER BY away LIMIT {nearest}"
        ).format(
            bits=sql.Literal(code_set.recipe.bits),
            codes=code_set.identifier,
            condition=condition,
            nearest=sql.Literal(NEAREST),
        ),
        (code,),
        prepare=True,
    )
    return [int(away) for (away,) in found]


def _through_index(code_set: CodeSet, probes: int) -> Search:
    ours = sql.SQL("verse_id <> {}").format(sql.Literal(-_GENERATION))

    def search(connection: Connection, code: Bit) -> Sequence[int]:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('ivfflat.probes', %s, true),"
                " set_config('enable_sort', 'off', true)",
                (str(probes),),
            )
            return _nearest(connection, code_set, code, ours)

    return search


def _share(found: Sequence[int], truth: Sequence[int]) -> float:
    """How much of the scan's best was found; what is as far as the last of them is as good."""
    return min(1.0, sum(away <= truth[_JUDGED - 1] for away in found) / _JUDGED)


def _build(bench: Bench, table: VectorTable, code_set: CodeSet, lists: int) -> tuple[str, float]:
    say(f"building {lists:,} lists")
    with bench.database.connect(autocommit=True) as session:
        index_builds.prepare_session(
            session,
            memory_kb=kilobytes(bench.settings.rag_index_maintenance_work_mem),
            workers=bench.settings.rag_index_parallel_workers,
        )
        began = time.perf_counter()
        name = index_builds.create_index(
            session, table, _GENERATION, precision="halfvec", lists=lists,
            codes=code_set,
        )  # fmt: skip
        return name, time.perf_counter() - began


def _probes(lists: int) -> Iterator[int]:
    probes = 4
    while probes < lists:
        yield probes
        probes = round(probes * 1.4)
    yield lists


def _times(bench: Bench, search: Search, codes: Sequence[Bit]) -> tuple[str, str, str]:
    """P50 / P95 over one connection and over eight, and searches a second over eight."""

    def client(share: Sequence[Bit]) -> list[float]:
        taken = []
        with bench.database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            search(connection, share[0])
            for code in share:
                began = time.perf_counter()
                search(connection, code)
                taken.append((time.perf_counter() - began) * 1000)
        return taken

    alone = client(codes)
    with ThreadPoolExecutor(8) as threads:
        began = time.perf_counter()
        shares = [codes[place::8] or codes for place in range(8)]
        beside = [ms for done in threads.map(client, shares) for ms in done]
        seconds = time.perf_counter() - began
    return percentiles(alone), percentiles(beside), f"{len(beside) / seconds:,.1f}"
