"""Measure plans: recall and latency of one, and the least of it that keeps recall."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import EVERYTHING, TOP_K, confined_to, plan_of, request_of
from rag_assets.index.questions import Questions, recall
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.retrieval.plan import Codes, Target, index_plan, scan_plan
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.timing import TimedSearch, time_plan, time_search
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import by_rank, nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

FEW = 20
"""Queries that show where a plan goes."""

_CONFIDENCE = 4.0
"""Standard errors between the recall of a choice and the floor: with as many queries of another
draw the check then falls below the floor by chance in 0.2 % of the cases (at 3 in 1.7 %)."""

_MAX_LOST = 0.005
"""Share of the fragments that a choice of probes may lose: a quarter of what the check allows,
which asks others. Of golden queries, which both ask, none."""


@dataclass(frozen=True)
class Point:
    """What one number of probes gives.

    :param recall: mean recall@10 over the queries, from 0 to 1; ``recall_low`` its lower bound.
    :param k_returned: mean number of hits.
    :param candidates: codes compared exactly; 0 where vectors are compared at once.
    """

    probes: int
    recall: float
    recall_low: float
    k_returned: float
    p50_ms: float
    p95_ms: float
    candidates: int = 0
    mean_ms: float = 0.0


@dataclass
class Bench:
    """Measures plans, such as those of one generation.

    :param asked: by case, the scopes that its searches are confined to.
    :param scopes: rows of each scope.
    """

    connection: Connection
    table: VectorTable
    questions: Questions
    asked: Mapping[str, Sequence[str]]
    scopes: Mapping[str, int]
    generation: Generation | None = None
    codes: Codes | None = None
    progress: Progress = field(default_factory=Silent)

    def rows(self, name: str) -> int:
        """Rows that a case's filter passes."""
        return sum(self.scopes[scope] for scope in self.asked[name])

    def scan(self, name: str) -> SearchPlan:
        """The scan of the codes that a case's searches pass."""
        if self.codes is None:
            raise LookupError("there are no codes to scan")
        return scan_plan(self.codes, self.rows(name), self.scopes, filtered=name != EVERYTHING)

    def measure(self, name: str, probes: int, *, few: bool = False) -> Point:
        """One point of a case's curve; 0 probes stand for exact search.

        :param few: with a handful of the queries only, to see where it goes.
        """
        plan = self._plan(name, probes) if probes else EXACT
        return self.measure_plan(name, plan, few=FEW if few else None)

    def recall_by_candidates(self, name: str, numbers: Sequence[int], *, few: int) -> list[float]:
        """Recall@10 of a scan with each number of candidates: one search a query for all of them.

        :param numbers: at most as many as the codes are used with.
        :param few: with so many of the queries.
        """
        scan, scopes = self.scan(name), confined_to(self.table, name, self.asked[name])
        truth = self.questions.nearest(self.asked[name])[:few]
        recalls = np.zeros((len(truth), len(numbers)))
        for place, query in enumerate(self.questions.queries[:few]):
            ranked = by_rank(self.connection, self.table, scan, query, scopes=scopes)
            for column, number in enumerate(numbers):
                near = sorted(away for rank, away in ranked if rank <= number)[:TOP_K]
                recalls[place, column] = recall([1 - away for away in near], truth[place])
        return [float(mean) for mean in recalls.mean(axis=0)]

    def measure_plan(self, name: str, plan: SearchPlan, *, few: int | None = None) -> Point:
        """What a plan gives for a case.

        :param few: with so many of the queries only.
        """
        queries = self.questions.queries[:few]
        truth = self.questions.nearest(self.asked[name])[: len(queries)]
        scopes = confined_to(self.table, name, self.asked[name])
        found = time_plan(self.connection, self.table, plan, queries, top_k=TOP_K, scopes=scopes)
        point = _point(plan, found, truth)
        self.progress.say(
            f"{name}: {plan}: recall@{TOP_K} {point.recall:.3f}, P50 {point.p50_ms:.1f} ms "
            f"({len(queries)} queries)"
        )
        return point

    def _plan(self, name: str, probes: int) -> SearchPlan:
        made, codes = self.generation, self.codes
        if made is None:
            raise LookupError("there is no index to measure")
        target = Target(
            self.table, self.scopes, made.number, made.precision,
            Probes(probes, probes, made.lists), codes, lists=made.lists,
        )  # fmt: skip
        return index_plan(target, self.rows(name), filtered=name != EVERYTHING)

    def probes_for_texts(self, name: str, start: int) -> int:
        """The least probes, from ``start`` on, that find what exact search finds for texts."""
        lists = self.generation.lists if self.generation else 0
        return self.enough_for_texts(
            name, lambda probes: self._plan(name, probes), start=start, most=lists
        )

    def enough_for_texts(
        self,
        name: str,
        plan_with: Callable[[int], SearchPlan],
        *,
        start: int,
        most: int,
        few: int | None = None,
    ) -> int:
        """The least number, from ``start`` on, whose plan finds what exact search finds for texts.

        :param plan_with: a plan with so many probes, or candidates.
        :param few: ask so many of the fragments only, and all golden queries.
        """
        texts = self.questions.texts
        if texts is None:
            return start
        answered = self.questions.answered(self.asked[name])
        scopes = confined_to(self.table, name, self.asked[name])

        def finds(place: int, number: int) -> bool:
            plan, vector = plan_with(number), texts.vectors[place]
            hits = nearest(self.connection, self.table, plan, vector, top_k=TOP_K, scopes=scopes)
            return not texts.queries[place].wanted.keys().isdisjoint(row for row, _ in hits)

        every = [int(place) for place in np.flatnonzero(answered)]
        golden = {place for place in every if texts.queries[place].language is not None}
        places = sorted({*golden, *[place for place in every if place not in golden][:few]})
        self.progress.say(f"{name}: asking {len(places)} queries in words")
        return enough_probes(finds, places, golden, start=start, most=most)

    def least_beside_scan(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The least probes of an index over codes that keep recall faster than the scan does.

        The time of an index grows with the probes: as many as take the scan's time are tried
        first, with a few queries, and where these miss the floor, no number of probes will do.
        """
        lists = self.generation.lists if self.generation else 0
        low = min(start, lists)
        glance = self.measure(name, low, few=True)
        if glance.mean_ms > slowest_ms:
            return None
        high = low
        if glance.recall < floor:
            high = min(lists, max(low + 1, round(low * slowest_ms / glance.mean_ms)))
            if self.measure(name, high, few=True).recall < floor:
                return None
            while high - low > max(1, high // 5):
                middle = (low + high) // 2
                kept = self.measure(name, middle, few=True).recall >= floor
                low, high = (low, middle) if kept else (middle, high)
        points = []
        while True:
            points.append(self.measure(name, high))
            if points[-1].mean_ms > slowest_ms:
                return None
            if points[-1].recall_low >= floor:
                break
            if high >= lists:  # the scan, which takes more candidates, finds more
                return None
            high = min(lists, max(high + 1, round(high * 1.2)))
        self._enough_for_texts(name, points)
        return (points[-1], tuple(points)) if points[-1].mean_ms <= slowest_ms else None

    def least_under_filter(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The least probes of an index over codes that keep a filter's recall, beside the scan.

        :param start: as many as without a filter; what twice as many miss, candidates miss.
        """
        lists = self.generation.lists if self.generation else 0
        points: list[Point] = []
        for probes in dict.fromkeys(min(lists, round(start * more)) for more in (1, 1.5, 2)):
            if not points and self.measure(name, probes, few=True).mean_ms > slowest_ms:
                return None
            points.append(self.measure(name, probes))
            if points[-1].mean_ms > slowest_ms:
                return None
            if points[-1].recall_low >= floor:
                self._enough_for_texts(name, points)
                return (points[-1], tuple(points)) if points[-1].mean_ms <= slowest_ms else None
        return None

    def least_filtered(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The least probes that keep a filter's recall, where they are faster than exact search.

        A filter to another language than the query's makes the index read nearly everything, row
        by row. That shows with a few queries; measuring it with all of them would take hours.
        """
        points = []
        probes, lists = start, self.generation.lists if self.generation else 0
        while True:
            glance = self.measure(name, probes, few=True)
            if glance.p50_ms > slowest_ms:
                return None
            if glance.recall >= floor or probes >= lists:
                points.append(self.measure(name, probes))
                if points[-1].p50_ms > slowest_ms:
                    return None
                if points[-1].recall_low >= floor or probes >= lists:
                    break
            probes = min(lists, max(probes + 1, round(probes * 1.3)))
        self._enough_for_texts(name, points)
        return (points[-1], tuple(points)) if points[-1].p50_ms <= slowest_ms else None

    def _enough_for_texts(self, name: str, points: list[Point]) -> None:
        """Add a point with more probes than the last has, where queries in words take them."""
        enough = self.probes_for_texts(name, points[-1].probes)
        if enough > points[-1].probes:
            points.append(self.measure(name, enough))


def least_probes(
    measure: Callable[[int], Point], lists: int, floor: float
) -> tuple[Point, tuple[Point, ...]]:
    """Double the probes until recall is kept, then halve the gap down to a tenth. Pure but for
    ``measure``.

    :returns: the point with the least probes that keep it, and all points in order.
    """
    points: dict[int, Point] = {}

    def keeps(probes: int) -> bool:
        points[probes] = measure(probes)
        return points[probes].recall_low >= floor or probes >= lists

    low, high = 0, 1
    while not keeps(min(high, lists)):
        low, high = high, high * 2
    high = min(high, lists)
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return points[high], tuple(points[probes] for probes in sorted(points))


def enough_probes(
    finds: Callable[[int, int], bool],
    places: Sequence[int],
    golden: Collection[int],
    *,
    start: int,
    most: int,
) -> int:
    """The least probes, or candidates, from ``start`` to ``most`` that lose no golden query and
    hardly a fragment. Pure but for ``finds``.

    What some find, more of them find, too: only what was lost is asked for again, so that this
    takes hardly more searches than there are queries.

    :param finds: whether a query, by its place, is answered with this many.
    :param places: of the queries that exact search answers; ``golden`` among them.
    """
    allowed = _MAX_LOST * len(places)

    def still_lost(lost: Sequence[int], probes: int) -> list[int]:
        return [place for place in lost if not finds(place, probes)]

    def may_lose(lost: Sequence[int]) -> bool:
        return len(lost) <= allowed and not any(place in golden for place in lost)

    low = high = start
    lost_low = lost = still_lost(places, start)
    while not may_lose(lost) and high < most:
        low, lost_low, high = high, lost, min(2 * high, most)
        lost = still_lost(lost, high)
    while high - low > max(1, high // 10):
        middle = (low + high) // 2
        lost = still_lost(lost_low, middle)
        if may_lose(lost):
            high = middle
        else:
            low, lost_low = middle, lost
    return high


def target_of(
    table: VectorTable,
    scopes: Mapping[str, int],
    generation: Generation | None,
    probes_override: int | None,
    codes: Codes | None = None,
) -> Target:
    """What a search would read with this generation; ``probes_override`` is PG_IVFFLAT_PROBES."""
    if generation is None or generation.probes is None:
        return Target(table, scopes, None, table.space.spec.precision, None, codes)
    probes = generation.probes
    if probes_override is not None:
        most = max(probes.limit, probes_override)
        probes = Probes(probes_override, probes_override, most, probes.exact_rows)
    return Target(
        table, scopes, generation.number, generation.precision, probes, codes,
        lists=generation.lists,
    )  # fmt: skip


def recall_of(
    database: Database,
    settings: Settings,
    served: Served,
    questions: Questions,
    cases: Mapping[str, Sequence[str]],
) -> dict[str, Point]:
    """Recall and latency of each case as a search goes; ``probes`` is 0 where it is exact.

    :param cases: by name, the versions that the search is confined to.
    """
    target = served.target if served.documents is None else served.documents.target
    points = {}
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for name, confined in cases.items():
            plan = plan_of(target, name, confined, exact_rows=settings.rag_search_exact_rows)
            request = request_of(target.table, name, confined)
            found = time_search(connection, settings, served, request, questions.queries)
            points[name] = _point(plan, found, questions.nearest(confined))
    return points


def _point(plan: SearchPlan, searches: Sequence[TimedSearch], truth: NDArray[np.float32]) -> Point:
    found = [search.similarities for search in searches]
    latencies_ms = [search.latency_ms for search in searches]
    recalls = [recall(near, true) for near, true in zip(found, truth, strict=True)]
    mean = float(np.mean(recalls))
    error = float(np.std(recalls)) / len(recalls) ** 0.5
    return Point(
        probes=plan.probes,
        candidates=plan.candidates,
        recall=mean,
        recall_low=mean - _CONFIDENCE * error,
        k_returned=float(np.mean([len(near) for near in found])),
        p50_ms=float(np.percentile(latencies_ms, 50)),
        p95_ms=float(np.percentile(latencies_ms, 95)),
        mean_ms=float(np.mean(latencies_ms)),
    )
