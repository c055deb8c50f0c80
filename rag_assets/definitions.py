"""Everything that is deployed. ``build_defs`` creates it; tests pass their own resources."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from rag_assets.defs.bible.assets import verse_embeddings, verses
from rag_assets.defs.bible.batch_sensor import embedding_batches
from rag_assets.defs.bible.checks import verse_embeddings_checks
from rag_assets.defs.bible.jobs import bible_embedding_plan, bible_embeddings, bible_verses
from rag_assets.defs.bible.sensors import bible_version_folders
from rag_assets.defs.corpora import corpora_definitions
from rag_assets.defs.documents.jobs import (
    document_dead_letters,
    document_processing,
    document_upkeep,
)
from rag_assets.defs.documents.sensors import document_queue
from rag_assets.defs.index.assets import (
    chunk_embeddings_index,
    depending_on,
    verse_embeddings_index,
)
from rag_assets.defs.index.checks import (
    chunk_embeddings_index_checks,
    verse_embeddings_index_checks,
)
from rag_assets.defs.index.quality import retrieval_quality
from rag_assets.defs.operations.capacity import capacity_record, capacity_report
from rag_assets.defs.operations.corpus_audit import audit_job, corpus_audit
from rag_assets.defs.operations.incidents import incident_report, incident_reports
from rag_assets.defs.operations.recovery import queue_recovery
from rag_assets.defs.operations.schedules import (
    build_schedules,
    nightly_index_job,
    nightly_index_late,
)
from rag_assets.defs.release.assets import release_asset
from rag_assets.defs.release.jobs import (
    bible_to_release,
    corpus_index,
    corpus_release,
    documents_index,
    documents_release,
    release_automation,
)
from rag_assets.defs.resources import corpus_resource, watched_corpus_resource


def build_defs(*, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Build the definitions; ``resources`` replace those with the same names."""
    of_corpora, corpora = corpora_definitions()
    explicit = dg.Definitions(
        assets=[
            verses,
            verse_embeddings,
            verse_embeddings_index,
            depending_on(chunk_embeddings_index, corpora),
            retrieval_quality,
            release_asset,
            capacity_report,
            corpus_audit,
            incident_report,
        ],
        asset_checks=[
            verse_embeddings_checks,
            verse_embeddings_index_checks,
            chunk_embeddings_index_checks,
        ],
        jobs=[
            bible_embeddings,
            bible_verses,
            bible_embedding_plan,
            corpus_index,
            corpus_release,
            bible_to_release,
            document_processing,
            document_dead_letters,
            document_upkeep,
            documents_index,
            documents_release,
            nightly_index_job,
            capacity_record,
            audit_job,
            incident_reports,
        ],
        schedules=build_schedules(),
        sensors=[
            bible_version_folders,
            embedding_batches,
            document_queue,
            queue_recovery,
            nightly_index_late,
            release_automation,
        ],
        resources={
            "corpus": corpus_resource,
            "watched_corpus": watched_corpus_resource,
            **(resources or {}),
        },
        # Jobs have one step, or steps in sequence: a process per step costs 7 s and gains nothing.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(explicit, of_corpora)


defs = build_defs()
