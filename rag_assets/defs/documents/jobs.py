"""Jobs of the document lane: process what waits, check all vectors, bring dead letters back."""

import dagster as dg
from pydantic import Field

from rag_assets.defs.documents.assets import CHUNKS, EMBEDDINGS
from rag_assets.defs.documents.partitions import DOCUMENTS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_config import RunConfig, check_before_runs
from rag_assets.documents.sql.documents import retry
from rag_assets.documents.upkeep import forget
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import LANE_TAG, PROCESSING, DocumentLane
from rag_assets.operations import upkeep as operations_upkeep

document_processing = dg.define_asset_job(
    "document_processing",
    selection=dg.AssetSelection.assets(CHUNKS, EMBEDDINGS).without_checks(),
    tags={LANE_TAG: PROCESSING},
    description="Extract, chunk, embed and store documents: those that wait in a lane, or the "
    "partitions that are chosen.",
)


def request_documents_run(lane: DocumentLane) -> dg.RunRequest:
    """Request a run for what waits in a lane."""
    return dg.RunRequest(
        job_name=document_processing.name,
        run_config={"ops": {"document_lane": {"config": {"lane": lane}}}},
        tags={LANE_TAG: lane},
    )


class DeadLettersConfig(RunConfig):
    """Which dead letters to put back into the queue: one of the three."""

    keys: list[str] = Field(default_factory=list, description="Keys of documents.")
    error_class: str | None = Field(
        None, description="All whose error is of this class, such as EncryptedDocumentError."
    )
    everything: bool = Field(False, description="All dead letters.")

    def check(self) -> None:
        """Refuse none or several of the three."""
        if bool(self.keys) + bool(self.error_class) + self.everything != 1:
            raise ConfigurationError(
                "say which dead letters: keys, error_class, or everything: true"
            )


@dg.op(out=dg.Out(dg.Nothing), tags={"corpus": "documents"})
@as_failures()
def put_dead_letters_back(
    context: dg.OpExecutionContext,
    config: DeadLettersConfig,
    corpus: dg.ResourceParam[CorpusResource],
) -> None:
    """Put dead documents back into the queue, with their attempts forgotten."""
    with corpus.database.connect() as connection:
        count = retry(connection, keys=config.keys or None, error_class=config.error_class)
    context.log.info(f"{count} documents wait in their lanes again")


check_before_runs(put_dead_letters_back, DeadLettersConfig)


@dg.job(description="Put dead letters back into the queue: by key, by class of error, or all.")
def document_dead_letters() -> None:
    """One step."""
    put_dead_letters_back()


@dg.op(out=dg.Out(dg.Nothing), tags={"corpus": "documents"})
@as_failures()
def forget_withdrawn_documents(
    context: dg.OpExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Delete what was withdrawn RAG_DOCUMENTS_KEEP_DAYS ago, with its partitions."""
    forgotten = forget(corpus.database, corpus.settings)
    for key in forgotten.keys:
        context.instance.delete_dynamic_partition(DOCUMENTS, key)
    context.log.info(
        f"{len(forgotten.keys)} withdrawn documents and {forgotten.answers} vectors deleted"
    )


@dg.op(out=dg.Out(dg.Nothing))
@as_failures()
def forget_old_operations(
    context: dg.OpExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Delete attempts, ended runs, samples and sent messages after RAG_OPERATIONS_KEEP_DAYS."""
    forgotten = operations_upkeep.forget(corpus.database, corpus.settings)
    context.log.info(str(forgotten))


@dg.job(
    description="Delete for good what was withdrawn RAG_DOCUMENTS_KEEP_DAYS ago: texts, vectors, "
    "and partitions; and what operations kept for RAG_OPERATIONS_KEEP_DAYS."
)
def document_upkeep() -> None:
    """Two steps that know nothing of each other."""
    forget_withdrawn_documents()
    forget_old_operations()
