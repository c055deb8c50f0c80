"""Decide when to rebuild the index, with how many lists, and why. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from rag_assets.index.sql.generations import ListsFrom
from rag_assets.settings.index import IndexProfile

MIN_LISTS, MAX_LISTS = 64, 4000
DEV_LISTS = 64


MIN_ROWS_WITHOUT_CODES = 10_000
"""Rows from which an index over the vectors beats exact search if codes miss the floor."""

SCAN_P95_MS = 125.0
"""Half the latency objective: no index is needed if a scan of the codes meets it at the objective's
concurrency."""


class IndexAction(StrEnum):
    """What to do. Keeping is an outcome, not a failure."""

    BUILD = "build"
    KEEP = "keep"
    EXACT = "exact"  # no index: exact search is faster and perfect
    CODES = "codes"  # no index: a scan of the codes is fast and complete enough


@dataclass(frozen=True)
class InForce:
    """The generation that serves next unless another is built.

    :param changed: rows added, changed or removed since the build.
    :param recall_ok: whether the last recall check passed; ``None`` if there was none.
    :param queries_ok: whether it finds what exact search finds for text queries.
    :param code_set: the code set that it holds; ``None`` for vectors.
    """

    lists: int
    lists_from: ListsFrom
    rows_at_build: int
    changed: int
    recall_ok: bool | None = None
    latency_ok: bool | None = None
    queries_ok: bool = True
    code_set: int | None = None


@dataclass(frozen=True)
class ScanInForce:
    """The measurements of a scan of the codes.

    :param code_set: its number.
    :param recall: recall@10, at least the floor: codes that miss it are not considered.
    :param p95_ms: at ``concurrency``; ``None`` if it was not measured, because rows are few.
    """

    code_set: int
    recall: float
    p95_ms: float | None
    concurrency: int = 8


@dataclass(frozen=True)
class IndexDecision:
    """What to do, with how many lists, and why."""

    action: IndexAction
    lists: int
    reasons: tuple[str, ...]


def recommended_lists(rows: int, profile: IndexProfile) -> int:
    """pgvector's rule of thumb, from 64 to 4,000: rows/1000 up to a million rows, then the root."""
    if profile == "dev":
        return DEV_LISTS
    ideal = rows / 1000 if rows <= 1_000_000 else math.sqrt(rows)
    return min(MAX_LISTS, max(MIN_LISTS, round(ideal)))


def decide_index(
    *,
    rows: int,
    in_force: InForce | None,
    profile: IndexProfile,
    min_rows: int,
    growth: float,
    scan: ScanInForce | None = None,
    lists: int | None = None,
    requested: str | None = None,
) -> IndexDecision:
    """Decide on one space.

    :param min_rows: with fewer rows, no index is built if there are codes.
    :param scan: ``None`` if there are no codes that keep the floor.
    :param growth: share of the rows at build time that must change before the index is rebuilt.
    :param lists: overrides the profile's number of lists.
    :param requested: what an operator requested explicitly, which always causes a build.
    """
    wanted = lists or recommended_lists(rows, profile)
    if requested and rows:
        return IndexDecision(IndexAction.BUILD, wanted, (requested,))
    if scan is None:
        min_rows = min(min_rows, MIN_ROWS_WITHOUT_CODES)
        if rows < max(1, min_rows):
            few = f"{rows:,} rows are fewer than {min_rows:,}: exact search serves"
            return IndexDecision(IndexAction.EXACT, 0, (few,))
    elif scans := _scans(rows, min_rows, scan):
        return IndexDecision(IndexAction.CODES, 0, (scans,))
    if in_force is None:
        return IndexDecision(IndexAction.BUILD, wanted, (_too_slow(scan) or "first build",))
    wanted_set = scan.code_set if scan else None
    if in_force.code_set != wanted_set:
        held, needed = _contents(in_force.code_set), _contents(wanted_set)
        return IndexDecision(
            IndexAction.BUILD, wanted, (f"the index holds {held}, and {needed} are needed",)
        )
    reasons = _reasons(rows, in_force, wanted, growth)
    if reasons:
        return IndexDecision(IndexAction.BUILD, wanted, reasons)
    share = in_force.changed / max(1, in_force.rows_at_build)
    return IndexDecision(
        IndexAction.KEEP,
        in_force.lists,
        (
            f"{share:.1%} of the rows changed since the build (limit {growth:.0%}), "
            f"lists {in_force.lists} suit {rows:,} rows",
        ),
    )


def _contents(code_set: int | None) -> str:
    return "the vectors" if code_set is None else f"the codes of set {code_set}"


def _scans(rows: int, min_rows: int, scan: ScanInForce) -> str:
    """Why a scan of the codes serves; empty if an index is needed."""
    if rows < max(1, min_rows):
        return (
            f"{rows:,} rows are fewer than {min_rows:,}: a scan of the codes serves, "
            f"recall@10 {scan.recall:.3f}"
        )
    if scan.p95_ms is not None and scan.p95_ms <= SCAN_P95_MS:
        return (
            f"a scan of the codes keeps P95 {scan.p95_ms:.0f} ms at concurrency "
            f"{scan.concurrency} (limit {SCAN_P95_MS:.0f}) with recall@10 {scan.recall:.3f}"
        )
    return ""


def _too_slow(scan: ScanInForce | None) -> str:
    if scan is None or scan.p95_ms is None:
        return ""
    return (
        f"a scan of the codes takes P95 {scan.p95_ms:.0f} ms at concurrency "
        f"{scan.concurrency} (limit {SCAN_P95_MS:.0f})"
    )


def _reasons(rows: int, in_force: InForce, wanted: int, growth: float) -> tuple[str, ...]:
    reasons = []
    share = in_force.changed / max(1, in_force.rows_at_build)
    if share > growth:
        reasons.append(
            f"{in_force.changed:,} rows changed since the build on {in_force.rows_at_build:,}, "
            f"more than the limit of {growth:.0%}"
        )
    chosen = in_force.lists_from != "profile"  # by an operator or by measurement: not overruled
    if not chosen and not 0.5 <= in_force.lists / wanted <= 1.5:
        reasons.append(f"lists {in_force.lists}, but {wanted} are recommended for {rows:,} rows")
    if in_force.recall_ok is False:
        reasons.append("the recall check failed")
    if in_force.latency_ok is False:
        reasons.append("the latency check failed")
    if not in_force.queries_ok:
        reasons.append("queries that exact search answers were lost")
    return tuple(reasons)
