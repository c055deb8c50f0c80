"""Maintain a table's codes: choose a recipe, fill a set beside the live one, measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import EVERYTHING, TOP_K
from rag_assets.index.enough import FEW, Allowed, Enough
from rag_assets.index.measuring import QUICK_QUERIES, Bench, Point
from rag_assets.index.questions import Questions
from rag_assets.index.recipes import (
    SAMPLE_QUERIES,
    SAMPLE_ROWS,
    RecipeChoice,
    SampledFilter,
    choose_recipe,
    longest_bits,
    name_of,
)
from rag_assets.index.sql.generations import RecordedDecision
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.retrieval.plan import EXACT_ROWS_WITH_CODES, Codes
from rag_assets.settings.model import Settings
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.code_sets import CodeSet, CodeUse
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.stream import sample_rows
from rag_assets.vectors.sql.tables import VectorTable

CANDIDATES = 50, 100, 200, 400, 800, 1600
"""Numbers of nearest codes to try, for ten hits."""
FILTERED_CANDIDATES = *CANDIDATES, 3200
"""The same under a filter, which may exclude the whole neighbourhood of a query."""
SCAN_RECALL = 0.98
_FEW_ANSWERED = 100
"""With fewer queries under a filter and none lost, three in a hundred others may still be lost."""
_FOR_FEW = 4
"""Times the candidates that few queries need, which costs a millisecond or two. Measured with 251
Portuguese verses searched in 8,209 English ones by letters: 54 answered queries need 1,600
candidates, and half of them 325."""
_OUTGROWN = 4  # times the rows at the last choice: a recipe is then chosen again
_SEED = 3
_MANY_ROWS = 100_000
"""From this many rows on, encoding takes a single session more than a few seconds."""
SCAN_QUERIES = 100
"""Queries for choosing candidates: enough to separate 0.98 from the floor of 0.95 by six standard
errors; each reads every code that passes."""


@dataclass(frozen=True)
class Scan:
    """The measurements of a scan of the codes.

    :param curves: by case, recall@10 with each of :data:`FILTERED_CANDIDATES`, or fewer.
    :param point: recall@10 and latency over everything, with the chosen candidates.
    """

    use: CodeUse
    curves: Mapping[str, Sequence[float]]
    point: Point

    def as_json(self) -> dict[str, object]:
        """For the decision's record."""
        curves = {
            name: dict(zip(map(str, FILTERED_CANDIDATES), curve, strict=False))
            for name, curve in self.curves.items()
        }
        return {"points": [asdict(self.point)], "curves": curves}


@dataclass(frozen=True)
class Coded:
    """A table's code set and its scan, measured now or by an earlier run.

    :param recall: recall@10 of the scan.
    :param rows_changed: the table's ``rows_changed`` at the measurement.
    :param record: the measurement, for the decision's record.
    """

    code_set: CodeSet
    use: CodeUse
    recall: float
    rows_changed: int
    record: Mapping[str, object]


def coded(
    session: Connection,
    database: Database,
    table: VectorTable,
    settings: Settings,
    queries: Callable[[], NDArray[np.float32]],
    questions: Callable[[], Questions],
    *,
    scopes: Mapping[str, int],
    cases: Mapping[str, Sequence[str]],
    rows: int,
    rows_changed: int,
    last: RecordedDecision | None,
    measure_again: bool,
    run_id: str,
    progress: Progress,
    allowed: Allowed = FEW,
) -> Coded | None:
    """Complete and measure the table's codes; use longer ones if they miss the recall floor.

    :param database: for further sessions if the table is large.
    :param queries: called to choose a recipe; ``questions`` is called to measure a scan.
    :param scopes: rows by version or language that may be served; ``cases`` are filters on them.
    :param last: the last decision; its measurement is valid until the table has changed enough.
    :param measure_again: measure even so, because a check has failed since.
    :param allowed: the text queries that may be lost.
    :returns: ``None`` if the settings disable codes, or the longest codes miss the floor.
    """
    if settings.rag_code_bits == 0 or not rows or not scopes:
        return None
    missed = code_sets.floor_missed(session, table)
    if missed is not None and settings.rag_code_bits is None and rows <= _OUTGROWN * missed:
        progress.say(f"{table}: codes missed the recall floor at {missed:,} rows: none are used")
        return None
    over_bits = 0
    while True:
        code_set = _complete(
            session, database, table, settings, queries, scopes=scopes, cases=cases, rows=rows,
            over_bits=over_bits, run_id=run_id, progress=progress,
        )  # fmt: skip
        known = None if measure_again else _known(code_set, settings, last, rows_changed)
        if known is not None:
            return known
        prepare_connection(session)
        code_sets.analyze(session, code_set)
        max_use = CodeUse(code_set.number, *(FILTERED_CANDIDATES[-1],) * 3, scan_rows=0)
        asked = {EVERYTHING: tuple(scopes), **cases}
        held = Codes(code_set, max_use)
        bench = Bench(session, table, questions(), asked, scopes, None, held, progress, allowed)
        scan = measure_scan(bench, code_set, floor=settings.rag_recall_floor, progress=progress)
        if scan is not None:
            return Coded(code_set, scan.use, scan.point.recall, rows_changed, scan.as_json())
        over_bits = code_set.recipe.bits
        if settings.rag_code_bits is not None or over_bits >= longest_bits(
            table.space.spec.dimensions
        ):
            found = dict(code_sets.measured(session, code_set))
            code_sets.update_measured(session, code_set, found | {"missed_at_rows": rows})
            return None


