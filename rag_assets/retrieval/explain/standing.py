"""Where rows of one corpus stand: in each plan that the release has, and among the words' hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rag_assets.postgres.database import Connection
from rag_assets.retrieval.explain.model import PlanRank
from rag_assets.retrieval.plan import plans_of
from rag_assets.retrieval.ranking import Found
from rag_assets.retrieval.request import MAX_TEXT_DEPTH, SearchRequest
from rag_assets.retrieval.search import rows_passing
from rag_assets.retrieval.sql.full_text import matches
from rag_assets.retrieval.words import take_apart
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.nearest import code_ranks, compare, exact_ranks, search_by

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Standing:
    """Where the rows stand, by their ids.

    :param exact: ranks in exact search; those that the filter excludes are missing.
    :param similarities: cosine similarities to the query.
    :param by_plan: ranks by plan, for the other plans that the release has for the filter.
    :param text: ranks among the passages that the words find.
    :param code: ranks by code among the codes that pass the filter.
    :param lists: of those that the plan missed, the number of lists from which it finds them.
    """

    exact: Mapping[int, int]
    similarities: Mapping[int, float] = field(default_factory=dict)
    by_plan: Sequence[tuple[SearchPlan, Mapping[int, int]]] = ()
    text: Mapping[int, int] = field(default_factory=dict)
    code: Mapping[int, int] = field(default_factory=dict)
    lists: Mapping[int, int] = field(default_factory=dict)

    def plans(self, row: int, used: SearchPlan) -> tuple[PlanRank, ...]:
        """The row's rank in each plan, exact search first."""
        ranks = [(EXACT, self.exact), *self.by_plan]
        return tuple(
            PlanRank(plan.kind, str(plan), found.get(row), plan.kind == used.kind)
            for plan, found in ranks
        )


@dataclass(frozen=True)
class Corpus:
    """One corpus of a traced search: what it found, and how deep it went."""

    found: Found
    depth: int
    timeout_ms: int

    def standing(
        self,
        connection: Connection,
        request: SearchRequest,
        vector: Vector,
        ids: Sequence[int],
        *,
        hits: Sequence[int],
    ) -> Standing:
        """Where these rows stand. Searches exactly, and once by each plan.

        :param hits: rows whose exact ranks are wanted, too.
        """
        side = self.found.side
        table = side.target.table
        exact = exact_ranks(
            connection, table, vector, side.filter, [*ids, *hits], timeout_ms=self.timeout_ms
        )
        if not ids:
            return Standing(exact)
        compared = compare(connection, table, vector, ids, timeout_ms=self.timeout_ms)
        by_plan = [
            (plan, self._ranks(connection, plan, vector))
            for plan in plans_of(side.target, side.scopes, rows=side.matching)
        ]
        missed = [row for row in ids if row in exact and row not in self.found.nearest]
        return Standing(
            exact,
            {row.id: 1 - row.distance for row in compared},
            by_plan,
            self._text(connection, request),
            self._codes(connection, vector, missed),
            self._lists(connection, vector, missed),
        )

    def _ranks(self, connection: Connection, plan: SearchPlan, vector: Vector) -> dict[int, int]:
        side = self.found.side
        found, _ = search_by(
            connection,
            side.target.table,
            plan,
            vector,
            side.filter,
            top_k=self.depth,
            timeout_ms=self.timeout_ms,
        )
        return {row.id: rank for rank, row in enumerate(found, start=1)}

    def _text(self, connection: Connection, request: SearchRequest) -> dict[int, int]:
        if not request.text:
            return {}
        side = self.found.side
        ranked = matches(
            connection,
            side.corpus,
            take_apart(request.text),
            statistics=side.text.statistics,
            languages=side.languages,
            rows=side.filter,
            matching=rows_passing(side),
            limit=MAX_TEXT_DEPTH,
            timeout_ms=self.timeout_ms,
        ).ranked
        return {row: rank for rank, row in enumerate(ranked, start=1)}

    def _codes(
        self, connection: Connection, vector: Vector, missed: Sequence[int]
    ) -> dict[int, int]:
        plan, side = self.found.plan, self.found.side
        if plan.codes is None or not missed:
            return {}
        return code_ranks(
            connection, side.target.table, plan, vector, side.filter, missed,
            timeout_ms=self.timeout_ms,
        )  # fmt: skip

    def _lists(
        self, connection: Connection, vector: Vector, missed: Sequence[int]
    ) -> dict[int, int]:
        """Read twice as many lists each time, until all of them were read."""
        plan = self.found.plan
        found: dict[int, int] = {}
        probes, left = plan.probes, set(missed)
        while left and plan.generation is not None and probes < plan.lists:
            probes = min(2 * probes, plan.lists)
            deeper = replace(plan, probes=probes, max_probes=probes)
            now = left & self._ranks(connection, deeper, vector).keys()
            found |= dict.fromkeys(now, probes)
            left -= now
        return found
