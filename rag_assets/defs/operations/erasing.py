"""Delete what Dagster recorded of one document or version."""

from collections.abc import Mapping

import dagster as dg

from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.dagster_private import PARTITION_TAG, folders_of, forget_partition
from rag_assets.defs.documents.metadata import CHUNKS, EMBEDDINGS
from rag_assets.defs.documents.partitions import DOCUMENTS
from rag_assets.defs.operations.partition_status import VERSE_EMBEDDINGS, VERSES
from rag_assets.defs.under_way import partitions_of, runs_under_way
from rag_assets.operations.erasure import Traces
from rag_assets.postgres.database import open_dagster_database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus

_PARTITIONED: Mapping[Corpus, tuple[str, tuple[dg.AssetKey, ...]]] = {
    "bible": (BIBLE_VERSIONS, (VERSES, VERSE_EMBEDDINGS)),
    "documents": (DOCUMENTS, (CHUNKS, EMBEDDINGS)),
}


def traces_in(instance: dg.DagsterInstance, settings: Settings) -> Traces:
    """What an erasure needs of Dagster."""
    return Traces(
        database=open_dagster_database(settings),
        under_way=lambda key: key in partitions_of(runs_under_way(instance)),
        forget=lambda corpus, key: _forget(instance, corpus, key),
        folders=folders_of(instance),
    )


def _forget(instance: dg.DagsterInstance, corpus: Corpus, key: str) -> Mapping[str, int]:
    """Delete the partition, its events and checks, and the runs of only that with their output."""
    name, assets = _PARTITIONED[corpus]
    runs = instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: key}))
    for run in runs:
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
    for asset in assets:
        forget_partition(instance, asset, key)
    known = instance.has_dynamic_partition(name, key)
    instance.delete_dynamic_partition(name, key)
    return {"partitions": int(known), "runs": len(runs)}
