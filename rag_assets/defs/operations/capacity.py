"""The asset ``capacity_report``: a record a day, the days before it drawn, and a forecast."""

from datetime import UTC, date, datetime

import dagster as dg

from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.capacity_metadata import of_capacity
from rag_assets.defs.resources import CorpusResource
from rag_assets.operations.capacity import csv_path, forecasts, frame, record

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
@as_failures()
def capacity_report(
    context: dg.AssetExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.MaterializeResult[None]:
    """What one day took: jobs, time, queue, failures, cost and size, and when limits will not do.

    The record of a day covers the 24 hours that end at RAG_CAPACITY_AT. It is a row of the table
    `capacity_days`; all of them are written to `RAG_HOME/capacity/capacity.csv`, too.
    """
    day = date.fromisoformat(context.partition_key)
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
    description="Record the load of a day, plot all days, and forecast when limits are reached.",
)
