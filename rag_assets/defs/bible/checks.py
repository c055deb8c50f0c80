"""What must be true of a version's vectors before anything downstream may use them.

All four are blocking, of severity ERROR, and judge one partition from the tables themselves.
"""

import warnings
from collections.abc import Iterator

import dagster as dg

from rag_assets.bible.quality import version_quality
from rag_assets.defs.bible.assets import verse_embeddings
from rag_assets.defs.bible.partitions import bible_versions
from rag_assets.defs.check_results import check_result
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.vectors.quality import QUALITY_CHECKS, judge_quality, keep_evidence


def _specs() -> list[dg.AssetCheckSpec]:
    # Partitioned checks are a preview of Dagster's, which is pinned for it: without them a bad
    # version would fail the good ones, too. Its warning is of no use to operators.
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Specifying a partitions_def on an AssetCheckSpec"
        )
        return [
            dg.AssetCheckSpec(
                name,
                asset=verse_embeddings.key,
                description=description,
                blocking=True,
                partitions_def=bible_versions,
            )
            for name, description in QUALITY_CHECKS.items()
        ]


@dg.multi_asset_check(name="verse_embeddings_checks", specs=_specs(), can_subset=True)
def verse_embeddings_checks(
    context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> Iterator[dg.AssetCheckResult]:
    """Judge one version in each of its spaces, and keep the results for the gate."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    code = context.partition_key
    with as_failures(), corpus.database.connect() as connection:
        spaces = version_quality(connection, corpus.settings, code)
        keep_evidence(connection, code, spaces, wanted, run_id=context.run.run_id)
    for verdict in judge_quality(spaces):
        if verdict.check in wanted:
            yield check_result(verse_embeddings.key, verdict, spaces, rows="verses")
