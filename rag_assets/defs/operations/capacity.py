"""The asset ``capacity_report``: a record a day, the days before it drawn, and a forecast."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd

from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.pictures import inline_picture
from rag_assets.defs.resources import Corpus
from rag_assets.operations.capacity import csv_path, forecasts, frame, record
from rag_assets.operations.forecast import Forecast

DRAWN_DAYS = 60
_TABLE_DAYS = 14

# Keys are days of RAG_TIMEZONE, which is not known here: UTC's and one more hold today everywhere.
capacity_days = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_offset=2)


@dg.asset(
    partitions_def=capacity_days,
    group_name="operations",
    kinds={"python", "pandas", "postgres"},
    owners=OWNERS,
    code_version="1",
    metadata={"dagster/table_name": "capacity_days"},
)
def capacity_report(
    context: dg.AssetExecutionContext, corpus: dg.ResourceParam[Corpus]
) -> dg.MaterializeResult[None]:
    """What one day took: jobs, time, queue, failures, cost and size, and when limits will not do.

    The record of a day covers the 24 hours that end at RAG_CAPACITY_AT. It is a row of the table
    `capacity_days`; all of them are written to `RAG_HOME/capacity/capacity.csv`, too.
    """
    day = date.fromisoformat(context.partition_key)
    with as_failures():
        days = record(corpus.database, corpus.settings, day, now=datetime.now(UTC))
    table = frame(days)
    expected = forecasts(days, corpus.settings)
    for one in expected:
        if one.reached_on:
            context.log.warning(f"{one.name} ({one.settings}): {one.told}")
    return dg.MaterializeResult(
        metadata=of_capacity(table, day, expected)
        | {
            "csv": dg.MetadataValue.path(csv_path(corpus.settings).resolve()),
        }
    )


capacity_record = dg.define_asset_job(
    "capacity_record",
    selection=dg.AssetSelection.assets(capacity_report),
    description="Record what a day took, draw the days until then, say when limits will not do.",
)


def of_capacity(
    table: pd.DataFrame, day: date, expected: Sequence[Forecast]
) -> dict[str, dg.MetadataValue]:
    """Metadata of one day: its figures, the days until then, the forecast."""
    until = table.loc[: pd.Timestamp(day)]
    own = until.iloc[-1]
    seconds = {
        name: dg.MetadataValue.float(round(float(own[name]), 2))
        for name in ("mean_seconds", "p95_seconds")
        if pd.notna(own[name])
    }
    return {
        "jobs": dg.MetadataValue.int(int(own["jobs"])),
        "failed": dg.MetadataValue.int(int(own["failed"])),
        "dead": dg.MetadataValue.int(int(own["dead"])),
        **seconds,
        "queue_peak": dg.MetadataValue.int(int(own["queue_peak"])),
        "failed_runs": dg.MetadataValue.int(int(own["failed_runs"])),
        "cost_usd": dg.MetadataValue.float(float(own["cost_usd"])),
        "days": dg.MetadataValue.md(capacity_picture(until.tail(DRAWN_DAYS))),
        "forecast": dg.MetadataValue.md(forecast_table(expected)),
        "table": dg.MetadataValue.md(days_table(until.tail(_TABLE_DAYS))),
        "dagster/row_count": dg.MetadataValue.int(len(table)),
    }


def capacity_picture(table: pd.DataFrame) -> str:
    """Jobs, time, queue and cost by day, as an inline picture in Markdown."""
    # Imported late: half a second that the other runs need not wait for.
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
    queue.set_title("most documents that waited")
    cost.bar(days, table["cost_usd"].astype(float), color="tab:green")
    cost.set_title("cost, USD")
    jobs.legend(fontsize="small")
    seconds.legend(fontsize="small")
    half = pd.Timedelta(hours=14)  # of the last day's bar, and some air
    begin = min(days[0], days[-1] - pd.Timedelta(days=_TABLE_DAYS - 1))
    for axes in (jobs, seconds, queue, cost):
        axes.set_xlim(begin - half, days[-1] + half)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", rotation=30)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, axis="y", alpha=0.3)
    return inline_picture(figure, "jobs, time, queue and cost by day")


def forecast_table(expected: Sequence[Forecast]) -> str:
    """The forecast as a Markdown table."""
    lines = ["| what | setting | reached on | reasoning |", "|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.settings} | {one.reached_on or '–'} | {one.told} |"
        for one in expected
    ]
    return "\n".join(lines)


def days_table(table: pd.DataFrame) -> str:
    """The last days as a Markdown table, the latest first."""
    names = (
        "jobs", "failed", "dead", "mean_seconds", "p95_seconds", "queue_peak", "runs",
        "failed_runs", "busy_share", "requests", "rate_limited", "tokens", "cost_usd", "vectors",
    )  # fmt: skip
    lines = [f"| day | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for day, row in table.iloc[::-1].iterrows():
        cells = " | ".join(_cell(row[name]) for name in names)
        lines.append(f"| {pd.Timestamp(str(day)).date()} | {cells} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
