"""Our build against the bare CREATE INDEX CONCURRENTLY, in turn, with the same settings.

Ours is :mod:`rag_assets.index.build`: the check of memory and disk, the generation's record,
the watch on its progress, ANALYZE. The bare statement has the same lists, memory and workers, no
predicate, and nothing around it. Tuning is told apart (see ``recall``). Target: 1.05 ×.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from psycopg import sql

from benchmarks.index.bench import RUN_ID, Bench, Report, median, say
from rag_assets.index.build import BuildOptions, build, check_size
from rag_assets.index.build_size import kilobytes
from rag_assets.index.policy import recommended_lists
from rag_assets.index.sql import builds as index_builds
from rag_assets.progress import Silent
from rag_assets.vectors.sql.tables import VectorTable


def run(bench: Bench) -> Iterator[Report]:
    """One row a size."""
    rows = []
    for size in bench.sizes:
        table = bench.table(size)
        options = BuildOptions(
            lists=recommended_lists(size, "prod"),
            lists_from="profile",
            precision="halfvec",
            maintenance_work_mem=bench.settings.rag_index_maintenance_work_mem,
            workers=bench.settings.rag_index_parallel_workers,
        )
        bare: list[float] = []
        ours: list[float] = []
        for turn in range(bench.rounds):
            # Who comes first changes, too.
            for mine in (turn % 2 == 1, turn % 2 == 0):
                seconds = (
                    _ours(bench, table, options, size) if mine else _bare(bench, table, options)
                )
                (ours if mine else bare).append(seconds)
                say(f"{size:,} rows, {'ours' if mine else 'bare'}: {seconds:.2f} s")
                bench.drop_indexes(table)
        rows.append(
            (
                f"{size:,}",
                str(options.lists),
                f"{median(bare):.2f}",
                f"{median(ours):.2f}",
                f"{median(ours) / median(bare):.3f} ×",
                f"{min(bare):.2f} to {max(bare):.2f}",
                f"{min(ours):.2f} to {max(ours):.2f}",
            )
        )
    yield Report(
        f"Build of an index: {bench.corpus.what}, halfvec({bench.corpus.dimensions}), "
        f"{bench.settings.rag_index_maintenance_work_mem}, "
        f"{bench.settings.rag_index_parallel_workers} workers, medians of {bench.rounds}",
        ("rows", "lists", "bare, s", "ours, s", "ratio", "bare from to", "ours from to"),
        rows,
    )


def _ours(bench: Bench, table: VectorTable, options: BuildOptions, rows: int) -> float:
    with bench.database.connect(autocommit=True) as session:
        index_builds.lock_builds(session, table, waiting=lambda: None)
        started = time.perf_counter()
        check_size(session, table, options, rows=rows, progress=Silent())
        build(session, bench.database, table, options, rows=rows, run_id=RUN_ID, progress=Silent())
        return time.perf_counter() - started


def _bare(bench: Bench, table: VectorTable, options: BuildOptions) -> float:
    with bench.database.connect(autocommit=True) as session:
        for name, value in (
            ("maintenance_work_mem", f"{kilobytes(options.maintenance_work_mem)}kB"),
            ("max_parallel_maintenance_workers", str(options.workers)),
        ):
            session.execute("SELECT set_config(%s, %s, false)", (name, value))
        started = time.perf_counter()
        session.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY bare ON {} USING ivfflat (embedding halfvec_cosine_ops)"
                " WITH (lists = {})"
            ).format(table.identifier, sql.Literal(options.lists))
        )
        return time.perf_counter() - started
