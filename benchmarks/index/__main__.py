"""Index generations measured: what a build costs, what it does to searches, what they find.

    python -m benchmarks.index                 the tables of benchmarks/README.md
    python -m benchmarks.index --only build    some of: build, load, recall, storage
    python -m benchmarks.index --smoke         few made vectors, nothing compared: does it run?

Each part says in its module what it compares. Everything happens in an embedded PostgreSQL of the
benchmark's own, on disk, gone at the end; it takes 10 GB there while it runs.
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks.index import build, load, recall, storage
from benchmarks.index.bench import Bench, own_server, say, show
from benchmarks.index.corpus import made_corpus, real_corpus

PARTS = {"build": build.run, "load": load.run, "recall": recall.run, "storage": storage.run}
SIZES = 62_203, 310_000
DIMENSIONS = 1536
SMOKE_SIZE, SMOKE_DIMENSIONS = 4_000, 64


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="few made vectors, one round")
    options.add_argument("--only", choices=PARTS, nargs="+", help="these parts")
    options.add_argument("--rows", type=int, nargs="+", help=f"sizes; {SIZES} without --smoke")
    options.add_argument("--rounds", type=int, help="rounds in turn; 3 without --smoke")
    options.add_argument("--tuning-queries", type=int, help="400 without --smoke")
    options.add_argument("--queries", type=int, help="that judge; as many as tune without it")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the server along
    smoke = given.smoke
    corpus = (
        made_corpus(SMOKE_SIZE // 4, SMOKE_DIMENSIONS, SMOKE_DIMENSIONS)
        if smoke
        else real_corpus(DIMENSIONS)
    )
    few = {"rag_search_exact_rows": 1_500} if smoke else {}
    own = {"rag_embedding_small_dimensions": corpus.dimensions}
    with own_server() as (database, settings):
        bench = Bench(
            database=database,
            settings=settings.model_copy(update=own | few),
            corpus=corpus,
            sizes=tuple(sorted(given.rows or ((SMOKE_SIZE,) if smoke else SIZES))),
            rounds=given.rounds or (1 if smoke else 3),
            tuning=given.tuning_queries or (50 if smoke else 400),
            judging=given.queries or given.tuning_queries or (50 if smoke else 400),
            smoke=smoke,
        )
        for name, part in PARTS.items():
            if not given.only or name in given.only:
                say(name)
                for report in part(bench):
                    show(report)


if __name__ == "__main__":
    main()
