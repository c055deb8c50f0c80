"""Filters that pass few rows: exact search of them beside a scan of their codes.

A scan compares few bytes of each row and then its candidates exactly; of few rows the candidates
are most of the work.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.index.bench import Bench, Report, say
from benchmarks.index.corpus import Corpus, Vectors
from benchmarks.plans.contenders import Planned, filled_codes, search_all
from rag_assets.vectors.search_plan import SearchPlan

_SIZES = 250, 500, 1_000, 2_000, 4_000, 8_000
_CANDIDATES = 50, 100, 400, 1_600


def of_few(corpus: Corpus) -> tuple[Corpus, int]:
    """The corpus with a version of each size beside whole ones, and its rows."""
    first = next(iter(corpus.versions.values()))
    small = {f"EN_{size}": first[:size] for size in _SIZES}
    versions = small | dict(corpus.versions)
    return replace(corpus, versions=versions), sum(map(len, versions.values()))


def few_rows(bench: Bench, rows: int, queries: int) -> Report:
    """The median of each way, by how many rows pass."""
    table = bench.table(rows)
    code_set, _ = filled_codes(bench, table, bench.corpus.dimensions)
    scan = SearchPlan("codes", codes=code_set)
    asked = bench.corpus.queries(0, queries)
    found = []
    for version in (name for name in bench.corpus.versions if name.removeprefix("EN_").isdecimal()):
        say(f"filter to {version}")
        ways = [
            Planned("exact", table, (version,)),
            *(Planned("codes", table, (version,), plan=scan, wide=False, knob=many)
              for many in _CANDIDATES),
        ]  # fmt: skip
        size = len(bench.corpus.versions[version])
        found.append((f"{size:,}", *(f"{_median_ms(bench, way, asked):.2f}" for way in ways)))
    columns = ("rows that pass", "exact", *(f"codes, {n:,} candidates" for n in _CANDIDATES))
    what = f"{bench.corpus.what}, {rows:,} × {bench.corpus.dimensions}"
    return Report(f"{what}: P50 in ms of filters that pass few rows", columns, found)


def _median_ms(bench: Bench, way: Planned, queries: Vectors) -> float:
    with bench.database.connect(autocommit=True) as connection:
        search_all(connection, way, queries[:10])
        return float(np.median(search_all(connection, way, queries)[1]))
