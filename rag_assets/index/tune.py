"""Choose probes by measurement: the minimum that keeps recall, with and without a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rag_assets.index.cases import EVERYTHING
from rag_assets.index.enough import FEW, Allowed
from rag_assets.index.measuring import QUICK_QUERIES, Bench, Point, min_probes
from rag_assets.index.questions import Questions
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import EXACT_ROWS, FETCHED_PER_CANDIDATE, Codes, is_narrow
from rag_assets.vectors.sql.code_sets import CodeUse
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

_FAST_ENOUGH_MS = 50.0  # a median up to this keeps the index, however fast a scan is

_MAX_SHARE_OF_SCAN = 0.7
"""Share of a scan's mean time that an index over codes may take: it finds less than a scan."""

_MAX_SHARE_OF_FILTERED_SCAN = 1.25
"""The same under a filter. Half of the tuning queries are in another language than the filter's:
the index search is wasted, and the scan answers. Users send few such queries, and an index answers
the others in a fraction of the scan's time."""


@dataclass(frozen=True)
class Tuning:
    """The curve of each case (everything, and filters that the index answers), and the choice.

    :param chosen: for each case, the point with the minimum probes that keep its recall.
    :param codes: how the codes are used; ``None`` if the index holds vectors.
    """

    probes: Probes
    codes: CodeUse | None
    curves: Mapping[str, tuple[Point, ...]]
    chosen: Mapping[str, Point]
    queries: int

    @property
    def p95_ms(self) -> float:
        """The P95 of the slowest case at its chosen point."""
        return max(point.p95_ms for point in self.chosen.values())

    def as_json(self) -> dict[str, object]:
        """The curves for the generation's record."""
        curves = {case: [asdict(point) for point in curve] for case, curve in self.curves.items()}
        return {"queries": self.queries, "curves": curves}


def recorded_curves(record: Mapping[str, Any]) -> dict[str, tuple[Point, ...]]:
    """The curves of :meth:`Tuning.as_json`."""
    return {
        case: tuple(Point(**point) for point in curve)
        for case, curve in record.get("curves", {}).items()
    }


def tune(
    database: Database,
    table: VectorTable,
    generation: Generation,
    questions: Questions,
    *,
    scopes: Mapping[str, int],
    cases: Mapping[str, Sequence[str]],
    floor: float,
    exact_rows: int | None,
    progress: Progress,
    codes: Codes | None = None,
    allowed: Allowed = FEW,
) -> Tuning:
    """Find the minimum probes that keep recall@10 above ``floor``: fewer probes are faster.

    They must also find what exact search finds for text queries, which need more probes. Reading
    every list is exact, so the floor can always be reached; the latency check judges the cost.

    A filter that passes at most ``exact_rows`` rows is searched exactly and needs no probes; so is
    a larger one if exact search is faster than the index.

    The alternative to an index over codes is a scan of the codes, which is chosen if it is faster.

    :param questions: compared with everything and each case; none of them a row of the table.
    :param codes: what the index holds; ``None`` for the vectors.
    :param allowed: the text queries that may be lost.
    """
    if codes is not None:
        return _tune_beside_scan(
            database, table, generation, codes, questions, scopes=scopes, cases=cases, floor=floor,
            progress=progress, allowed=allowed,
        )  # fmt: skip
    exact_rows = EXACT_ROWS if exact_rows is None else exact_rows
    rows = {name: sum(scopes[scope] for scope in confined) for name, confined in cases.items()}
    through_index = {name: cases[name] for name in cases if rows[name] > exact_rows}
    measured = {EVERYTHING: tuple(scopes), **through_index}
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        bench = Bench(
            connection, table, questions, measured, scopes, generation, None, progress, allowed
        )
        plain, curve = _plain_probes(bench, generation.lists, floor)
        curves, chosen = {EVERYTHING: curve}, {EVERYTHING: plain}
        max_exact_rows = 0
        for name in through_index:
            exact = bench.measure(name, 0, quick=True)
            slowest_ms = max(exact.p50_ms, _FAST_ENOUGH_MS)
            found = bench.min_filtered_probes(name, plain.probes, floor, slowest_ms=slowest_ms)
            if found is None:
                max_exact_rows = max(max_exact_rows, rows[name])
                chosen[name], curves[name] = exact, (exact,)
            else:
                chosen[name], curves[name] = found
        _say_chosen(chosen, generation.lists, progress)
        filtered = _filtered_for_texts(
            bench, max(point.probes for point in chosen.values()), max(exact_rows, max_exact_rows)
        )
    probes = Probes(plain.probes, filtered, generation.lists, max_exact_rows)
    return Tuning(probes, None, curves, chosen, len(questions.queries))


