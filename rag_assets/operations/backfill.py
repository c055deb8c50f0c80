"""The weekend backfill: what a window starts, in which order, within its remaining budget.

:func:`choose_versions`, which is pure, decides what fits. Listing and starting Dagster's runs is
left to ``defs``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from urllib.parse import urlencode

from rag_assets.bible.plan import (
    SpacePlan,
    embeddable_versions,
    known_versions,
    plan_known,
)
from rag_assets.bible.quality import complete_versions
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.embedding.batch_choice import Choice, Requests, choose, has_batches
from rag_assets.embedding.sql.batches import next_attempt
from rag_assets.embedding.sql.waits import waiting_runs
from rag_assets.errors import ConfigurationError, CorpusError
from rag_assets.lanes import BIBLE_LANE, runs_at_once
from rag_assets.operations.sql import backfill
from rag_assets.operations.sql.dagster_state import UNDER_WAY, TaggedRun, tagged_runs
from rag_assets.operations.windows import Window, backfill_windows
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import (
    BATCH_PRICE,
    price_setting,
    together,
)
from rag_assets.vectors.sql.spaces import find_space
from rag_assets.visible import count

WINDOW_TAG = "rag/window"
"""Tag of a window's runs; its value is :attr:`Window.key`."""
ESTIMATE_TAG = "rag/estimated_usd"
"""Tag of a window's runs: the cost that was expected."""
_PARTITION_TAG = "dagster/partition"
_ROOT_TAG = "dagster/root_run_id"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class OpenWindow:
    """A window that is open now, and what is left of it.

    :param budget_usd: of the whole window; ``left``: dollars and minutes.
    :param runs: that it has started; ``under_way``: how many of them are queued or in progress.
    """

    opens: datetime
    closes: datetime
    budget_usd: float
    left_usd: float
    left_minutes: float
    runs: int
    under_way: int

    @property
    def key(self) -> str:
        """Tag value of its runs."""
        return Window(self.opens, self.closes).key


@dataclass(frozen=True)
class Candidate:
    """A version, with the estimated cost and time of embedding it now.

    :param rows: verses without a vector of their text, summed over the spaces; every verse if the
        version's files changed.
    :param requests: how its texts are requested.
    :param why: why so; empty for all of them alike.
    :param problem: why no plan could be made.
    """

    code: str
    rows: int = 0
    cost_usd: float = 0.0
    minutes: float = 0.0
    requests: Requests = "live"
    why: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Budget:
    """Dollars and minutes that a window may spend, or has left."""

    usd: float
    minutes: float


@dataclass(frozen=True)
class WindowChoice:
    """Versions to start, and why the others are not started.

    :param passed_over: a sentence for each version that does not fit even a whole window.
    :param held: why the next version, and with it every later one, waits; ``None`` if none waits.
    :param for_a_run: it waits for a run to end, rather than for the next window or an operator.
    """

    start: tuple[Candidate, ...]
    passed_over: tuple[str, ...] = ()
    held: str | None = None
    for_a_run: bool = False

    @property
    def due(self) -> bool:
        """Whether versions are being started now, or will be later in this window."""
        return bool(self.start) or self.for_a_run


@dataclass(frozen=True)
class WindowRun:
    """A run that the window started.

    :param ledger_ids: run ids under which the ledger may list its payments: a retried run continues
        under the id of the first attempt.
    """

    version: str
    under_way: bool
    estimated_usd: float
    ledger_ids: frozenset[str]


def choose_versions(
    candidates: Iterable[Candidate], *, left: Budget, whole: Budget, room: int | None = None
) -> WindowChoice:
    """Take versions in order while they fit; none overtakes one that has to wait.

    Candidates are planned lazily, up to the first one that waits.

    :param left: the remaining budget; ``whole``: that of an untouched window.
    :param room: the number of runs that may be started; ``None`` for no limit.
    """
    start: list[Candidate] = []
    passed_over: list[str] = []
    held, for_a_run = None, False
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
            held, for_a_run = "the maximum number of runs is under way", True
        else:
            start.append(one)
            usd -= one.cost_usd
            minutes -= one.minutes
        if held:
            waits = f"{one.code} waits: {held}"
            return WindowChoice(tuple(start), tuple(passed_over), waits, for_a_run)
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
    """Order codes by the first pattern each matches, then by name; drop those that match none."""
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    placed = [
        (next((place for place, one in enumerate(wanted) if fnmatchcase(code, one)), None), code)
        for code in codes
    ]
    return tuple(
        code for _, code in sorted((place, code) for place, code in placed if place is not None)
    )


def committed(runs: Sequence[WindowRun], spent: Mapping[str, float]) -> float:
    """Return the dollars that a window's runs have paid, or are still expected to pay."""
    to_come = sum(
        max(0.0, run.estimated_usd - sum(spent.get(one, 0.0) for one in run.ledger_ids))
        for run in runs
        if run.under_way
    )
    return sum(spent.values()) + to_come


def whole_budget(settings: Settings, window: Window) -> Budget:
    """Return the budget of an untouched window, which is also the maximum for one run."""
    budget, run = settings.rag_backfill_budget_usd, settings.rag_max_run_cost_usd
    return Budget(budget if run is None else min(budget, run), window.minutes)


