"""Choose probes by measurement: the least that keep recall, with and without a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from rag_assets.index.cases import EVERYTHING
from rag_assets.index.measuring import FEW, Bench, Point, least_probes
from rag_assets.index.questions import Questions
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import EXACT_ROWS, Codes, is_narrow
from rag_assets.vectors.sql.code_sets import CodeUse
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

_FAST_ENOUGH_MS = 50.0  # median at which the index is not given up for a scan, whatever that takes

_WORTH = 0.7
"""Share of a scan's mean time that an index over codes may take: it finds less than a scan."""

_TRIED = 1.25
"""The same under a filter. Half of the queries of tuning are in another language than the filter's:
the index is asked in vain, and the scan answers. Users ask few such, and of the others an index
answers each in a fraction of the scan's time."""


@dataclass(frozen=True)
class Tuning:
    """The curve of each case (everything, and filters that the index answers), and the choice.

    :param chosen: of each case, the point with the least probes that keep its recall.
    :param codes: how the codes are used, where the index holds them.
    """

    probes: Probes
    codes: CodeUse | None
    curves: Mapping[str, tuple[Point, ...]]
    chosen: Mapping[str, Point]
    queries: int

    @property
    def p95_ms(self) -> float:
        """The worst of the cases, each with the least probes that keep its recall."""
        return max(point.p95_ms for point in self.chosen.values())

    def as_json(self) -> dict[str, object]:
        """For the generation's record."""
        curves = {case: [asdict(point) for point in curve] for case, curve in self.curves.items()}
        return {"queries": self.queries, "curves": curves}


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
) -> Tuning:
    """Find the least probes that keep recall@10 above ``floor``; what they read decides latency.

    They must also find what exact search finds for queries in words, which takes more of them.

    A filter that lets at most ``exact_rows`` through is searched exactly and needs no probes; so is
    a larger one where that is faster than the index. Reading every list is exact, so the floor is
    always reached; what that costs is for the latency check to judge.

    Beside an index over codes stands the scan of the codes: where that is faster, it is kept.

    :param questions: asked of everything and of each case; none of them a row of the table.
    :param codes: what the index holds; ``None`` for the vectors.
    """
    if codes is not None:
        return _tune_beside_scan(
            database, table, generation, codes, questions, scopes=scopes, cases=cases, floor=floor,
            progress=progress,
        )  # fmt: skip
    exact_rows = EXACT_ROWS if exact_rows is None else exact_rows
    rows = {name: sum(scopes[scope] for scope in confined) for name, confined in cases.items()}
    through_index = {name: cases[name] for name in cases if rows[name] > exact_rows}
    asked = {EVERYTHING: tuple(scopes), **through_index}
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        bench = Bench(connection, table, questions, asked, scopes, generation)
        plain, curve = least_probes(
            lambda probes: bench.measure(EVERYTHING, probes), generation.lists, floor
        )
        enough = bench.probes_for_texts(EVERYTHING, plain.probes)
        if enough > plain.probes:
            plain = bench.measure(EVERYTHING, enough)
            curve = tuple(sorted((*curve, plain), key=lambda point: point.probes))
        curves, chosen = {EVERYTHING: curve}, {EVERYTHING: plain}
        exactly = 0
        for name in through_index:
            exact = bench.measure(name, 0, few=True)
            slowest_ms = max(exact.p50_ms, _FAST_ENOUGH_MS)
            found = bench.least_filtered(name, plain.probes, floor, slowest_ms=slowest_ms)
            if found is None:
                exactly = max(exactly, rows[name])
                chosen[name], curves[name] = exact, (exact,)
            else:
                chosen[name], curves[name] = found
        _say_chosen(chosen, generation.lists, progress)
    most = max(point.probes for point in chosen.values())
    probes = Probes(plain.probes, most, generation.lists, exactly)
    return Tuning(probes, None, curves, chosen, len(questions.queries))


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
) -> Tuning:
    """The least probes of an index over codes, and up to how many rows the scan is faster."""
    curves: dict[str, tuple[Point, ...]] = {}
    chosen: dict[str, Point] = {}
    scan_rows, start = 0, max(1, round(generation.lists**0.5 / 2))
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        asked = {EVERYTHING: tuple(scopes), **cases}
        bench = Bench(connection, table, questions, asked, scopes, generation, codes, progress)
        rows = bench.rows(EVERYTHING)
        for name in asked:
            scan = bench.measure_plan(name, bench.scan(name), few=FEW)
            found = None
            if name == EVERYTHING:
                slowest_ms = scan.mean_ms * _WORTH
                found = bench.least_beside_scan(name, start, floor, slowest_ms=slowest_ms)
            elif (least := chosen[EVERYTHING].probes) and not is_narrow(bench.rows(name), rows):
                slowest_ms = scan.mean_ms * _TRIED
                found = bench.least_under_filter(name, least, floor, slowest_ms=slowest_ms)
            if found is None:
                scan_rows = max(scan_rows, bench.rows(name))
                chosen[name], curves[name] = scan, (scan,)
            else:
                chosen[name], curves[name] = found
            _say_chosen({name: chosen[name]}, generation.lists, progress)
    if not chosen[EVERYTHING].probes:
        scan_rows *= 2  # the index does not gain before the rows have grown well beyond
    plain = chosen[EVERYTHING].probes or start
    most = max([plain, *(point.probes for point in chosen.values())])
    use = replace(codes.use, scan_rows=scan_rows)
    return Tuning(
        Probes(plain, most, generation.lists), use, curves, chosen, len(questions.queries)
    )


def _say_chosen(chosen: Mapping[str, Point], lists: int, progress: Progress) -> None:
    for name, point in chosen.items():
        how = "exactly"
        if point.probes:
            how = f"{point.probes} probes of {lists} lists"
        elif point.candidates:
            how = f"by a scan of the codes, {point.candidates} candidates"
        progress.say(f"{name}: {how}, recall@10 {point.recall:.3f}, P95 {point.p95_ms:.1f} ms")
