"""How a search reads its table: exactly or through the index, by what its filter lets through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rag_assets.settings import Precision
from rag_assets.store.generations import Probes
from rag_assets.store.vector_search import EXACT, SearchPlan
from rag_assets.store.vector_tables import VectorTable


@dataclass(frozen=True)
class Target:
    """What may be searched, and through which index: a release's, or a candidate's under test.

    :param scopes: rows of each version that may be served; of documents, about how many chunks each
        language has.
    :param generation: ``None`` where exact search serves.
    """

    table: VectorTable
    scopes: Mapping[str, int]
    generation: int | None
    precision: Precision
    probes: Probes | None


def choose_plan(
    target: Target, scopes: Iterable[str], *, exact_rows: int, rows: int | None = None
) -> SearchPlan:
    """Decide how to search these versions, or languages of documents. Pure.

    :param scopes: those that the search is confined to, each one of the target's.
    :param exact_rows: a filter that lets at most so many rows through is searched exactly; more
        where the index was measured to be slower.
    :param rows: about how many a further filter lets through; ``None`` when there is none.
    """
    if target.generation is None or target.probes is None:
        return EXACT
    wanted = set(scopes)
    filtered = rows is not None or wanted != set(target.scopes)
    matching = sum(target.scopes[scope] for scope in wanted) if rows is None else rows
    if filtered and matching <= max(exact_rows, target.probes.exact_rows):
        return EXACT
    return SearchPlan(
        "iterative" if filtered else "ivfflat",
        generation=target.generation,
        precision=target.precision,
        probes=target.probes.filtered if filtered else target.probes.plain,
        max_probes=target.probes.limit,
    )
