"""Delete what Dagster recorded of one document or version."""

from collections.abc import Iterable, Mapping

import dagster as dg

from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.dagster_private import PARTITION_TAG, folders_of, forget_partition
from rag_assets.defs.documents.metadata import chunks_of, embeddings_of
from rag_assets.defs.operations.partition_status import VERSE_EMBEDDINGS, VERSES
from rag_assets.defs.under_way import partitions_of, runs_under_way
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.operations.erasure import Traces
from rag_assets.postgres.database import open_dagster_database, open_database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus


def traces_in(instance: dg.DagsterInstance, settings: Settings) -> Traces:
    """What an erasure needs of Dagster."""
    return Traces(
        database=open_dagster_database(settings),
        under_way=lambda key: key in partitions_of(runs_under_way(instance)),
        forget=lambda corpus, key: _forget(instance, _partitioned(settings, corpus), key),
        folders=folders_of(instance),
    )


def _partitioned(settings: Settings, corpus: Corpus) -> dict[str, tuple[dg.AssetKey, ...]]:
    """The assets of a version or a document by the name of its partitions; of every corpus."""
    if corpus == "bible":
        return {BIBLE_VERSIONS: (VERSES, VERSE_EMBEDDINGS)}
    with open_database(settings).connect() as connection:
        names = list(document_corpora(connection))
    return {name: (chunks_of(name), embeddings_of(name)) for name in names}


def _forget(
    instance: dg.DagsterInstance, partitioned: Mapping[str, Iterable[dg.AssetKey]], key: str
) -> Mapping[str, int]:
    """Delete the partition, its events and checks, and the runs of only that with their output."""
    runs = instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: key}))
    for run in runs:
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        instance.delete_run(run.run_id)
    known = 0
    for name, assets in partitioned.items():
        for asset in assets:
            forget_partition(instance, asset, key)
        known += instance.has_dynamic_partition(name, key)
        instance.delete_dynamic_partition(name, key)
    return {"partitions": known, "runs": len(runs)}
