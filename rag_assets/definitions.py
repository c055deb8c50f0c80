"""What is deployed, in full. ``build_defs`` returns it fresh; tests give it their own resources."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from rag_assets.defs.bible import assets, checks, jobs, sensors
from rag_assets.defs.resources import corpus_resource


def build_defs(*, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """The definitions; ``resources`` replace those of the same name."""
    return dg.Definitions(
        assets=[assets.verses, assets.verse_embeddings],
        asset_checks=[checks.verse_embeddings_checks],
        jobs=[jobs.bible_embeddings, jobs.bible_verses, jobs.bible_embedding_plan],
        sensors=[sensors.bible_version_folders],
        resources={"corpus": corpus_resource, **(resources or {})},
        # Steps here are one, or in order: a process for each costs 7 s and gains nothing.
        executor=dg.in_process_executor,
    )


defs = build_defs()
