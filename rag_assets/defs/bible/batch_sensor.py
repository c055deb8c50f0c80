"""Follow the provider's batches, and start the runs that take in their results."""

from datetime import datetime, timedelta

import dagster as dg

from rag_assets.defs.bible.assets import verse_embeddings
from rag_assets.defs.bible.jobs import bible_embeddings
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.under_way import partitions_of, runs_under_way
from rag_assets.embedding.batch_lane import follow
from rag_assets.embedding.sql.batches import StoredBatch

BATCH_TAG = "rag/batch"
_AGAIN = timedelta(minutes=5)
"""After a run that did not take the results in, or a batch that could not be begun."""


@dg.sensor(
    job=bible_embeddings,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks the provider about the batches under way, and starts a run for each version "
    "whose batch has ended, or could not be begun: it keeps the results, requests what is missing, "
    "and publishes.",
)
def embedding_batches(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Poll the open batches, and request a run for each version with work to do."""
    with as_failures(), corpus.database.connect(autocommit=True) as connection:
        batches = follow(connection, corpus.settings)
    if not batches:
        return dg.SkipReason("no batch is under way")
    now, busy = corpus.clock(), partitions_of(runs_under_way(context.instance))
    ready = {
        batch.version_code: batch
        for batch in batches
        if batch.version_code not in busy and _ready(batch, now)
    }
    requests = [
        _request(batch)
        for batch in ready.values()
        if now - _last_run(context.instance, batch) > _AGAIN
    ]
    return requests or dg.SkipReason(f"batches under way: {len(batches)}")


def _ready(batch: StoredBatch, now: datetime) -> bool:
    return batch.state == "ended" or (
        batch.state == "prepared" and now - batch.prepared_at > _AGAIN
    )


def _last_run(instance: dg.DagsterInstance, batch: StoredBatch) -> datetime:
    """When the last run for this batch was started."""
    found = instance.get_run_records(
        dg.RunsFilter(tags={BATCH_TAG: _name(batch)}), limit=1, order_by="id"
    )
    return found[0].create_timestamp if found else batch.prepared_at - 2 * _AGAIN


def _request(batch: StoredBatch) -> dg.RunRequest:
    return dg.RunRequest(
        partition_key=batch.version_code,
        asset_selection=[verse_embeddings.key],
        run_config={
            "ops": {verse_embeddings.op.name: {"config": {"requests": batch.requests}}},
        },
        tags={BATCH_TAG: _name(batch), "bible/version": batch.version_code},
    )


def _name(batch: StoredBatch) -> str:
    return f"{batch.batch_id} {batch.token}"
