"""Measure recall and latency of plans, and find the minimum probes that keep recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rag_assets.index.cases import EVERYTHING, TOP_K, confined_to, plan_of, request_of
from rag_assets.index.enough import FEW, Allowed, Enough, enough_probes, for_few
from rag_assets.index.query_classes import GOLDEN_CLASSES
from rag_assets.index.questions import Questions, recall
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Connection
from rag_assets.progress import Progress, Silent
from rag_assets.retrieval.plan import Codes, Target, index_plan, scan_plan
from rag_assets.retrieval.released import Served
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.timing import TimedSearch, time_plan, time_search
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import by_rank, nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

QUICK_QUERIES = 20
"""Queries for a quick estimate of a plan."""

_CONFIDENCE = 4.0
"""Standard errors between the recall of a choice and the floor: the check, with another sample of
as many queries, then falls below the floor by chance in 0.2 % of cases (with 3: in 1.7 %)."""


@dataclass(frozen=True)
class Point:
    """The measurements of one number of probes.

    :param recall: mean recall@10 over the queries, from 0 to 1; ``recall_low``: its lower bound.
    :param k_returned: mean number of hits.
    :param candidates: codes whose vectors are compared exactly; 0 without codes.
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

    :param cases: by name, the scopes that each case's searches are confined to.
    :param scopes: rows of each scope.
    :param allowed: the text queries that a choice may lose.
    """

    connection: Connection
    table: VectorTable
    questions: Questions
    cases: Mapping[str, Sequence[str]]
    scopes: Mapping[str, int]
    generation: Generation | None = None
    codes: Codes | None = None
    progress: Progress = field(default_factory=Silent)
    allowed: Allowed = FEW

    def __post_init__(self) -> None:
        texts = self.questions.texts
        self.text_filters = texts.filters if texts else {}

    def _scopes(self, name: str) -> Sequence[str]:
        return self.cases[name] if name in self.cases else self.text_filters[name]

    def rows(self, name: str) -> int:
        """Rows that pass a case's filter."""
        return sum(self.scopes[scope] for scope in self._scopes(name))

    def scan(self, name: str) -> SearchPlan:
        """The plan that scans the codes of the rows in a case."""
        if self.codes is None:
            raise LookupError("there are no codes to scan")
        return scan_plan(self.codes, self.rows(name), self.scopes, filtered=name != EVERYTHING)

    def measure(self, name: str, probes: int, *, quick: bool = False) -> Point:
        """Measure one point of a case's curve; 0 probes mean exact search.

        :param quick: use only a few of the queries, for an estimate.
        """
        plan = self._plan(name, probes) if probes else EXACT
        return self.measure_plan(name, plan, limit=QUICK_QUERIES if quick else None)

    def recall_by_candidates(self, name: str, numbers: Sequence[int], *, limit: int) -> list[float]:
        """Recall@10 of a scan with each number of candidates, from one search per query.

        :param numbers: at most the number of candidates that the codes are used with.
        :param limit: number of queries to use.
        """
        scan, scopes = self.scan(name), confined_to(self.table, name, self.cases[name])
        truth = self.questions.nearest(self.cases[name])[:limit]
        recalls = np.zeros((len(truth), len(numbers)))
        for place, query in enumerate(self.questions.queries[:limit]):
            ranked = by_rank(self.connection, self.table, scan, query, scopes=scopes)
            for column, number in enumerate(numbers):
                near = sorted(distance for rank, distance in ranked if rank <= number)[:TOP_K]
                recalls[place, column] = recall([1 - distance for distance in near], truth[place])
        return [float(mean) for mean in recalls.mean(axis=0)]

    def measure_plan(self, name: str, plan: SearchPlan, *, limit: int | None = None) -> Point:
        """Measure a plan on a case.

        :param limit: number of queries to use; ``None`` for all.
        """
        queries = self.questions.queries[:limit]
        truth = self.questions.nearest(self.cases[name])[: len(queries)]
        scopes = confined_to(self.table, name, self.cases[name])
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
        """The probes, from ``start`` on, that text queries need, and more if these are few.

        The minimum for few queries without a filter fits them alone: others would be lost.
        """
        lists = self.generation.lists if self.generation else 0
        probes = self.enough_for_texts(
            name, lambda probes: self._plan(name, probes), start=start, maximum=lists
        ).number
        return self.with_margin(name, probes, maximum=lists)

    def with_margin(self, name: str, number: int, *, maximum: int) -> int:
        """As :func:`for_few`, for searches without a filter."""
        return for_few(number, self.answered_in(name), maximum) if name == EVERYTHING else number

    def answered_in(self, name: str) -> int:
        """How many text queries of a case or filter exact search answers."""
        return len(self.questions.asked_in(None if name == EVERYTHING else self._scopes(name)))

    def enough_for_texts(
        self,
        name: str,
        plan_with: Callable[[int], SearchPlan],
        *,
        start: int,
        maximum: int,
    ) -> Enough:
        """The minimum number, from ``start`` on, with which a plan answers the text queries.

        It must find what exact search finds for them; see :func:`enough_probes`.

        :param name: everything, a case, or a filter of text queries.
        :param plan_with: makes a plan with a number of probes, or of candidates.
        """
        texts = self.questions.texts
        scopes = None if name == EVERYTHING else self._scopes(name)
        places = self.questions.asked_in(scopes)
        if texts is None or not places:
            return Enough(start, kept=True)
        confined = confined_to(self.table, name, tuple(self.scopes) if scopes is None else scopes)

        def finds(place: int, number: int) -> bool:
            hits = nearest(
                self.connection, self.table, plan_with(number), texts.vectors[place],
                top_k=TOP_K, scopes=confined,
            )  # fmt: skip
            return self.questions.finds(place, {row: 1 - distance for row, distance in hits})

        golden = {place for place in places if texts.queries[place].kind in GOLDEN_CLASSES}
        self.progress.say(f"{name}: running {len(places)} text queries")
        return enough_probes(
            finds, places, golden, start=start, maximum=maximum, allowed=self.allowed
        )

    def min_probes_beside_scan(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The minimum probes of an index over codes that keep recall and beat the scan's time.

        An index takes more time the more probes it uses. So the number that takes as long as the
        scan is tried first, with a few queries: if it misses the floor, no number is enough.
        """
        lists = self.generation.lists if self.generation else 0
        low = min(start, lists)
        estimate = self.measure(name, low, quick=True)
        if estimate.mean_ms > slowest_ms:
            return None
        high = low
        if estimate.recall < floor:
            high = min(lists, max(low + 1, round(low * slowest_ms / estimate.mean_ms)))
            if self.measure(name, high, quick=True).recall < floor:
                return None
            while high - low > max(1, high // 5):
                middle = (low + high) // 2
                kept = self.measure(name, middle, quick=True).recall >= floor
                low, high = (low, middle) if kept else (middle, high)
        points = []
        while True:
            points.append(self.measure(name, high))
            if points[-1].mean_ms > slowest_ms:
                return None
            if points[-1].recall_low >= floor:
                break
            if high >= lists:  # the scan takes more candidates, and finds more
                return None
            high = min(lists, max(high + 1, round(high * 1.2)))
        self._enough_for_texts(name, points)
        return (points[-1], tuple(points)) if points[-1].mean_ms <= slowest_ms else None

    def min_filtered_probes_beside_scan(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The minimum probes of an index over codes that keep a filter's recall, with the scan as
        its fallback.

        :param start: the probes without a filter. If twice as many miss the floor, the candidates
            are at fault, not the probes.
        """
        lists = self.generation.lists if self.generation else 0
        points: list[Point] = []
        for probes in dict.fromkeys(min(lists, round(start * more)) for more in (1, 1.5, 2)):
            if not points and self.measure(name, probes, quick=True).mean_ms > slowest_ms:
                return None
            points.append(self.measure(name, probes))
            if points[-1].mean_ms > slowest_ms:
                return None
            if points[-1].recall_low >= floor:
                self._enough_for_texts(name, points)
                return (points[-1], tuple(points)) if points[-1].mean_ms <= slowest_ms else None
        return None

    def min_filtered_probes(
        self, name: str, start: int, floor: float, *, slowest_ms: float
    ) -> tuple[Point, tuple[Point, ...]] | None:
        """The minimum probes that keep a filter's recall and beat exact search's time.

        If the filter is for another language than the query's, the index reads nearly everything,
        row by row. A few queries show that; measuring it with all of them would take hours.
        """
        points = []
        probes, lists = start, self.generation.lists if self.generation else 0
        while True:
            estimate = self.measure(name, probes, quick=True)
            if estimate.p50_ms > slowest_ms:
                return None
            if estimate.recall >= floor or probes >= lists:
                points.append(self.measure(name, probes))
                if points[-1].p50_ms > slowest_ms:
                    return None
                if points[-1].recall_low >= floor or probes >= lists:
                    break
            probes = min(lists, max(probes + 1, round(probes * 1.3)))
        self._enough_for_texts(name, points)
        return (points[-1], tuple(points)) if points[-1].p50_ms <= slowest_ms else None

    def _enough_for_texts(self, name: str, points: list[Point]) -> None:
        """Add a point with more probes than the last one if text queries need them."""
        enough = self.probes_for_texts(name, points[-1].probes)
        if enough > points[-1].probes:
            points.append(self.measure(name, enough))


def min_probes(
    measure: Callable[[int], Point], lists: int, floor: float
) -> tuple[Point, tuple[Point, ...]]:
    """Double the probes until recall is kept, then halve the gap down to a tenth. Pure apart from
    ``measure``.

    :returns: the point with the minimum probes that keep recall, and all points in order.
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


def target_of(
    table: VectorTable,
    scopes: Mapping[str, int],
    generation: Generation | None,
    probes_override: int | None,
    codes: Codes | None = None,
) -> Target:
    """The target of a search with this generation; ``probes_override`` is PG_IVFFLAT_PROBES."""
    if generation is None or generation.probes is None:
        return Target(table, scopes, None, table.space.spec.precision, None, codes)
    probes = generation.probes
    if probes_override is not None:
        limit = max(probes.limit, probes_override)
        probes = Probes(probes_override, probes_override, limit, probes.exact_rows)
    return Target(
        table, scopes, generation.number, generation.precision, probes, codes,
        lists=generation.lists,
    )  # fmt: skip


@dataclass
class Alone:
    """Queries searched one after another as an application would, once for recall and latency.

    :param connect: opens a connection.
    :param queries: float32, shape (n, dimensions).
    """

    connect: Callable[[], AbstractContextManager[Connection]]
    settings: Settings
    served: Served
    queries: NDArray[np.float32]
    _searches: dict[SearchRequest, tuple[TimedSearch, ...]] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """What is searched."""
        return self.served.target if self.served.documents is None else self.served.documents.target

    def searches(self, name: str, confined: Sequence[str]) -> tuple[TimedSearch, ...]:
        """The searches of a case.

        :param confined: the scopes that they are confined to.
        """
        request = request_of(self.target.table, name, confined)
        if request not in self._searches:
            with self.connect() as connection:
                prepare_connection(connection)
                self._searches[request] = time_search(
                    connection, self.settings, self.served, request, self.queries
                )
        return self._searches[request]


def recall_of(
    alone: Alone, questions: Questions, cases: Mapping[str, Sequence[str]]
) -> dict[str, Point]:
    """Recall and latency of each case, searched as an application would; exact search has 0 probes.

    :param questions: with the ground truth of the same queries.
    :param cases: by name, the scopes that the search is confined to.
    """
    points = {}
    for name, confined in cases.items():
        exact_rows = alone.settings.rag_search_exact_rows
        plan = plan_of(alone.target, name, confined, exact_rows=exact_rows)
        points[name] = _point(plan, alone.searches(name, confined), questions.nearest(confined))
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