def _known(
    code_set: CodeSet, settings: Settings, last: RecordedDecision | None, rows_changed: int
) -> Coded | None:
    """The last measurement of this set, if few rows have changed since."""
    if last is None or last.codes is None or last.tuning is None:
        return None
    if "curves" not in last.tuning:  # by an earlier version, which did not measure filters
        return None
    if last.codes.code_set != code_set.number:
        return None
    changed = rows_changed - last.rows_changed
    if changed > settings.rag_index_rebuild_share * max(1, last.rows):
        return None
    recall = float(last.tuning["points"][-1]["recall"])
    return Coded(code_set, last.codes, recall, last.rows_changed, last.tuning)


def _complete(
    session: Connection,
    database: Database,
    table: VectorTable,
    settings: Settings,
    queries: Callable[[], NDArray[np.float32]],
    *,
    scopes: Mapping[str, int],
    cases: Mapping[str, Sequence[str]],
    rows: int,
    over_bits: int,
    run_id: str,
    progress: Progress,
) -> CodeSet:
    """Encode every row in the newest code set, or in a new one if its recipe is outgrown."""
    living = code_sets.code_sets(session, table)
    newest = living[-1] if living else None
    if newest is None or _outgrown(session, newest, settings, rows, over_bits):
        recipe, found = _choose(
            session, table, settings, queries, scopes, cases, over_bits, progress
        )
        found |= {"rows": rows}
        if newest is None or not _same(newest.recipe, recipe):
            newest = code_sets.create(session, table, recipe, measured=found, run_id=run_id)
        else:
            code_sets.update_measured(session, newest, found)
    with ExitStack() as stack:
        others = max(0, settings.rag_index_parallel_workers - 1) if rows >= _MANY_ROWS else 0
        code_writing.fill(
            session, table, newest, progress=progress,
            others=[
                stack.enter_context(database.connect(autocommit=True)) for _ in range(others)
            ],
        )  # fmt: skip
    return replace(newest, state="ready")


def measure_scan(
    bench: Bench, code_set: CodeSet, *, floor: float, progress: Progress
) -> Scan | None:
    """Find the fewest candidates that keep recall 0.98, or the floor if that is higher.

    Measured over everything and under filters: a filter may exclude every near neighbour of a
    query, and many of the remaining rows are then about equally far. If no number keeps 0.98 under
    a filter, the largest must keep the floor. The candidates must also find what exact search
    finds for text queries.

    :param bench: for the set, used with the largest number of candidates.
    :returns: ``None`` if no number does.
    """
    curves = _recall_curves(bench, code_set, floor=floor, progress=progress)
    if curves is None:
        return None
    chosen = {name: _fewest(curve, floor) for name, curve in curves.items()}
    whole = bench.scan(EVERYTHING)
    plain = bench.enough_for_texts(
        EVERYTHING,
        partial(_with_candidates, whole),
        start=chosen[EVERYTHING],
        maximum=CANDIDATES[-1],
    )
    if not plain.kept:
        return None
    candidates = bench.with_margin(EVERYTHING, plain.number, maximum=CANDIDATES[-1])
    largest = max(bench.scopes.values())
    one_scope = max(
        (number for name, number in chosen.items() if bench.rows(name) <= largest), default=0
    )
    of_one, of_many = _enough_under_filters(
        bench, one_scope=one_scope, filtered=max(candidates, *chosen.values())
    )
    if not (of_one.kept and of_many.kept):
        return None
    # For latency only: its recall is known, and more candidates do not lower it.
    point = bench.measure_plan(
        EVERYTHING, replace(whole, candidates=candidates), limit=QUICK_QUERIES
    )
    point = replace(point, recall=curves[EVERYTHING][CANDIDATES.index(chosen[EVERYTHING])])
    use = CodeUse(
        code_set.number, candidates, of_many.number, of_one.number or of_many.number, scan_rows=0
    )
    return Scan(use, curves, point)


