"""The tables: recall by code, candidates needed by rows, and what a sample says of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.codes import measure
from benchmarks.codes.kinds import Kind
from benchmarks.index.bench import Report, say
from benchmarks.index.corpus import Vectors
from rag_assets.index.questions import mixtures
from rag_assets.vectors.codes import Recipe

CANDIDATES = 50, 100, 200, 400, 800
PER_DIMENSION = 1, 2, 4
SHARE = 0.98
FIRST, KEPT = 400, 50
DRAWS = 5
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
            candidates = (
                needed(code, rows, asked, truths[what]) for what, asked in kind.queries.items()
            )
            found.setdefault(code.name, []).append(_each("{:,}", candidates))
    return Report(
        f"{kind.name}: candidates for a recall of {SHARE}; queries: {' / '.join(kind.queries)}",
        ("code", *(f"{size:,} rows" for size in kind.sizes)),
        [(name, *cells) for name, cells in found.items()],
    )


def sampling(kind: Kind) -> Report:
    """What samples of some sizes say that a recall of 0.98 needs, as a choice by sample would see.

    Each draw has rows, and mixtures of these rows as queries, of its own.
    """
    found: dict[str, list[str]] = {}
    for size, queries in kind.samples:
        say(f"{DRAWS} samples of {size:,} rows, {queries} queries")
        drawn: dict[str, list[int]] = {}
        for seed in range(DRAWS):
            rows = kind.rows[np.random.default_rng(seed).permutation(len(kind.rows))[:size]]
            asked = mixtures(rows, queries, seed=seed)
            truth = measure.nearest(rows, asked)
            for code in codes_of(rows):
                drawn.setdefault(code.name, []).append(needed(code, rows, asked, truth))
        for name, several in drawn.items():
            median = int(np.median(several))
            found.setdefault(name, []).append(f"{median:,} ({min(several):,} to {max(several):,})")
    return Report(
        f"{kind.name}: candidates for a recall of {SHARE} among samples, median and range of "
        f"{DRAWS}; queries: mixtures",
        ("code", *(f"{size:,} rows, {queries} queries" for size, queries in kind.samples)),
        [(name, *cells) for name, cells in found.items()],
    )


def needed(code: Code, rows: Vectors, asked: Vectors, truth: NDArray[np.int64]) -> int:
    """The candidates that a recall of 0.98 needs."""
    columns = measure.words(code.encode(rows))
    return measure.candidates_for(
        measure.ranks(columns, measure.words(code.encode(asked)), truth), SHARE
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


def _each(form: str, values: Iterable[float]) -> str:
    return " / ".join(map(form.format, values))
