"""The Bible lane's assets: ``verses`` and ``verse_embeddings``, one partition per version."""

from collections.abc import Iterator

import dagster as dg

import rag_assets.embedding.providers.openai_client  # noqa: F401 -- takes half a second, before the step is timed
from rag_assets.bible.embed_verses import SpaceReport
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import find_version_folder, read_declaration
from rag_assets.defs.bible import metadata
from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.defs.bible.partitions import bible_versions
from rag_assets.defs.dagster_private import RETRY_NUMBER_TAG
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_log import run_log

OWNERS = ["team:corpus"]
CONTINUES_TAG = "rag/continues"
"""Tag of a run that goes on for another one, whose id it names."""


@dg.asset(
    group_name="bible",
    partitions_def=bible_versions,
    kinds={"python", "postgres"},
    owners=OWNERS,
    tags={"corpus": "bible"},
    code_version="1",
    metadata={"dagster/column_schema": metadata.VERSES_SCHEMA, "dagster/table_name": "verses"},
)
@as_failures()
def verses(
    context: dg.AssetExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.MaterializeResult[None]:
    """The verses of one Bible version, read from its folder into PostgreSQL.

    Plain text without notes, headings and numbers. A verse keeps its id, and its vectors while its
    text is unchanged. A file that cannot be read fails the version and changes nothing.
    """
    EmbeddingConfig.check_ahead(context, "verse_embeddings")
    IndexConfig.check_ahead(context, "verse_embeddings_index")
    code = context.partition_key
    folder = find_version_folder(corpus.settings.rag_bibles_dir, code)
    declaration = read_declaration(folder)
    with corpus.reporting(context.log.info) as progress:
        progress.say(f"reading {folder.path}")
        read = read_version(
            folder.path,
            reading_limits(corpus.settings),
            on_file=lambda path: context.log.debug(f"reading {path}"),
        )
        with corpus.database.connect() as connection:
            loaded = load_verses(
                connection,
                code,
                declaration,
                read.bible,
                source_hash=read.source_hash,
                run_id=context.run.run_id,
            )
    return dg.MaterializeResult(
        metadata=metadata.of_verses(folder.path, declaration, read.bible, loaded),
        data_version=dg.DataVersion(read.source_hash),
    )


@dg.asset(
    deps=[verses],
    group_name="bible",
    partitions_def=bible_versions,
    kinds={"openai", "postgres", "pgvector"},
    owners=OWNERS,
    tags={"corpus": "bible", "costs": "tokens"},
    code_version="1",
    metadata={
        "dagster/column_schema": metadata.VERSE_EMBEDDINGS_SCHEMA,
        "dagster/table_name": "verse_embeddings",
    },
    output_required=False,
)
def verse_embeddings(
    context: dg.AssetExecutionContext,
    config: EmbeddingConfig,
    corpus: dg.ResourceParam[CorpusResource],
) -> Iterator[dg.MaterializeResult[None] | dg.AssetObservation]:
    """A small and a large vector for each verse of one version, paid for once and audited.

    Only verses whose vector is missing or whose text changed are embedded; equal texts share one
    vector. Each answer is stored immediately, so a killed run pays for nothing twice; the version
    becomes visible in one transaction after its audit. While texts are in the provider's batches,
    the partition is observed, not materialized, and its old vectors keep serving.
    """
    with as_failures():
        reports = _embedded(context, config, corpus)
    # Only a link: a version whose folder is gone keeps its data and can still be embedded.
    folder = corpus.settings.rag_bibles_dir / context.partition_key
    if any(report.waiting for report in reports):
        yield dg.AssetObservation(
            context.asset_key,
            partition=context.partition_key,
            description="The provider's batches are under way.",
            metadata=metadata.of_batches(reports),
        )
    else:
        yield dg.MaterializeResult(metadata=metadata.of_verse_embeddings(folder, reports))


def _embedded(
    context: dg.AssetExecutionContext, config: EmbeddingConfig, corpus: CorpusResource
) -> tuple[SpaceReport, ...]:
    code = context.partition_key
    with run_log(), corpus.reporting(context.log.info) as progress:
        reports = embed_spaces(
            corpus.database,
            corpus.settings,
            code,
            config.options(),
            run_id=_run_id(context),
            progress=progress,
        )
    for report in reports:
        for reason in report.rejected:
            context.log.warning(f"{report.space.role}: the provider refused {reason}")
    return reports


def _run_id(context: dg.AssetExecutionContext) -> str:
    """Return the id of the run that began: retries and the batches' runs continue under it."""
    tags = context.run.tags
    root = context.run.root_run_id if RETRY_NUMBER_TAG in tags else None
    return tags.get(CONTINUES_TAG) or root or context.run.run_id
