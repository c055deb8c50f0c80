"""``rag-assets capacity``: the load of the last days, and when it will reach the limits."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rag_assets.cli.opening import corpus_connection
from rag_assets.cli.options import DAYS
from rag_assets.cli.output import Json, errors_as_sentences, out, show_json, show_table
from rag_assets.operations.sql.capacity import CapacityDay, capacity_days

if TYPE_CHECKING:
    from rag_assets.operations.forecast import Forecast

_COLUMNS = {
    "jobs": "jobs",
    "failed": "failed",
    "dead": "dead",
    "mean_seconds": "mean s",
    "p95_seconds": "p95 s",
    "queue_peak": "queue peak",
    "failed_runs": "failed runs",
    "busy_share": "busy share",
    "requests": "requests",
    "cost_usd": "USD",
    "vectors": "vectors",
}


def capacity(
    days: Annotated[int, typer.Option(**DAYS, help="Number of days to show.")] = 14,
    csv: Annotated[bool, typer.Option("--csv", help="Print every record as CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Show the records of the last days, and when the current limits will be reached.

    ```
    rag-assets capacity --days 30
    rag-assets capacity --csv
    ```
    """
    # pandas takes half a second to import: here, so that the other commands do not wait for it.
    from rag_assets.operations.capacity import as_csv, forecasts  # noqa: PLC0415

    with errors_as_sentences(as_json):
        with corpus_connection() as (settings, connection):
            recorded = capacity_days(connection)
        expected = forecasts(recorded, settings)
    if csv:
        print(as_csv(recorded), end="", flush=True)  # noqa: T201
        return
    shown = recorded[-days:]
    if as_json:
        show_json(
            {"days": [_record(one) for one in shown], "forecast": [*map(_forecast_json, expected)]}
        )
        return
    show_table(
        [_row(one) for one in shown],
        empty="no day is recorded yet: the schedule daily_capacity records each at RAG_CAPACITY_AT",
    )
    if expected:
        out.print()
        show_table([_forecast_row(one) for one in expected], empty="")


def _record(one: CapacityDay) -> dict[str, object]:
    return {"day": one.day, **asdict(one.measured), "recorded_at": one.recorded_at}


def _row(one: CapacityDay) -> dict[str, object]:
    measured = asdict(one.measured)
    return {"day": one.day, **{heading: measured[name] for name, heading in _COLUMNS.items()}}


def _forecast_row(one: Forecast) -> dict[str, object]:
    return {"limit": one.name, "reached on": one.reached_on, "reasoning": one.reasoning}


def _forecast_json(one: Forecast) -> dict[str, object]:
    values = asdict(one)  # the JSON keeps its keys
    return values | {"most": values.pop("maximum"), "told": values.pop("reasoning")}
