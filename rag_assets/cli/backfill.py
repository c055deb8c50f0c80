"""``rag-assets backfill``: what the windows of the weekend backfill will do."""

from __future__ import annotations

from datetime import UTC, datetime

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import open_corpus
from rag_assets.cli.output import Json, errors_as_sentences, out, remark, show_json, show_table
from rag_assets.operations.backfill import (
    WindowChoice,
    candidates,
    choose_versions,
    whole_budget,
)
from rag_assets.operations.windows import Window, backfill_windows, when

app = Commands(
    help="The weekend backfill: what its next window will do.\n\n"
    "```\nrag-assets backfill plan\n```",
)


@app.callback()
def backfill() -> None:
    """Commands of the weekend backfill."""


@app.command()
def plan(as_json: Json = False) -> None:
    """Show what the next window would embed, in order, within its budget. Starts nothing.

    ```
    rag-assets backfill plan
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        now = datetime.now(UTC)
        windows = backfill_windows(settings)
        window = windows.next_after(now)
        with database.connect() as connection:
            whole = whole_budget(settings, window)
            versions = candidates(connection, settings, warn=remark)
            choice = choose_versions(versions, left=whole, whole=whole)
    if as_json:
        show_json(_as_record(window, choice))
        return
    if now_open := windows.open_at(now):
        out.print(f"a window is open: it closes {when(now_open.closes, now, windows.zone)}")
    out.print(
        f"the next opens {when(window.opens, now, windows.zone)}, for {window.minutes:.0f} min"
    )
    out.print(f"it may spend ${whole.usd:.4f}")
    out.print()
    show_table(
        [
            {
                **{"version": one.code, "rows": one.rows},
                **{"USD": one.cost_usd, "minutes": one.minutes, "how": one.why},
            }
            for one in choice.start
        ],
        empty="every version that may be embedded is embedded",
    )
    for line in (*choice.passed_over, *filter(None, [choice.held])):
        out.print(line, markup=False)


def _as_record(window: Window, choice: WindowChoice) -> dict[str, object]:
    return {
        "opens": window.opens,
        "closes": window.closes,
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
