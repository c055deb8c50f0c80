"""Jobs of the document lane: process documents, requeue dead letters, delete old data."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from rag_assets.defs.dagster_private import is_in_postgres
from rag_assets.defs.documents.assets import CHUNKS, EMBEDDINGS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_config import RunConfig
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.documents import retry
from rag_assets.documents.upkeep import delete_expired
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import LANE_TAG, PROCESSING, DocumentLane
from rag_assets.operations import upkeep as operations_upkeep
from rag_assets.postgres.database import dagster_database
from rag_assets.visible import count

document_processing = dg.define_asset_job(
    "document_processing",
    selection=dg.AssetSelection.assets(CHUNKS, EMBEDDINGS).without_checks(),
    tags={LANE_TAG: PROCESSING},
    description="Extract, chunk, embed and store documents: those waiting in a lane, or the "
    "selected partitions.",
)


def request_documents_run(lane: DocumentLane) -> dg.RunRequest:
    """Return a request for a run over a lane."""
    return dg.RunRequest(
        job_name=document_processing.name,
        run_config={"ops": {"document_lane": {"config": {"lane": lane}}}},
        tags={LANE_TAG: lane},
    )


class DeadLettersConfig(RunConfig):
    """Which dead letters to requeue: exactly one of the three options."""

    keys: list[str] = Field(default_factory=list, description="Keys of documents.")
    error_class: str | None = Field(
        None, description="All whose error is of this class, such as EncryptedDocumentError."
    )
    everything: bool = Field(False, description="All dead letters.")

    def check(self) -> None:
        """Refuse none or several of the options."""
        if bool(self.keys) + bool(self.error_class) + self.everything != 1:
            raise ConfigurationError(
                "select dead letters by keys, by error_class, or with everything: true"
            )


@dg.op(out=dg.Out(dg.Nothing), tags={"corpus": "documents"})
@as_failures()
def put_dead_letters_back(
    context: dg.OpExecutionContext,
    config: DeadLettersConfig,
    corpus: dg.ResourceParam[CorpusResource],
) -> None:
    """Requeue dead letters with their attempts reset."""
    with corpus.database.connect() as connection:
        requeued = retry(connection, keys=config.keys or None, error_class=config.error_class)
    context.log.info(f"requeued {count(requeued, 'document')}")


@dg.job(description="Put dead letters back into the queue: by key, by class of error, or all.")
def document_dead_letters() -> None:
    """One step."""
    put_dead_letters_back()


@dg.op(out=dg.Out(dg.Nothing), tags={"corpus": "documents"})
@as_failures()
def forget_withdrawn_documents(
    context: dg.OpExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Delete documents withdrawn RAG_DOCUMENTS_KEEP_DAYS ago, with their partitions."""
    deleted = delete_expired(corpus.database, corpus.settings)
    with corpus.database.connect() as connection:
        names = list(document_corpora(connection))
    for key in deleted.keys:
        for name in names:  # a key is of one of them
            context.instance.delete_dynamic_partition(name, key)
    context.log.info(
        f"deleted {count(len(deleted.keys), 'withdrawn document')} and "
        f"{count(deleted.answers, 'vector')}"
    )


@dg.op(out=dg.Out(dg.Nothing))
@as_failures()
def forget_old_operations(
    context: dg.OpExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Delete attempts, ended runs, samples and sent messages after RAG_OPERATIONS_KEEP_DAYS."""
    deleted = operations_upkeep.delete_expired(corpus.database, corpus.settings)
    context.log.info(str(deleted))


@dg.op(out=dg.Out(dg.Nothing))
@as_failures()
def forget_old_dagster_runs(
    context: dg.OpExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Delete Dagster's runs and logs after RAG_DAGSTER_KEEP_DAYS, where they are in PostgreSQL."""
    if not is_in_postgres(context.instance):
        return

    def forget_logs(run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            context.instance.compute_log_manager.delete_logs(prefix=[run_id])

    deleted = operations_upkeep.delete_dagster_history(
        dagster_database(corpus.settings),
        corpus.settings.rag_dagster_keep_days,
        forget=forget_logs,
    )
    context.log.info(f"deleted {count(deleted, 'old run')}")


@dg.job(
    description="Permanently delete documents withdrawn RAG_DOCUMENTS_KEEP_DAYS ago (texts, "
    "vectors, partitions), operations data older than RAG_OPERATIONS_KEEP_DAYS, and Dagster's runs "
    "older than RAG_DAGSTER_KEEP_DAYS, except what the status of a partition comes from."
)
def document_upkeep() -> None:
    """Independent steps."""
    forget_withdrawn_documents()
    forget_old_operations()
    forget_old_dagster_runs()
