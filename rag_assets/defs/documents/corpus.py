"""Everything in Dagster that one document corpus has of its own.

The lanes, their sensor, the index and the release are shared by all corpora.
"""

import dagster as dg

from rag_assets.defs.documents.assets import lane_assets
from rag_assets.defs.documents.checks import embeddings_checks
from rag_assets.defs.documents.readable import readable_check
from rag_assets.defs.documents.sensors import inbox_sensor
from rag_assets.documents.sql.corpora import CorpusOptions


def corpus_definitions(options: CorpusOptions) -> dg.Definitions:
    """Build the assets, the checks and the inbox's sensor of a corpus."""
    return dg.Definitions(
        assets=[lane_assets(options.corpus)],
        asset_checks=[embeddings_checks(options.corpus), readable_check(options.corpus)],
        sensors=[inbox_sensor(options)],
    )
