"""Jobs that lead to a release: from the index, or from a version's files."""

import warnings

import dagster as dg

from rag_assets.defs.bible.assets import verse_embeddings, verses
from rag_assets.defs.documents.assets import EMBEDDINGS
from rag_assets.defs.index.assets import chunk_embeddings_index, verse_embeddings_index
from rag_assets.defs.index.quality import retrieval_quality
from rag_assets.defs.release.assets import release_asset

DOCUMENTS_CHECKS = dg.AssetSelection.checks_for_assets(EMBEDDINGS)

corpus_index = dg.define_asset_job(
    "corpus_index",
    selection=dg.AssetSelection.assets(verse_embeddings_index),
    description="Decide on the index, build it if needed, and check it.",
)

corpus_release = dg.define_asset_job(
    "corpus_release",
    selection=dg.AssetSelection.assets(verse_embeddings_index, retrieval_quality, release_asset),
    description="Decide on the index, check it, and release it if the gate passes.",
)

documents_index = dg.define_asset_job(
    "documents_index",
    selection=DOCUMENTS_CHECKS | dg.AssetSelection.assets(chunk_embeddings_index),
    description="Check the documents' vectors, decide on their index, build it if needed, and "
    "check it.",
)

documents_release = dg.define_asset_job(
    "documents_release",
    selection=DOCUMENTS_CHECKS
    | dg.AssetSelection.assets(chunk_embeddings_index, retrieval_quality, release_asset),
    description="Check the documents' vectors, decide on their index, check it, and release it if "
    "the gate passes.",
)

bible_to_release = dg.define_asset_job(
    "bible_to_release",
    selection=dg.AssetSelection.assets(
        verses, verse_embeddings, verse_embeddings_index, retrieval_quality, release_asset
    ),
    description="All steps for one version: files, vectors, index, checks, release.",
)

with warnings.catch_warnings():  # beta of Dagster, which is pinned for it
    warnings.simplefilter("ignore", dg.BetaWarning)
    release_automation = dg.AutomationConditionSensorDefinition(
        "release_automation",
        target=dg.AssetSelection.assets(
            verse_embeddings_index, chunk_embeddings_index, retrieval_quality, release_asset
        ),
        default_status=dg.DefaultSensorStatus.RUNNING,
        use_user_code_server=True,  # for our own condition
        minimum_interval_seconds=10,
        description="Starts verse_embeddings_index and release when vectors changed, none are "
        "being embedded, and the backfill has no versions left in its open window; "
        "chunk_embeddings_index and release after the first documents, then at most every 15 "
        "minutes. Stop it to release by hand only.",
    )
