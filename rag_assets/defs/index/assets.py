"""The asset ``verse_embeddings_index``: one for all partitions of ``verse_embeddings``."""

import dagster as dg

from rag_assets.defs.bible.assets import OWNERS, verse_embeddings
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index import metadata
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.resources import Corpus
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.index.tables import indexed_tables
from rag_assets.progress import LogLines

WHEN_UPSTREAM_CHANGED = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.any_deps_in_progress()
    # What is materialized counts as done, while its checks are still at work: a release that came
    # between would be refused for want of them, and nothing would start it again.
    & ~dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(dg.AutomationCondition.in_progress())
    )
).with_label("when what is upstream changed and nothing of it is in progress")
"""Not ``eager()``: that waits until no partition upstream is missing, which is never."""


@dg.asset(
    deps=[verse_embeddings],
    group_name="index",
    kinds={"postgres", "pgvector"},
    owners=OWNERS,
    tags={"corpus": "bible"},
    code_version="1",
    automation_condition=WHEN_UPSTREAM_CHANGED,
)
def verse_embeddings_index(
    context: dg.AssetExecutionContext, config: IndexConfig, corpus: dg.ResourceParam[Corpus]
) -> dg.MaterializeResult[None]:
    """The IVFFlat index over the small vectors of all versions, rebuilt when the policy says so.

    A build is a new generation beside the one that serves; which one serves is for the release to
    say. Not to rebuild is an outcome, with its reasons in the metadata.
    """
    progress = corpus.progress or LogLines(context.log.info)
    with as_failures():
        with corpus.database.connect() as connection:
            tables = indexed_tables(connection, corpus.settings)
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
