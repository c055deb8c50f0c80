"""The document lane's assets: ``document_chunks`` and ``document_embeddings``.

Both are made in one step, because extraction, embedding and storing run concurrently. A run
processes many documents: waiting ones of its lane, or selected partitions.
"""

import os
from collections.abc import Iterator, Sequence

import dagster as dg

import rag_assets.embedding.providers.openai_client  # noqa: F401 -- takes half a second, before the step is timed
from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.documents import metadata
from rag_assets.defs.documents.config import DocumentsConfig
from rag_assets.defs.documents.metadata import chunks_of, embeddings_of
from rag_assets.defs.documents.partitions import DOCUMENTS, partitions_for
from rag_assets.defs.documents.readable import report_readable
from rag_assets.defs.documents.reporting import RunReport, by_corpus, report_published
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_log import run_log
from rag_assets.documents.corpora import asset_name
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.publishing import DocumentOutcome, RunSummary
from rag_assets.documents.sql.reports import mark_reported
from rag_assets.documents.worker import process_documents
from rag_assets.errors import DocumentError
from rag_assets.lanes import DOCUMENT_LANES, LARGE, known_lane
from rag_assets.visible import count

CHUNKS, EMBEDDINGS = metadata.CHUNKS, metadata.EMBEDDINGS
_CATCH_UP_S = 60.0
"""Time limit for reporting what earlier runs left unreported; the recovery reports the rest."""
_SHOWN = 20  # documents named in the failure's description


def lane_assets(name: str) -> dg.AssetsDefinition:
    """Build the two assets of a corpus."""

    @dg.multi_asset(
        name=asset_name(name, "lane"),
        specs=_specs(name),
        partitions_def=partitions_for(name),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=200),
    )
    def lane(
        context: dg.AssetExecutionContext,
        config: DocumentsConfig,
        corpus: dg.ResourceParam[CorpusResource],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Process documents, and log each one's outcome under its own partition.

        A run over a lane processes documents of all corpora, which take turns. A bad document does
        not affect the others. If its file is at fault, its check ``document_readable`` fails and
        the run succeeds. If the system is at fault, its partition shows as failed, and the run
        fails at its end.
        """
        _process(context, config, corpus)
        yield from ()  # each document's outcome was logged as it came

    return lane


def _specs(name: str) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            chunks_of(name),
            description="The passages of one document: its text, extracted from the file and split "
            "by tokens at headings and sentences, each with the page on which it begins and the "
            "headings above it.",
            skippable=True,
            group_name=name,
            kinds={"python", "postgres"},
            owners=OWNERS,
            tags={"corpus": name},
            code_version="1",
            metadata={
                "dagster/column_schema": metadata.CHUNKS_SCHEMA,
                "dagster/table_name": "document_chunks",
            },
        ),
        dg.AssetSpec(
            embeddings_of(name),
            deps=[chunks_of(name)],
            description="A vector for each chunk of one document, paid for once, however many "
            "documents contain the same text, and audited; published together with the chunks in "
            "one transaction, so that search sees either the old or the new document.",
            skippable=True,
            group_name=name,
            kinds={"openai", "postgres", "pgvector"},
            owners=OWNERS,
            tags={"corpus": name, "costs": "tokens"},
            code_version="1",
            metadata={
                "dagster/column_schema": metadata.EMBEDDINGS_SCHEMA,
                "dagster/table_name": "chunk_embeddings",
            },
        ),
    ]


def _process(
    context: dg.AssetExecutionContext, config: DocumentsConfig, corpus: CorpusResource
) -> None:
    chosen = context.partition_keys if context.run.is_partitioned else None
    report = RunReport(context, planned=chosen is not None)
    if chosen is None and config.lane == LARGE:
        os.nice(corpus.settings.rag_large_document_nice)  # each run has its own process
    with as_failures(), run_log(), corpus.reporting(context.log.info) as progress:
        summary = process_documents(
            corpus.database,
            corpus.settings,
            open_inbox(corpus.settings),
            run_id=context.run.run_id,
            lane=known_lane(config.lane, DOCUMENT_LANES),
            keys=chosen,
            force=config.force,
            progress=progress,
            on_outcomes=report.add,
        )
    context.log.info(str(summary))
    with as_failures():
        _catch_up(context, corpus, [one.key for one in report.ready])
    for name, ready in by_corpus(report.ready).items():
        report_readable(context, name, [one.key for one in ready])
    _report_run(context, summary, report.rejected)
    if report.failed:
        raise _failure(report.failed)


document_lane = lane_assets(DOCUMENTS)


def _report_run(
    context: dg.AssetExecutionContext, summary: RunSummary, rejected: list[DocumentOutcome]
) -> None:
    """What the run did, on the asset and on the run itself."""
    if not summary.states:
        return
    context.log_event(dg.AssetObservation(CHUNKS, metadata=metadata.of_run(summary, rejected)))
    counts = {f"rag/{state}": str(count) for state, count in summary.states.items()}
    context.instance.add_run_tags(context.run.run_id, counts)


def _catch_up(
    context: dg.AssetExecutionContext, corpus: CorpusResource, reported: Sequence[str]
) -> None:
    """Record what this run has reported, and report what earlier runs could not."""
    with corpus.database.connect() as connection:
        mark_reported(connection, dict.fromkeys(reported, context.run.run_id))
    late = report_published(context.instance, corpus.database, patience_s=_CATCH_UP_S)
    if late:
        context.log.info(f"{late} ready documents of runs that had ended early were reported")


def _failure(failed: list[DocumentOutcome]) -> dg.Failure:
    named = "; ".join(one.error or one.key for one in failed[:_SHOWN])
    more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    return dg.Failure(
        description=f"{count(len(failed), 'document')} could not be processed; the others are "
        f"ready. {named}{more}. `rag-assets documents list --state dead` lists those not retried",
        metadata={
            "error_class": DocumentError.__name__,
            "dead": sum(one.state == "dead" for one in failed),
            "tried_again_later": sum(one.state == "waiting" for one in failed),
            "documents": dg.MetadataValue.md(
                "\n".join(f"- {one.key}: {one.error_class}: {one.error}" for one in failed)
            ),
        },
        allow_retries=False,
    )
