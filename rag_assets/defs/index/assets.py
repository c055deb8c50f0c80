"""The assets ``verse_embeddings_index`` and ``chunk_embeddings_index``, without partitions."""

from typing import Any

import dagster as dg

from rag_assets.defs.bible.assets import OWNERS, verse_embeddings
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index import metadata
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.run_config import check_before_runs
from rag_assets.documents.quality import documents_quality
from rag_assets.index.indexed_tables import ASSETS, indexed_tables
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.progress import LogLines
from rag_assets.vectors.quality import QUALITY_CHECKS, keep_evidence
from rag_assets.vectors.sql.tables import DOCUMENTS, Corpus

_IDLE = (
    ~dg.AutomationCondition.any_deps_in_progress()
    # What is materialized counts as done, while its checks are still at work: a release that came
    # between would be refused for want of them, and nothing would start it again.
    & ~dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(dg.AutomationCondition.in_progress())
    )
)

WHEN_UPSTREAM_CHANGED = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress()
    & _IDLE
).with_label("when upstream assets changed and none is in progress")
"""Not ``eager()``: that waits until no partition upstream is missing, which is never."""

_QUARTER_PASSED: dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey] = (
    dg.AutomationCondition.cron_tick_passed("*/15 * * * *")
)
WHEN_DOCUMENTS_CHANGED = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress()
    & ((dg.AutomationCondition.missing() & _IDLE) | _QUARTER_PASSED.since_last_handled())
).with_label("when documents changed: first when none is in progress, then every 15 min")
"""Documents flow all the time, and those that came since the last decision are served all the same:
waiting until none is in progress might be for ever, and deciding on each is for nothing."""


def _index_asset(
    corpus_name: Corpus,
    *,
    upstream: dg.AssetsDefinition | dg.AssetKey,
    description: str,
    condition: dg.AutomationCondition[Any],
) -> dg.AssetsDefinition:
    @dg.asset(
        name=ASSETS[corpus_name].index,
        deps=[upstream],
        group_name="index",
        kinds={"postgres", "pgvector"},
        owners=OWNERS,
        tags={"corpus": corpus_name},
        code_version="1",
        description=description,
        automation_condition=condition,
    )
    @as_failures()
    def index(
        context: dg.AssetExecutionContext,
        config: IndexConfig,
        corpus: dg.ResourceParam[CorpusResource],
    ) -> dg.MaterializeResult[None]:
        progress = corpus.progress or LogLines(context.log.info)
        with corpus.database.connect() as connection:
            tables = indexed_tables(connection, corpus.settings, corpus_name)
            if corpus_name == "documents" and tables:
                # Their checks judge all of them at once, and no run of theirs is the last one:
                # what the gate asks for is renewed here, before a release that may follow.
                judged = documents_quality(connection, corpus.settings)
                keep_evidence(
                    connection, DOCUMENTS, judged, list(QUALITY_CHECKS), run_id=context.run.run_id
                )
        outcomes = [
            maintain(
                corpus.database,
                corpus.settings,
                table,
                # What a person asks for is about the next release, not the one that serves.
                config.request() if place == 0 else IndexRequest(),
                run_id=context.run.run_id,
                progress=progress,
            )
            for place, table in enumerate(tables)
        ]
        return dg.MaterializeResult(metadata=metadata.of_index(outcomes))

    check_before_runs(index.op, IndexConfig)
    return index


verse_embeddings_index = _index_asset(
    "bible",
    upstream=verse_embeddings,
    description="The IVFFlat index over the small vectors of all versions, rebuilt when the policy "
    "requires it.\n\nA build creates a new generation beside the one in service; the release "
    "decides which one serves. If nothing is built, the metadata gives the reasons.",
    condition=WHEN_UPSTREAM_CHANGED,
)

chunk_embeddings_index = _index_asset(
    "documents",
    upstream=dg.AssetKey(ASSETS["documents"].vectors),
    description="The IVFFlat index over the small vectors of all documents, by the policy of the "
    "verses' index.\n\nDocuments that arrive after a build are indexed immediately, in lists that "
    "were not made for them. When too many rows have changed, it is rebuilt.",
    condition=WHEN_DOCUMENTS_CHANGED,
)
