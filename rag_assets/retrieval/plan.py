"""Choose how a search reads its table, by its filter: exactly, by codes or through the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Precision
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.code_sets import CodeSet, CodeUse, code_set_by_number
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.tables import VectorTable

EXACT_ROWS = 50_000
"""Without codes, a filter that passes at most this many rows is searched exactly."""

EXACT_ROWS_WITH_CODES = 1_000
"""The same with codes: above about this many rows, a scan of the codes is faster."""

FILTERED_FACTOR = 2
"""Factor by which a filtered search through an index over codes takes more candidates than an
unfiltered one."""

FETCHED_PER_CANDIDATE = 4
"""Rows read from the index per candidate, before the filter is applied.

A filter that passes fewer than one in this many rows is answered by the scan.
"""


@dataclass(frozen=True)
class Codes:
    """A code set and how searches use it."""

    code_set: CodeSet
    use: CodeUse


@dataclass(frozen=True)
class Target:
    """What may be searched, and how, for a release or a candidate under test.

    :param scopes: rows of each version that may be served; for documents, the approximate number
        of chunks in each language.
    :param generation: ``None`` if there is no index; ``lists`` are those of the index.
    :param codes: compared first, and held by the index; ``None`` if the index holds the vectors,
        or if search is exact.
    """

    table: VectorTable
    scopes: Mapping[str, int]
    generation: int | None
    precision: Precision
    probes: Probes | None
    codes: Codes | None = None
    lists: int = 0


def codes_of(connection: Connection, table: VectorTable, use: CodeUse | None) -> Codes | None:
    """A recorded use with its code set; ``None`` if the set was dropped and search is exact."""
    if use is None:
        return None
    found = code_set_by_number(connection, table, use.code_set)
    return Codes(found, use) if found else None


def choose_plan(
    target: Target, scopes: Iterable[str], *, exact_rows: int | None, rows: int | None = None
) -> SearchPlan:
    """Decide how to search these versions, or languages of documents. Pure.

    :param scopes: the scopes that the search is confined to; all must be among the target's.
    :param exact_rows: a filter that passes at most this many rows is searched exactly; ``None`` for
        the measured default.
    :param rows: approximate number of rows that a further filter passes; ``None`` without one.
    """
    matching, filtered = _passing(target, scopes, rows)
    if target.codes is not None:
        return _by_codes(target, target.codes, matching, exact_rows, filtered=filtered)
    if target.generation is None or target.probes is None:
        return EXACT
    max_exact_rows = EXACT_ROWS if exact_rows is None else exact_rows
    if filtered and matching <= max(max_exact_rows, target.probes.exact_rows):
        return EXACT
    return index_plan(target, matching, filtered=filtered)


def plans_of(
    target: Target, scopes: Iterable[str], *, rows: int | None = None
) -> tuple[SearchPlan, ...]:
    """The plans but exact search that there are for a filter, whichever is chosen. Pure.

    Parameters as for :func:`choose_plan`.
    """
    matching, filtered = _passing(target, scopes, rows)
    plans = []
    if target.codes is not None:
        plans.append(scan_plan(target.codes, matching, target.scopes, filtered=filtered))
    if target.generation is not None and target.probes is not None:
        plans.append(index_plan(target, matching, filtered=filtered))
    return tuple(plans)


def _passing(target: Target, scopes: Iterable[str], rows: int | None) -> tuple[int, bool]:
    """About how many rows a filter passes, and whether it is one."""
    wanted = set(scopes)
    filtered = rows is not None or wanted != set(target.scopes)
    return sum(target.scopes[scope] for scope in wanted) if rows is None else rows, filtered


def is_narrow(matching: int, rows: int) -> bool:
    """Whether a filter passes too few of the rows for an index over codes to answer it."""
    return FETCHED_PER_CANDIDATE * matching < rows


def scan_plan(
    codes: Codes, matching: int, scopes: Mapping[str, int], *, filtered: bool
) -> SearchPlan:
    """A scan of the codes of ``matching`` rows.

    :param scopes: rows of each existing version or language.
    """
    candidates = codes.use.candidates
    if filtered:
        one = matching <= max(scopes.values())
        candidates = codes.use.one_scope if one else codes.use.filtered
    return SearchPlan(
        "codes",
        codes=codes.code_set,
        candidates=candidates,
        wide=2 * matching >= sum(scopes.values()),
    )


def index_plan(target: Target, matching: int, *, filtered: bool) -> SearchPlan:
    """A search through the index with a filter that passes ``matching`` rows.

    Under a filter an index over codes is asked for more rows, and the plan falls back to a scan of
    the codes. If the nearest rows pass the filter, twice the unfiltered number of candidates is
    enough.

    :raises LookupError: there is no index.
    """
    if target.generation is None or target.probes is None:
        raise LookupError("there is no index")
    plan = EXACT
    if target.codes is not None:
        scan = scan_plan(target.codes, matching, target.scopes, filtered=filtered)
        plan = scan
        if filtered:
            near = min(scan.candidates, FILTERED_FACTOR * target.codes.use.candidates)
            plan = replace(
                scan,
                candidates=near,
                fetched=FETCHED_PER_CANDIDATE * near,
                scan_candidates=scan.candidates,
            )
    return replace(
        plan,
        kind="iterative" if filtered else "ivfflat",
        generation=target.generation,
        precision=target.precision,
        probes=target.probes.filtered if filtered else target.probes.plain,
        max_probes=target.probes.limit,
        lists=target.lists,
    )


def _by_codes(
    target: Target, codes: Codes, matching: int, exact_rows: int | None, *, filtered: bool
) -> SearchPlan:
    if matching <= (EXACT_ROWS_WITH_CODES if exact_rows is None else exact_rows):
        return EXACT
    rows = sum(target.scopes.values())
    if (
        target.generation is None
        or target.probes is None
        or matching <= codes.use.scan_rows
        or (filtered and is_narrow(matching, rows))
    ):
        return scan_plan(codes, matching, target.scopes, filtered=filtered)
    return index_plan(target, matching, filtered=filtered)
