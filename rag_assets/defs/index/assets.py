"""The assets ``verse_embeddings_index`` and ``chunk_embeddings_index``, without partitions."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from rag_assets.audit.releasing import without_repairs
from rag_assets.defs.bible.assets import OWNERS, verse_embeddings
from rag_assets.defs.documents.metadata import embeddings_of
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index import metadata
from rag_assets.defs.index.backfill_window import BackfillHasVersionsDue
from rag_assets.defs.index.changed_meanwhile import ChangedDuringLastRun
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.quality import keep_documents_evidence
from rag_assets.index.indexed_tables import ASSETS, indexed_tables
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.vectors.sql.tables import Corpus

_BEING_CHECKED = dg.AutomationCondition.any_checks_match(dg.AutomationCondition.in_progress())
_IDLE = (
    ~dg.AutomationCondition.any_deps_in_progress()
    # An asset counts as materialized while its checks are still running. A release started then
    # would be refused because their results are missing, and nothing would start it again.
    & ~dg.AutomationCondition.any_deps_match(_BEING_CHECKED)
    & ~_BEING_CHECKED
)

_UPDATED_OR_FIRST = (
    dg.AutomationCondition.newly_updated() | dg.AutomationCondition.initial_evaluation()
)
_TOO_LATE = _UPDATED_OR_FIRST & ChangedDuringLastRun()
_HANDLED = (
    # A request is the end of it, even if its run fails or the release is refused.
    (dg.AutomationCondition.newly_requested() | _UPDATED_OR_FIRST)
    & ~_TOO_LATE
    & ~dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
)
_UPSTREAM_CHANGED = (
    (dg.AutomationCondition.any_deps_updated() | _TOO_LATE)
    .since(_HANDLED)
    .with_label("upstream assets changed since the last run began")
)
"""Not ``since_last_handled``: what was published during a run would wait for the next change, as
would what was published between a run and the sensor's first evaluation."""

WHEN_UPSTREAM_CHANGED = (
    _UPSTREAM_CHANGED & ~dg.AutomationCondition.in_progress() & _IDLE
).with_label("when upstream assets changed and none is in progress")
"""Not ``eager()``, which waits until no upstream partition is missing, i.e. forever."""

WHEN_VERSIONS_CHANGED = (WHEN_UPSTREAM_CHANGED & ~BackfillHasVersionsDue()).with_label(
    "when versions changed, none is in progress, and the backfill has none left in its window"
)

_QUARTER_PASSED: dg.AutomationCondition[dg.AssetKey | dg.AssetCheckKey] = (
    dg.AutomationCondition.cron_tick_passed("*/15 * * * *")
)
WHEN_DOCUMENTS_CHANGED = (
    _UPSTREAM_CHANGED
    & ~dg.AutomationCondition.in_progress()
    & ((dg.AutomationCondition.missing() & _IDLE) | _QUARTER_PASSED.since_last_handled())
).with_label("when documents changed: first once none is in progress, then every 15 min")
"""Documents arrive all the time, and new ones are served without a decision on the index. Waiting
until none is in progress could last forever, and deciding after each document would be useless."""


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
        with (
            corpus.reporting(context.log.info) as progress,
            without_repairs(corpus.database, progress),
        ):
            with corpus.database.connect() as connection:
                tables = indexed_tables(connection, corpus.settings, corpus_name)
                if corpus_name == "documents" and tables:
                    # The documents' checks cover all documents, and no run of theirs is the last
                    # one, so the gate's evidence is renewed here, before a possible release.
                    keep_documents_evidence(connection, corpus.settings, run_id=context.run.run_id)
            outcomes = [
                maintain(
                    corpus.database,
                    corpus.settings,
                    table,
                    # An operator's options apply to the next release, not to the active one.
                    config.request() if place == 0 else IndexRequest(),
                    run_id=context.run.run_id,
                    progress=progress,
                )
                for place, table in enumerate(tables)
            ]
        return dg.MaterializeResult(metadata=metadata.of_index(outcomes))

    return index


def depending_on(index: dg.AssetsDefinition, corpora: Sequence[str]) -> dg.AssetsDefinition:
    """The documents' index with the vectors of all these corpora upstream."""
    return index.map_asset_specs(
        lambda spec: spec.replace_attributes(deps=[embeddings_of(name) for name in corpora])
    )


verse_embeddings_index = _index_asset(
    "bible",
    upstream=verse_embeddings,
    description="The IVFFlat index over the small vectors of all versions, rebuilt when the policy "
    "requires it.\n\nA build creates a new generation beside the active one; a release switches to "
    "it. A decision not to rebuild is also a result, with its reasons in the metadata.",
    condition=WHEN_VERSIONS_CHANGED,
)

chunk_embeddings_index = _index_asset(
    "documents",
    upstream=dg.AssetKey(ASSETS["documents"].vectors),
    description="The IVFFlat index over the small vectors of all documents, by the verses' policy."
    "\n\nDocuments added after a build are indexed immediately, in lists that were computed "
    "without them: when too many rows have changed, it is rebuilt beside the active one. Without "
    "documents there is nothing to decide.",
    condition=WHEN_DOCUMENTS_CHANGED,
)
