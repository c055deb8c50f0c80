"""Checks of the vectors of a document corpus, which a release requires.

Each document is audited in the transaction that publishes it. These checks evaluate the tables and
store the evidence for the gate, in the jobs `documents_index` and `documents_release`. The
automation does not start them, because Dagster omits the index's own checks from a run that selects
other checks by name; the index asset stores the same evidence instead.
"""

from collections.abc import Iterator

import dagster as dg

from rag_assets.defs.check_results import check_result
from rag_assets.defs.documents.metadata import embeddings_of
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.corpora import asset_name
from rag_assets.documents.quality import documents_quality
from rag_assets.vectors.quality import QUALITY_CHECKS, judge_quality, keep_evidence
from rag_assets.vectors.sql.tables import DOCUMENTS


def embeddings_checks(name: str) -> dg.AssetChecksDefinition:
    """Build the checks of a corpus."""
    asset = embeddings_of(name)

    @dg.multi_asset_check(
        name=asset_name(name, "embeddings_checks"),
        specs=[
            dg.AssetCheckSpec(check, asset=asset, description=description, blocking=True)
            for check, description in QUALITY_CHECKS.items()
        ],
        can_subset=True,
    )
    def checks(
        context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[CorpusResource]
    ) -> Iterator[dg.AssetCheckResult]:
        """Evaluate all documents in each of their spaces, and store the results for the gate."""
        wanted = {key.name for key in context.selected_asset_check_keys}
        with as_failures():
            IndexConfig.check_ahead(context, "chunk_embeddings_index")
        with as_failures(), corpus.database.connect() as connection:
            spaces = documents_quality(connection, corpus.settings, name)
            keep_evidence(connection, name, spaces, wanted, run_id=context.run.run_id)
        for verdict in judge_quality(spaces):
            if verdict.check in wanted:
                yield check_result(asset, verdict, spaces, rows="chunks")

    return checks


document_embeddings_checks = embeddings_checks(DOCUMENTS)
