"""Follow the provider's batches, and start the runs that take in their results."""

from datetime import datetime
from itertools import takewhile

import dagster as dg

from rag_assets.defs.bible.assets import CONTINUES_TAG, verse_embeddings
from rag_assets.defs.bible.jobs import bible_embeddings
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.under_way import partitions_of, runs_under_way
from rag_assets.embedding.batch_lane import PATIENCE, follow
from rag_assets.embedding.sql.waits import Wait, waits
from rag_assets.vectors.sql.spaces import ROLES, find_space

_WAIT_TAG = "rag/waiting_since"
_FAILURES = 5  # double the pause so many times: up to 2 h 40 min


@dg.sensor(
    job=bible_embeddings,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks the provider about the batches under way, and starts a run for each version "
    "whose batch has ended, or could not be begun, or that waits for no batch any more: it keeps "
    "the results, requests what is missing, and publishes.",
)
def embedding_batches(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Poll the open batches, and request a run for each version with work to do."""
    now = corpus.clock()
    with as_failures(), corpus.database.connect(autocommit=True) as connection:
        follow(connection, corpus.settings)
        found = [find_space(connection, corpus.settings, role) for role in ROLES]
        waiting = waits(connection, [space.space_id for space in found if space], now - PATIENCE)
    if not waiting:
        return dg.SkipReason("no version waits for a batch")
    busy = partitions_of(runs_under_way(context.instance))
    ready = {
        wait.version_code: wait for wait in waiting if wait.ready and wait.version_code not in busy
    }
    requests = [
        _request(wait) for wait in ready.values() if now >= _not_before(context.instance, wait)
    ]
    versions = {wait.version_code for wait in waiting}
    return requests or dg.SkipReason(f"wait for batches: {', '.join(sorted(versions))}")


def _not_before(instance: dg.DagsterInstance, wait: Wait) -> datetime:
    """When the next run may start: pauses grow while runs fail."""
    of_wait = dg.RunsFilter(tags={_WAIT_TAG: _name(wait)})
    last = instance.get_run_records(of_wait, limit=_FAILURES + 1, order_by="create_timestamp")
    if not last:
        return wait.since
    failed = (record.dagster_run.status is dg.DagsterRunStatus.FAILURE for record in last)
    in_a_row = sum(1 for _ in takewhile(bool, failed))
    began: datetime = last[0].create_timestamp
    return began + PATIENCE * (1 << min(in_a_row, _FAILURES))


def _request(wait: Wait) -> dg.RunRequest:
    return dg.RunRequest(
        partition_key=wait.version_code,
        asset_selection=[verse_embeddings.key],
        run_config={"ops": {verse_embeddings.op.name: {"config": wait.options}}},
        tags={
            _WAIT_TAG: _name(wait),
            CONTINUES_TAG: wait.run_id,
            "bible/version": wait.version_code,
        },
    )


def _name(wait: Wait) -> str:
    return f"{wait.version_code} {wait.since:%Y-%m-%dT%H:%M:%S.%f}"