def remaining_budget(
    connection: Connection,
    settings: Settings,
    window: Window,
    runs: Sequence[WindowRun],
    now: datetime,
) -> Budget:
    """Return the remaining budget of an open window. A run waiting for its batch is under way."""
    spent = backfill.spent_by_runs(connection, frozenset().union(*(r.ledger_ids for r in runs)))
    waiting = set(waiting_runs(connection).values())
    runs = [replace(run, under_way=run.under_way or bool(run.ledger_ids & waiting)) for run in runs]
    usd = committed(runs, spent) + backfill.documents_cost(connection, window.opens)
    return Budget(settings.rag_backfill_budget_usd - usd, window.minutes_left(now))


def open_window(
    connection: Connection, settings: Settings, runs: Sequence[WindowRun], now: datetime
) -> OpenWindow | None:
    """Return what is left of the open window, for operators; ``None`` if none is open."""
    window = backfill_windows(settings).open_at(now)
    if window is None:
        return None
    left = remaining_budget(connection, settings, window, runs, now)
    return OpenWindow(
        window.opens,
        window.closes,
        budget_usd=settings.rag_backfill_budget_usd,
        left_usd=max(0.0, left.usd),
        left_minutes=left.minutes,
        runs=len(runs),
        under_way=sum(run.under_way for run in runs),
    )


def runs_of_open_window(
    dagster: Connection, settings: Settings, now: datetime
) -> tuple[WindowRun, ...]:
    """Return the runs that the open window has started; none if none is open."""
    window = backfill_windows(settings).open_at(now)
    return runs_of(tagged_runs(dagster, WINDOW_TAG, window.key)) if window else ()


def runs_of(tagged: Iterable[TaggedRun]) -> tuple[WindowRun, ...]:
    """Return a window's runs from those that Dagster has with its tag; retries have it, too."""
    return tuple(
        WindowRun(
            version=run.tags[_PARTITION_TAG],
            under_way=run.status in UNDER_WAY,
            estimated_usd=float(run.tags.get(ESTIMATE_TAG, 0)),
            ledger_ids=frozenset({run.run_id, run.tags.get(_ROOT_TAG, run.run_id)}),
        )
        for run in tagged
    )


def left_of(window: OpenWindow) -> str:
    """Say in words what an open window may still do."""
    return (
        f"${window.left_usd:.4f} of ${window.budget_usd:.4f} and {window.left_minutes:.0f} min "
        f"left; {count(window.runs, 'run')} started, {window.under_way} under way"
    )


def runs_url(public_url: str, key: str) -> str:
    """Return the page of Dagster's UI with all runs of a window."""
    return f"{public_url}/runs?{urlencode({'q[]': f'tag:{WINDOW_TAG}={key}'})}"


def candidates(
    connection: Connection,
    settings: Settings,
    *,
    without: Collection[str] = (),
    warn: Callable[[str], None],
) -> Iterator[Candidate]:
    """Yield the versions that may be embedded, in the backfill's order, each planned lazily.

    Planning 31,000 verses takes a second, or 0.1 s if the checks have found them complete.
    """
    asked: list[bool] = []

    def available(settings: Settings) -> bool:
        if not asked:  # once for all versions
            asked.append(has_batches(settings))
        return asked[0]

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
        yield _candidate(connection, settings, code, plans, available)


def _candidate(
    connection: Connection,
    settings: Settings,
    code: str,
    plans: Sequence[SpacePlan],
    available: Callable[[Settings], bool],
) -> Candidate:
    """A planned version, at the price and in the time of the way that suits it."""
    cost = together(plan.cost_usd for plan in plans)
    if cost is None:
        roles = {plan.role for plan in plans if plan.cost_usd is None}
        unknown = " and ".join(map(price_setting, sorted(roles)))
        return Candidate(code, problem=f"its cost is unknown: set {unknown}")
    rows = sum(plan.rows for plan in plans)
    try:
        choice = _choice(connection, settings, code, plans, available)
    except ConfigurationError as error:
        return Candidate(code, problem=str(error))
    if not choice.batch:
        minutes = sum(plan.minutes for plan in plans)
        return Candidate(code, rows, cost, minutes, why=choice.why)
    # A batch takes no time of the window's.
    return Candidate(code, rows, cost * BATCH_PRICE, requests="batch", why=choice.why)


def _choice(
    connection: Connection,
    settings: Settings,
    code: str,
    plans: Sequence[SpacePlan],
    available: Callable[[Settings], bool],
) -> Choice:
    """Whether a version's texts go into batches: all of them, or none."""
    largest = max(plans, key=lambda plan: plan.texts)
    space = find_space(connection, settings, largest.role)
    attempt = next_attempt(connection, space, code) if space else 1
    return choose(settings, settings.rag_backfill_requests, largest.texts, attempt, available)


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
    """Choose what to start now in an open window.

    A version is started once per window: one that failed or was refused waits for the next.

    :param runs: that this window started; ``busy``: versions with a run under way.
    :param at_work: the number of the lane's runs under way.
    """
    pause = paused_lanes(connection).get(BIBLE_LANE)
    if pause is not None:
        return WindowChoice((), held=f"the lane {BIBLE_LANE} is paused: {pause.reason}")
    maximum = runs_at_once(settings)[BIBLE_LANE]
    if at_work >= maximum:
        busy_lane = f"{at_work} runs of the lane {BIBLE_LANE} are under way"
        return WindowChoice((), held=busy_lane, for_a_run=True)
    seen = {run.version for run in runs}.union(busy, waiting_runs(connection))
    return choose_versions(
        candidates(connection, settings, without=seen, warn=warn),
        left=remaining_budget(connection, settings, window, runs, now),
        whole=whole_budget(settings, window),
        room=maximum - at_work,
    )
