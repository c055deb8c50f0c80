"""The weekend backfill: what a window starts, in which order, within what is left of its budget.

What fits is decided in :func:`choose_versions`, which is pure. Which runs there are, and how one
is started, is Dagster's matter and not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from rag_assets.bible.plan import (
    embeddable_versions,
    known_versions,
    plan_known,
)
from rag_assets.bible.quality import complete_versions
from rag_assets.documents.sql.documents import queue_counts
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.documents.sql.queue import requeue_unembedded
from rag_assets.errors import CorpusError
from rag_assets.lanes import BIBLE_LANE, runs_at_once
from rag_assets.operations.sql import backfill
from rag_assets.operations.windows import Window
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, price_setting, together, usd_per_million_tokens
from rag_assets.vectors.sql.spaces import document_roles, register_space

WINDOW_TAG = "rag/window"
"""Of a window's runs, with :attr:`Window.key`."""
DOCUMENTS_AT_ONCE = 500
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Candidate:
    """A version, and what embedding it now would take, by estimate.

    :param rows: verses without a vector of their text, summed over the spaces; all of a version
        whose files changed.
    :param problem: why it cannot be planned.
    """

    code: str
    rows: int = 0
    cost_usd: float = 0.0
    minutes: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class Budget:
    """What a window may spend, or has left."""

    usd: float
    minutes: float


@dataclass(frozen=True)
class WindowChoice:
    """What to start, and why the rest is not.

    :param passed_over: a sentence for each version that no window could take.
    :param held: why the next in order waits, and with it all that are behind it; ``None`` when none
        waits.
    """

    start: tuple[Candidate, ...]
    passed_over: tuple[str, ...] = ()
    held: str | None = None


@dataclass(frozen=True)
class WindowRun:
    """A run that the window started.

    :param ledger_ids: under which the ledger may have what it paid: a run that Dagster starts again
        goes on under the first one's.
    """

    version: str
    under_way: bool
    estimated_usd: float
    ledger_ids: frozenset[str]


def choose_versions(
    candidates: Iterable[Candidate], *, left: Budget, whole: Budget, room: int | None = None
) -> WindowChoice:
    """Take versions in their order as long as they fit; none overtakes one that has to wait.

    Candidates are planned one by one as they are asked for, and no further than the first to wait.

    :param left: of this window, ``whole``: of a window of which nothing is spent.
    :param room: runs that may be started; ``None`` for as many as there are.
    """
    start: list[Candidate] = []
    passed_over: list[str] = []
    held = None
    usd, minutes = left.usd + _ROUNDING, left.minutes + _ROUNDING
    for one in candidates:
        if one.problem is not None:
            passed_over.append(f"{one.code} is passed over: {one.problem}")
        elif not one.rows:
            continue
        elif reason := _never_fits(one, whole):
            passed_over.append(f"{one.code} is passed over: {reason}")
        elif one.cost_usd > usd:
            held = f"it would cost about ${one.cost_usd:.4f}, ${max(0.0, usd):.4f} are left"
        elif one.minutes > minutes:
            held = f"it would take about {one.minutes:.0f} min, {max(0.0, minutes):.0f} are left"
        elif len(start) == room:
            held = "as many runs are under way as may be"
        else:
            start.append(one)
            usd -= one.cost_usd
            minutes -= one.minutes
        if held:
            return WindowChoice(tuple(start), tuple(passed_over), f"{one.code} waits: {held}")
    return WindowChoice(tuple(start), tuple(passed_over))


def _never_fits(one: Candidate, whole: Budget) -> str | None:
    by_hand = f"or embed it by hand, `rag-assets bible embed {one.code}`"
    if one.cost_usd > whole.usd + _ROUNDING:
        return (
            f"it would cost about ${one.cost_usd:.4f}, more than the ${whole.usd:.4f} that it may "
            f"(RAG_BACKFILL_BUDGET_USD, RAG_MAX_RUN_COST_USD): raise that, {by_hand}"
        )
    if one.minutes > whole.minutes + _ROUNDING:
        return (
            f"it would take about {one.minutes:.0f} min, longer than a window is open "
            f"(RAG_BACKFILL_HOURS): raise that, or the limits of the provider, {by_hand}"
        )
    return None


def in_order(codes: Iterable[str], patterns: str) -> tuple[str, ...]:
    """Codes by the first pattern that each fits, then by name; without those that fit none."""
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    placed = [
        (next((place for place, one in enumerate(wanted) if fnmatchcase(code, one)), None), code)
        for code in codes
    ]
    return tuple(
        code for _, code in sorted((place, code) for place, code in placed if place is not None)
    )


