"""What must be true of a version's vectors before anything downstream may use them.

All four are blocking, of severity ERROR, and judge one partition from the tables themselves.
"""

import warnings
from collections.abc import Iterator

import dagster as dg

from rag_assets.defs.bible.assets import verse_embeddings
from rag_assets.defs.bible.partitions import bible_versions
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import Corpus
from rag_assets.embedding.quality import (
    CHECKS,
    SpaceQuality,
    Verdict,
    judge,
    keep_evidence,
    version_quality,
)

_SHOWN = 3  # rows at fault in the description; the metadata has up to ten of each space


def _specs() -> list[dg.AssetCheckSpec]:
    # Partitioned checks are a preview of Dagster's, which is pinned for it: without them a bad
    # version would fail the good ones, too. Its warning says nothing to those who run this.
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
            for name, description in CHECKS.items()
        ]


@dg.multi_asset_check(name="verse_embeddings_checks", specs=_specs(), can_subset=True)
def verse_embeddings_checks(
    context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[Corpus]
) -> Iterator[dg.AssetCheckResult]:
    """Judge one version in each of its spaces, and keep the results for the gate."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    code = context.partition_key
    with as_failures(), corpus.database.connect() as connection:
        spaces = version_quality(connection, corpus.settings, code)
        keep_evidence(connection, code, spaces, wanted, run_id=context.run.run_id)
    for verdict in judge(spaces):
        if verdict.check in wanted:
            yield _result(verdict, spaces)


def _result(verdict: Verdict, spaces: tuple[SpaceQuality, ...]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=verdict.check,
        asset_key=verse_embeddings.key,
        passed=not verdict.failures,
        severity=dg.AssetCheckSeverity.ERROR,
        description=_description(verdict),
        metadata={
            **{f"verses_{judged.space.role}": judged.counts.verses for judged in spaces},
            **{f"embedded_{judged.space.role}": judged.counts.embedded for judged in spaces},
            **{f"space_{judged.space.role}": str(judged.space.spec) for judged in spaces},
            "examples": dg.MetadataValue.md("\n".join(f"- {row}" for row in verdict.examples)),
        },
    )


def _description(verdict: Verdict) -> str | None:
    """The failures, and the first rows at fault: what a notification shows."""
    if not verdict.failures:
        return None
    shown = "; ".join(verdict.examples[:_SHOWN])
    return "; ".join(verdict.failures) + (f" ({shown})" if shown else "")
