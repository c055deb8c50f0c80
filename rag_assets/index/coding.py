"""Keep a table's codes right: choose a recipe, fill a set beside the living one, measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import EVERYTHING, TOP_K
from rag_assets.index.questions import Questions
from rag_assets.index.recipes import (
    SAMPLE_QUERIES,
    SAMPLE_ROWS,
    choose_recipe,
    longest_bits,
    name_of,
)
from rag_assets.index.tune import Bench, Point
from rag_assets.progress import Progress
from rag_assets.settings import Settings
from rag_assets.store import code_sets
from rag_assets.store.code_sets import CodeSet, CodeUse
from rag_assets.store.codes import Recipe
from rag_assets.store.database import Connection
from rag_assets.store.generations import RecordedDecision
from rag_assets.store.vector_search import SearchPlan, prepare_connection
from rag_assets.store.vector_stream import sample_vectors
from rag_assets.store.vector_tables import VectorTable

CANDIDATES = 50, 100, 200, 400, 800, 1600
"""Numbers of nearest codes that are tried, for ten hits."""
SCAN_RECALL = 0.98
_OUTGROWN = 4  # times the rows at its choice, after which a recipe is chosen again
_SEED = 3
_GLANCE = 40
"""Queries that show whether a number of candidates is worth measuring with all."""


@dataclass(frozen=True)
class Scan:
    """What a scan of all codes gives.

    :param points: recall@10 and latency by number of candidates; the last is the one in use.
    :param kept: whether the last keeps recall 0.98.
    """

    use: CodeUse
    points: tuple[Point, ...]
    kept: bool

    def as_json(self) -> dict[str, object]:
        """For the decision's record."""
        return {"points": [asdict(point) for point in self.points], "kept": self.kept}


@dataclass(frozen=True)
class Coded:
    """A table's code set and the scan of it, measured now or by an earlier run.

    :param recall: recall@10 of the scan.
    :param rows_changed: the table's when it was measured.
    :param record: of the measurement, for the decision.
    """

    code_set: CodeSet
    use: CodeUse
    recall: float
    rows_changed: int
    record: Mapping[str, object]


def coded(
    session: Connection,
    table: VectorTable,
    settings: Settings,
    queries: Callable[[], NDArray[np.float32]],
    questions: Callable[[], Questions],
    *,
    scopes: Mapping[str, int],
    rows: int,
    rows_changed: int,
    last: RecordedDecision | None,
    measure_again: bool,
    run_id: str,
    progress: Progress,
) -> Coded | None:
    """The table's codes, complete and measured; longer ones where they miss the recall floor.

    :param queries: called where a recipe is to be chosen; ``questions`` where a scan is measured.
    :param scopes: rows by version or language that may be served.
    :param last: the decision whose measurement holds while the table has not changed much.
    :param measure_again: a check has failed since.
    :returns: ``None`` where the settings want no codes, or the longest miss the floor.
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
            session, table, settings, queries, rows=rows, over_bits=over_bits, run_id=run_id,
            progress=progress,
        )  # fmt: skip
        known = None if measure_again else _known(code_set, settings, last, rows_changed)
        if known is not None:
            return known
        prepare_connection(session)
        code_sets.analyze(session, code_set)
        bench = Bench(session, table, questions(), {EVERYTHING: tuple(scopes)})
        scan = measure_scan(bench, code_set, floor=settings.rag_recall_floor, progress=progress)
        if scan.kept:
            return Coded(code_set, scan.use, scan.points[-1].recall, rows_changed, scan.as_json())
        over_bits = code_set.recipe.bits
        if settings.rag_code_bits is not None or over_bits >= longest_bits(
            table.space.spec.dimensions
        ):
            found = dict(code_sets.measured(session, code_set))
            code_sets.measured_again(session, code_set, found | {"missed_at_rows": rows})
            return None


def _known(
    code_set: CodeSet, settings: Settings, last: RecordedDecision | None, rows_changed: int
) -> Coded | None:
    """The last measurement of this set, where few rows changed since."""
    if last is None or last.codes is None or last.tuning is None:
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
    table: VectorTable,
    settings: Settings,
    queries: Callable[[], NDArray[np.float32]],
    *,
    rows: int,
    over_bits: int,
    run_id: str,
    progress: Progress,
) -> CodeSet:
    """The newest code set, every row encoded; another one where its recipe is outgrown."""
    living = code_sets.code_sets(session, table)
    newest = living[-1] if living else None
    if newest is None or _outgrown(session, newest, settings, rows, over_bits):
        recipe, found = _choose(session, table, settings, queries, over_bits, progress)
        found |= {"rows": rows}
        if newest is None or not _same(newest.recipe, recipe):
            newest = code_sets.create(session, table, recipe, measured=found, run_id=run_id)
        else:
            code_sets.measured_again(session, newest, found)
    code_sets.fill(session, table, newest, progress=progress)
    return replace(newest, state="ready")


def measure_scan(bench: Bench, code_set: CodeSet, *, floor: float, progress: Progress) -> Scan:
    """The fewest candidates that keep recall 0.98 over everything, or the floor where it is higher.

    They must also find what exact search finds for queries in words.

    What a handful of queries shows to be too few is not measured with all of them.
    """
    wanted, points = max(SCAN_RECALL, floor), []
    for candidates in CANDIDATES:
        plan = SearchPlan("codes", codes=code_set, candidates=candidates, wide=True)
        point = bench.measure_plan(EVERYTHING, plan, few=_GLANCE)
        if point.recall >= wanted or candidates == CANDIDATES[-1]:
            point = bench.measure_plan(EVERYTHING, plan)
        points.append(point)
        if point.recall >= wanted:
            break
    enough = bench.enough_for_texts(
        EVERYTHING,
        lambda candidates: SearchPlan("codes", codes=code_set, candidates=candidates, wide=True),
        start=points[-1].candidates,
        most=CANDIDATES[-1],
    )
    if enough > points[-1].candidates:
        plan = SearchPlan("codes", codes=code_set, candidates=enough, wide=True)
        points.append(bench.measure_plan(EVERYTHING, plan))
    last = points[-1]
    progress.say(
        f"{code_set}: of the {TOP_K} nearest, the best {last.candidates} codes hold "
        f"{last.recall:.3f}, P50 {last.p50_ms:.1f} ms"
    )
    use = CodeUse(code_set.number, last.candidates, 0)
    return Scan(use, tuple(points), last.recall >= wanted)


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
    over_bits: int,
    progress: Progress,
) -> tuple[Recipe, dict[str, object]]:
    dimensions = table.space.spec.dimensions
    if settings.rag_code_bits is not None:
        return Recipe(dimensions, settings.rag_code_bits), {"asked": settings.rag_code_bits}
    sample = sample_vectors(session, table, SAMPLE_ROWS, seed=_SEED)
    choice = choose_recipe(sample, queries()[:SAMPLE_QUERIES], over_bits=over_bits)
    progress.say(
        f"{table}: codes of {name_of(choice.recipe)}; recall@10 of the best 100 among "
        f"{choice.rows:,} rows, {choice.queries} queries: {_listed(choice.recalls)}"
    )
    measured: dict[str, object] = {
        "recalls": choice.recalls,
        "sample_rows": choice.rows,
        "queries": choice.queries,
    }
    return choice.recipe, measured


def _listed(recalls: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {recall:.3f}" for name, recall in recalls.items())


def _same(one: Recipe, other: Recipe) -> bool:
    """Whether new codes would be no better: as long, and of the same kind."""
    return one.bits == other.bits and (one.mean is None) == (other.mean is None)