def _plain_probes(bench: Bench, lists: int, floor: float) -> tuple[Point, tuple[Point, ...]]:
    """The point with the minimum probes without a filter, and the curve that shows it."""
    plain, curve = min_probes(lambda probes: bench.measure(EVERYTHING, probes), lists, floor)
    enough = bench.probes_for_texts(EVERYTHING, plain.probes)
    if enough > plain.probes:
        plain = bench.measure(EVERYTHING, enough)
        curve = tuple(sorted((*curve, plain), key=lambda point: point.probes))
    return plain, curve


def _filtered_for_texts(bench: Bench, probes: int, max_rows: int) -> int:
    """The probes, at least these, that text queries need under their own filters.

    :param max_rows: a filter that passes no more is not answered by the index.
    """
    for name in bench.text_filters:
        if bench.rows(name) > max_rows:
            probes = bench.probes_for_texts(name, probes)
    return probes


def _tune_beside_scan(
    database: Database,
    table: VectorTable,
    generation: Generation,
    codes: Codes,
    questions: Questions,
    *,
    scopes: Mapping[str, int],
    cases: Mapping[str, Sequence[str]],
    floor: float,
    progress: Progress,
    allowed: Allowed,
) -> Tuning:
    """Find the minimum probes of an index over codes, and up to how many rows a scan is faster."""
    curves: dict[str, tuple[Point, ...]] = {}
    chosen: dict[str, Point] = {}
    scan_rows, start = 0, max(1, round(generation.lists**0.5 / 2))
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        measured = {EVERYTHING: tuple(scopes), **cases}
        bench = Bench(
            connection, table, questions, measured, scopes, generation, codes, progress, allowed
        )
        rows = bench.rows(EVERYTHING)
        for name in measured:
            scan = bench.measure_plan(name, bench.scan(name), limit=QUICK_QUERIES)
            found = None
            if name == EVERYTHING:
                slowest_ms = scan.mean_ms * _MAX_SHARE_OF_SCAN
                found = bench.min_probes_beside_scan(name, start, floor, slowest_ms=slowest_ms)
            elif (plain := chosen[EVERYTHING].probes) and not is_narrow(bench.rows(name), rows):
                slowest_ms = scan.mean_ms * _MAX_SHARE_OF_FILTERED_SCAN
                found = bench.min_filtered_probes_beside_scan(
                    name, plain, floor, slowest_ms=slowest_ms
                )
            if found is None:
                scan_rows = max(scan_rows, bench.rows(name))
                chosen[name], curves[name] = scan, (scan,)
            else:
                chosen[name], curves[name] = found
            _say_chosen({name: chosen[name]}, generation.lists, progress)
        if not chosen[EVERYTHING].probes:
            scan_rows *= 2  # the index gains nothing until there are many more rows
        plain = chosen[EVERYTHING].probes or start
        filtered = max([plain, *(point.probes for point in chosen.values())])
        scanned = max(scan_rows, rows // FETCHED_PER_CANDIDATE)
        filtered = _filtered_for_texts(bench, filtered, scanned)
    use = replace(codes.use, scan_rows=scan_rows)
    return Tuning(
        Probes(plain, filtered, generation.lists), use, curves, chosen, len(questions.queries)
    )


def _say_chosen(chosen: Mapping[str, Point], lists: int, progress: Progress) -> None:
    for name, point in chosen.items():
        how = "exactly"
        if point.probes:
            how = f"{point.probes} probes of {lists} lists"
        elif point.candidates:
            how = f"by a scan of the codes, {point.candidates} candidates"
        progress.say(f"{name}: {how}, recall@10 {point.recall:.3f}, P95 {point.p95_ms:.1f} ms")