def _recall_curves(
    bench: Bench, code_set: CodeSet, *, floor: float, progress: Progress
) -> dict[str, list[float]] | None:
    """By case, recall@10 with each number of candidates; ``None`` if none keeps it in one case."""
    curves: dict[str, list[float]] = {}
    for name in bench.cases:
        if name != EVERYTHING and bench.rows(name) <= EXACT_ROWS_WITH_CODES:
            continue
        numbers = CANDIDATES if name == EVERYTHING else FILTERED_CANDIDATES
        curve = bench.recall_by_candidates(name, numbers, limit=SCAN_QUERIES)
        fewest = _fewest(curve, floor)
        kept = curve[FILTERED_CANDIDATES.index(fewest)]
        progress.say(
            f"{code_set}: {name}: of the {TOP_K} nearest, the best {fewest} codes hold {kept:.3f} "
            f"({SCAN_QUERIES} queries)"
        )
        if kept < (max(SCAN_RECALL, floor) if name == EVERYTHING else floor):
            return None
        curves[name] = curve
    return curves


def _fewest(curve: Sequence[float], floor: float) -> int:
    """The fewest candidates that keep recall 0.98, or the floor if that is higher, or the most."""
    numbers = FILTERED_CANDIDATES[: len(curve)]
    return next(
        (
            number
            for number, found in zip(numbers, curve, strict=True)
            if found >= max(SCAN_RECALL, floor)
        ),
        numbers[-1],
    )


def _enough_under_filters(bench: Bench, *, one_scope: int, filtered: int) -> tuple[Enough, Enough]:
    """The candidates that also answer text queries under their filters: of one version, of more.

    :param one_scope: to begin with under a filter that passes one version; 0 if none was measured.
    """
    numbers = {True: Enough(one_scope, kept=True), False: Enough(filtered, kept=True)}
    largest = max(bench.scopes.values())
    for name in bench.text_filters:
        if bench.rows(name) <= EXACT_ROWS_WITH_CODES:
            continue
        one = bench.rows(name) <= largest
        before = numbers[one]
        found = bench.enough_for_texts(
            name,
            partial(_with_candidates, bench.scan(name)),
            start=before.number or filtered,
            maximum=FILTERED_CANDIDATES[-1],
        )
        number = found.number
        if bench.answered_in(name) < _FEW_ANSWERED:
            number = min(_FOR_FEW * number, FILTERED_CANDIDATES[-1])
        numbers[one] = Enough(number, before.kept and found.kept)
    return numbers[True], numbers[False]


def _with_candidates(scan: SearchPlan, candidates: int) -> SearchPlan:
    return replace(scan, candidates=candidates)


def _outgrown(
    session: Connection, newest: CodeSet, settings: Settings, rows: int, over_bits: int
) -> bool:
    if settings.rag_code_bits is not None:
        return newest.recipe.bits != settings.rag_code_bits
    at_choice = code_sets.measured(session, newest).get("rows", 0)
    return newest.recipe.bits <= over_bits or rows > _OUTGROWN * int(at_choice)


def _choose(
    session: Connection,
    table: VectorTable,
    settings: Settings,
    queries: Callable[[], NDArray[np.float32]],
    scopes: Mapping[str, int],
    cases: Mapping[str, Sequence[str]],
    over_bits: int,
    progress: Progress,
) -> tuple[Recipe, dict[str, object]]:
    dimensions = table.space.spec.dimensions
    if settings.rag_code_bits is not None:
        return Recipe(dimensions, settings.rag_code_bits), {"asked": settings.rag_code_bits}
    names = list(scopes)
    sample = sample_rows(session, table, SAMPLE_ROWS, seed=_SEED, scopes=names)
    filters = []
    for confined in cases.values():
        passing = np.isin(sample.scopes, [names.index(scope) for scope in confined])
        rows = sum(scopes[scope] for scope in confined)
        filters.append(SampledFilter(passing, int(passing.sum()) / rows))
    choice = choose_recipe(
        sample.vectors, queries()[:SAMPLE_QUERIES], over_bits=over_bits, filters=filters,
        filtered_candidates=FILTERED_CANDIDATES[-1],
    )  # fmt: skip
    progress.say(
        f"{table}: codes of {name_of(choice.recipe)}; recall@10 of the best 200 among "
        f"{choice.rows:,} rows, {choice.queries} queries, and under a filter: {_listed(choice)}"
    )
    measured: dict[str, object] = {
        "recalls": choice.recalls,
        "filtered": choice.filtered,
        "sample_rows": choice.rows,
        "queries": choice.queries,
    }
    return choice.recipe, measured


def _listed(choice: RecipeChoice) -> str:
    return "; ".join(
        f"{name} {found:.3f}, {choice.filtered[name]:.3f}" for name, found in choice.recalls.items()
    )


def _same(one: Recipe, other: Recipe) -> bool:
    """Whether new codes would be no better: of the same length and kind."""
    return one.bits == other.bits and (one.mean is None) == (other.mean is None)
