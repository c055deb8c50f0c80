"""When to rebuild the index, with how many lists, and why. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from rag_assets.settings import IndexProfile
from rag_assets.store.generations import ListsFrom

MIN_LISTS, MAX_LISTS = 64, 4000
DEV_LISTS = 64


class Action(StrEnum):
    """What to do. Keeping is an outcome, not a failure."""

    BUILD = "build"
    KEEP = "keep"
    EXACT = "exact"  # no index: exact search is faster and perfect


@dataclass(frozen=True)
class InForce:
    """The generation that would serve next, were nothing built.

    :param changed: rows added, changed or removed since the build.
    :param recall_ok: the last recall check; ``None`` when there is none.
    """

    lists: int
    lists_from: ListsFrom
    rows_at_build: int
    changed: int
    recall_ok: bool | None = None
    latency_ok: bool | None = None
    queries_ok: bool = True


@dataclass(frozen=True)
class Decision:
    """What to do, with how many lists, and why."""

    action: Action
    lists: int
    reasons: tuple[str, ...]


def recommended_lists(rows: int, profile: IndexProfile) -> int:
    """pgvector's rule of thumb, within 64 to 4,000: rows/1000 to a million rows, then its root."""
    if profile == "dev":
        return DEV_LISTS
    ideal = rows / 1000 if rows <= 1_000_000 else math.sqrt(rows)
    return min(MAX_LISTS, max(MIN_LISTS, round(ideal)))


def decide(
    *,
    rows: int,
    in_force: InForce | None,
    profile: IndexProfile,
    min_rows: int,
    growth: float,
    lists: int | None = None,
    asked: str | None = None,
) -> Decision:
    """Decide on one space.

    :param min_rows: below it no index is built.
    :param growth: share of the rows at build whose change calls for another build.
    :param lists: a number in the place of the profile's.
    :param asked: what a person asked for in so many words: it is built at once.
    """
    wanted = lists or recommended_lists(rows, profile)
    if asked and rows:
        return Decision(Action.BUILD, wanted, (asked,))
    if rows < max(1, min_rows):
        return Decision(
            Action.EXACT, 0, (f"{rows:,} rows are fewer than {min_rows:,}: exact search serves",)
        )
    if in_force is None:
        return Decision(Action.BUILD, wanted, ("first build",))
    reasons = _reasons(rows, in_force, wanted, growth)
    if reasons:
        return Decision(Action.BUILD, wanted, reasons)
    share = in_force.changed / max(1, in_force.rows_at_build)
    return Decision(
        Action.KEEP,
        in_force.lists,
        (
            f"{share:.1%} of the rows changed since the build (limit {growth:.0%}), "
            f"lists {in_force.lists} suit {rows:,} rows",
        ),
    )


def _reasons(rows: int, in_force: InForce, wanted: int, growth: float) -> tuple[str, ...]:
    reasons = []
    share = in_force.changed / max(1, in_force.rows_at_build)
    if share > growth:
        reasons.append(
            f"{share:.0%} of the rows changed since the build on {in_force.rows_at_build:,} "
            f"(limit {growth:.0%})"
        )
    chosen = in_force.lists_from != "profile"  # by a person or by measurement: left alone
    if not chosen and not 0.5 <= in_force.lists / wanted <= 1.5:
        reasons.append(f"lists {in_force.lists}, but {wanted} are recommended for {rows:,} rows")
    if in_force.recall_ok is False:
        reasons.append("the recall check failed")
    if in_force.latency_ok is False:
        reasons.append("the latency check failed")
    if not in_force.queries_ok:
        reasons.append("queries that exact search answers were lost")
    return tuple(reasons)
