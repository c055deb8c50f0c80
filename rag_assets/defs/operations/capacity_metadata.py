"""Metadata of a partition of ``capacity_report``. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from rag_assets.defs.pictures import inline_picture
from rag_assets.operations.forecast import Forecast

if TYPE_CHECKING:
    import pandas as pd

DRAWN_DAYS = 60
_TABLE_DAYS = 14


def of_capacity(
    table: pd.DataFrame, day: date, expected: Sequence[Forecast]
) -> dict[str, dg.MetadataValue]:
    """Metadata of one day: its figures, the days up to it, the forecast."""
    until = table.loc[: day.isoformat()]
    own = until.iloc[-1]
    seconds = {
        name: dg.MetadataValue.float(round(float(own[name]), 2))
        for name in ("mean_seconds", "p95_seconds")
        if not math.isnan(own[name])
    }
    cost = (  # unknown if a price was
        {}
        if math.isnan(own["cost_usd"])
        else {"cost_usd": dg.MetadataValue.float(float(own["cost_usd"]))}
    )
    return {
        "jobs": dg.MetadataValue.int(int(own["jobs"])),
        "failed": dg.MetadataValue.int(int(own["failed"])),
        "dead": dg.MetadataValue.int(int(own["dead"])),
        **seconds,
        "queue_peak": dg.MetadataValue.int(int(own["queue_peak"])),
        "failed_runs": dg.MetadataValue.int(int(own["failed_runs"])),
        **cost,
        "days": dg.MetadataValue.md(capacity_picture(until.tail(DRAWN_DAYS))),
        "forecast": dg.MetadataValue.md(forecast_table(expected)),
        "table": dg.MetadataValue.md(days_table(until.tail(_TABLE_DAYS))),
        "dagster/row_count": dg.MetadataValue.int(len(table)),
    }


def capacity_picture(table: pd.DataFrame) -> str:
    """Plot jobs, time, queue and cost by day, as an inline picture in Markdown."""
    # Lazy import: it takes half a second.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 6), layout="constrained")
    (jobs, seconds), (queue, cost) = figure.subplots(2, 2, sharex=True)
    days = table.index
    bottom = table["jobs"] * 0
    for name, colour in (("jobs", "tab:blue"), ("failed", "tab:orange"), ("dead", "tab:red")):
        jobs.bar(days, table[name], bottom=bottom, label=name, color=colour)
        bottom = bottom + table[name]
    jobs.set_title("jobs: attempts at documents")
    for name, label in (("mean_seconds", "mean"), ("p95_seconds", "P95")):
        seconds.plot(days, table[name].astype(float), marker="o", markersize=3, label=label)
    seconds.set_title("time of a job, s")
    queue.bar(days, table["queue_peak"], color="tab:purple")
    queue.set_title("maximum of waiting documents")
    cost.bar(days, table["cost_usd"].astype(float), color="tab:green")
    cost.set_title("cost, USD")
    jobs.legend(fontsize="small")
    seconds.legend(fontsize="small")
    half = timedelta(hours=14)  # half a bar, and a margin
    begin = min(days[0], days[-1] - timedelta(days=_TABLE_DAYS - 1))
    for axes in (jobs, seconds, queue, cost):
        axes.set_xlim(begin - half, days[-1] + half)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", rotation=30)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, axis="y", alpha=0.3)
    return inline_picture(figure, "jobs, time, queue and cost by day")


def forecast_table(expected: Sequence[Forecast]) -> str:
    """Format the forecast as a Markdown table."""
    lines = ["| what | setting | reached on | reasoning |", "|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.settings} | {one.reached_on or '–'} | {one.reasoning} |"
        for one in expected
    ]
    return "\n".join(lines)


def days_table(table: pd.DataFrame) -> str:
    """Format the last days as a Markdown table, newest first."""
    names = (
        "jobs", "failed", "dead", "mean_seconds", "p95_seconds", "queue_peak", "runs",
        "failed_runs", "busy_share", "requests", "rate_limited", "tokens", "cost_usd", "vectors",
    )  # fmt: skip
    lines = [f"| day | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    latest_first = table[::-1]
    for day, *values in latest_first[list(names)].itertuples():
        lines.append(f"| {day.date()} | {' | '.join(map(_cell, values))} |")
    return "\n".join(lines)


def _cell(value: int | float) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:,.3f}"
    return f"{value:,}"
