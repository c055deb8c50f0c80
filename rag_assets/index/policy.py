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
class CurrentIndex:
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
class MeasuredScan:
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
    current: CurrentIndex | None,
    profile: IndexProfile,
    min_rows: int,
    growth: float,
    scan: MeasuredScan | None = None,
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
    if current is None:
        return IndexDecision(IndexAction.BUILD, wanted, (_too_slow(scan) or "first build",))
    wanted_set = scan.code_set if scan else None
    if current.code_set != wanted_set:
        held, needed = _contents(current.code_set), _contents(wanted_set)
        return IndexDecision(
            IndexAction.BUILD, wanted, (f"the index holds {held}, and {needed} are needed",)
        )
    reasons = _reasons(rows, current, wanted, growth)
    if reasons:
        return IndexDecision(IndexAction.BUILD, wanted, reasons)
    share = current.changed / max(1, current.rows_at_build)
    return IndexDecision(
        IndexAction.KEEP,
        current.lists,
        (
            f"{share:.1%} of the rows changed since the build (limit {growth:.0%}), "
            f"lists {current.lists} suit {rows:,} rows",
        ),
    )


def _contents(code_set: int | None) -> str:
    return "the vectors" if code_set is None else f"the codes of set {code_set}"


def _scans(rows: int, min_rows: int, scan: MeasuredScan) -> str:
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


def _too_slow(scan: MeasuredScan | None) -> str:
    if scan is None or scan.p95_ms is None:
        return ""
    return (
        f"a scan of the codes takes P95 {scan.p95_ms:.0f} ms at concurrency "
        f"{scan.concurrency} (limit {SCAN_P95_MS:.0f})"
    )


def _reasons(rows: int, current: CurrentIndex, wanted: int, growth: float) -> tuple[str, ...]:
    reasons = []
    share = current.changed / max(1, current.rows_at_build)
    if share > growth:
        reasons.append(
            f"{current.changed:,} rows changed since the build on {current.rows_at_build:,}, "
            f"more than the limit of {growth:.0%}"
        )
    chosen = current.lists_from != "profile"  # by an operator or by measurement: not overruled
    if not chosen and not 0.5 <= current.lists / wanted <= 1.5:
        reasons.append(f"lists {current.lists}, but {wanted} are recommended for {rows:,} rows")
    if current.recall_ok is False:
        reasons.append("the recall check failed")
    if current.latency_ok is False:
        reasons.append("the latency check failed")
    if not current.queries_ok:
        reasons.append("queries that exact search answers were lost")
    return tuple(reasons)