def committed(runs: Sequence[WindowRun], spent: Mapping[str, float]) -> float:
    """Dollars that a window's runs have paid, and what those under way are still expected to."""
    to_come = sum(
        max(0.0, run.estimated_usd - sum(spent.get(one, 0.0) for one in run.ledger_ids))
        for run in runs
        if run.under_way
    )
    return sum(spent.values()) + to_come


def whole_budget(settings: Settings, window: Window) -> Budget:
    """What a window may spend, and therefore the most that one run may."""
    budget, run = settings.rag_backfill_budget_usd, settings.rag_max_run_cost_usd
    return Budget(budget if run is None else min(budget, run), window.minutes)


def left_of(
    connection: Connection,
    settings: Settings,
    window: Window,
    runs: Sequence[WindowRun],
    now: datetime,
) -> Budget:
    """What is left of a window that is open."""
    spent = backfill.spent_by_runs(connection, frozenset().union(*(r.ledger_ids for r in runs)))
    usd = committed(runs, spent) + backfill.documents_cost(connection, window.opens)
    return Budget(settings.rag_backfill_budget_usd - usd, window.minutes_left(now))


def candidates(
    connection: Connection,
    settings: Settings,
    *,
    without: Collection[str] = (),
    warn: Callable[[str], None],
) -> Iterator[Candidate]:
    """Versions that may be embedded, in the backfill's order, each planned when it is asked for.

    For 31,000 verses that takes a second, and 0.1 s where the checks have found it complete.
    """
    known = known_versions(connection, settings)
    complete = complete_versions(connection, settings)
    codes = in_order(embeddable_versions(known, warn=warn), settings.rag_backfill_order)
    for code in codes:
        if code in without:
            continue
        try:
            if code in complete and known.changed(code) is None:
                continue
            plans = plan_known(connection, settings, known, code)
        except CorpusError as error:
            yield Candidate(code, problem=str(error))
            continue
        cost = together(plan.cost_usd for plan in plans)
        if cost is None:
            roles = {plan.role for plan in plans if plan.cost_usd is None}
            unknown = " and ".join(map(price_setting, sorted(roles)))
            yield Candidate(code, problem=f"what it would cost is not known: set {unknown}")
            continue
        yield Candidate(
            code,
            rows=sum(plan.rows for plan in plans),
            cost_usd=cost,
            minutes=sum(plan.minutes for plan in plans),
        )


def choose_now(
    connection: Connection,
    settings: Settings,
    window: Window,
    *,
    now: datetime,
    runs: Sequence[WindowRun],
    busy: Collection[str],
    at_work: int,
    warn: Callable[[str], None],
) -> WindowChoice:
    """What to start now in a window that is open.

    A version is started once in a window: what failed, or was refused, waits for the next.

    :param runs: that this window started; ``busy``: versions on which any run is under way;
        ``at_work``: runs of the lane that are.
    """
    pause = paused_lanes(connection).get(BIBLE_LANE)
    if pause is not None:
        return WindowChoice((), held=f"the lane {BIBLE_LANE} is paused: {pause.reason}")
    most = runs_at_once(settings)[BIBLE_LANE]
    if at_work >= most:
        return WindowChoice((), held=f"{at_work} runs of the lane {BIBLE_LANE} are under way")
    seen = {run.version for run in runs}.union(busy)
    return choose_versions(
        candidates(connection, settings, without=seen, warn=warn),
        left=left_of(connection, settings, window, runs, now),
        whole=whole_budget(settings, window),
        room=most - at_work,
    )


def requeue_documents(
    connection: Connection, settings: Settings, window: Window, usd: float
) -> tuple[int, int]:
    """Let documents of another model be embedded again for at most ``usd``: (how many, not yet).

    One transaction. At most :data:`DOCUMENTS_AT_ONCE`, and none that was worked on since the window
    opened.
    """
    if not any(lane.ready for lane in queue_counts(connection).values()):
        return 0, 0
    roles = document_roles(settings)
    requeued = waiting = 0
    with connection.transaction():
        for place, role in enumerate(roles):
            # One that lacks the small vectors most likely lacks the others, too.
            price = together(usd_per_million_tokens(settings, one) for one in roles[place:])
            done = requeue_unembedded(
                connection,
                register_space(connection, settings, role),
                limit=DOCUMENTS_AT_ONCE,
                tokens=_affordable(usd, price),
                before=window.opens,
            )
            cost = cost_of(done.tokens, price) or 0.0
            if done.documents:
                backfill.add_documents_cost(connection, window.opens, done.documents, cost)
            usd -= cost
            requeued, waiting = requeued + done.documents, waiting + done.left
    return requeued, waiting


def _affordable(usd: float, usd_per_million: float | None) -> float:
    """Tokens for that much; none at an unknown price."""
    if usd_per_million is None:
        return 0.0
    return max(0.0, usd) * 1e6 / usd_per_million if usd_per_million else float("inf")
