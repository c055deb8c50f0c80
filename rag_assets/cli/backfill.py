"""``rag-assets backfill``: what the windows of the weekend backfill do, and will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import open_corpus, ui_address
from rag_assets.cli.output import Json, errors_as_sentences, out, remark, show_json, show_table
from rag_assets.embedding.sql.waits import waiting_runs
from rag_assets.errors import RagAssetsError
from rag_assets.operations.backfill import (
    Budget,
    OpenWindow,
    WindowChoice,
    WindowRun,
    candidates,
    choose_versions,
    left_of,
    open_window,
    runs_of_open_window,
    runs_url,
    whole_budget,
)
from rag_assets.operations.windows import Window, backfill_windows, when
from rag_assets.postgres.database import dagster_database
from rag_assets.settings.model import Settings

app = Commands(
    help="The weekend backfill: what its windows do.\n\n```\nrag-assets backfill plan\n```",
)


@app.callback()
def backfill() -> None:
    """Commands of the weekend backfill."""


@app.command()
def plan(as_json: Json = False) -> None:
    """Show what the backfill would embed, in order, within its budget. Starts nothing.

    While a window is open, it shows the rest of its budget, what it will still start, and the page
    of Dagster's UI with all runs that it has started; then what the next window would do.

    ```
    rag-assets backfill plan
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        now = datetime.now(UTC)
        windows = backfill_windows(settings)
        window = windows.next_after(now)
        runs = _started(settings, now)
        with database.connect() as connection:
            current = open_window(connection, settings, runs, now)
            whole = whole_budget(settings, window)
            waiting = waiting_runs(connection)
            for code in sorted(waiting):
                remark(f"{code} is left out: it waits for batches (`rag-assets batches list`)")
            versions = list(candidates(connection, settings, without=waiting, warn=remark))
        started = {run.version for run in runs}
        rest = WindowChoice(())
        if current is not None:
            rest = choose_versions(
                (one for one in versions if one.code not in started),
                left=Budget(current.left_usd, current.left_minutes),
                whole=whole,
            )
            started |= {one.code for one in rest.start}
        choice = choose_versions(
            (one for one in versions if one.code not in started), left=whole, whole=whole
        )
    public_url = ui_address(settings) or settings.rag_public_url
    if as_json:
        now_open = current and {
            **asdict(current),
            **_as_record(rest),
            "url": runs_url(public_url, current.key),
        }
        show_json(
            {"opens": window.opens, "closes": window.closes, **_as_record(choice), "open": now_open}
        )
        return
    if current is not None:
        out.print(f"a window is open: it closes {when(current.closes, now, windows.zone)}")
        _show_open(current, rest, public_url)
    _show_next(window, choice, whole, f"{when(window.opens, now, windows.zone)}")


def _started(settings: Settings, now: datetime) -> Sequence[WindowRun]:
    """The runs of the open window; none while Dagster has no database yet."""
    try:
        with dagster_database(settings).connect() as connection:
            return runs_of_open_window(connection, settings, now)
    except RagAssetsError as error:
        remark(f"the runs of Dagster are unknown: {error}")
        return ()


def _show_open(current: OpenWindow, rest: WindowChoice, public_url: str) -> None:
    out.print(left_of(current), markup=False)
    out.print(runs_url(public_url, current.key), markup=False, soft_wrap=True)
    out.print()
    _show_choice(rest, empty="it has nothing more to start")
    out.print()


def _show_next(window: Window, choice: WindowChoice, whole: Budget, opens: str) -> None:
    out.print(f"the next opens {opens}, for {window.minutes:.0f} min")
    out.print(f"it may spend ${whole.usd:.4f}")
    out.print()
    _show_choice(choice, empty="there is no version to embed")


def _show_choice(choice: WindowChoice, *, empty: str) -> None:
    show_table(
        [
            {
                **{"version": one.code, "rows": one.rows},
                **{"USD": one.cost_usd, "minutes": one.minutes, "how": one.why},
            }
            for one in choice.start
        ],
        empty=empty,
    )
    for line in (*choice.passed_over, *filter(None, [choice.held])):
        out.print(line, markup=False)


def _as_record(choice: WindowChoice) -> dict[str, object]:
    return {
        "start": [
            {
                **{"version": one.code, "rows": one.rows, "usd": one.cost_usd},
                **{"minutes": one.minutes, "requests": one.requests, "why": one.why},
            }
            for one in choice.start
        ],
        "passed_over": choice.passed_over,
        "held": choice.held,
    }
