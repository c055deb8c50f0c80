"""The asset ``release``, which changes what is served if the gate passes."""

import dagster as dg
from pydantic import Field

from rag_assets.audit.releasing import judge_again, without_repairs
from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.dagster_private import AUTOMATION_TAG
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.assets import (
    WHEN_UPSTREAM_CHANGED,
    chunk_embeddings_index,
    verse_embeddings_index,
)
from rag_assets.defs.index.quality import retrieval_quality
from rag_assets.defs.resources import CorpusResource
from rag_assets.operations.automation import automation_now
from rag_assets.release.releasing import Released
from rag_assets.release.releasing import release as release_corpus


class ReleaseConfig(dg.Config):
    """Empty fields take the setting's value (see docs/release.md)."""

    leave_out_failing: bool | None = Field(
        None,
        description="Leave out a version whose checks fail, or the documents, and release the "
        "others. Setting: "
        "RAG_RELEASE_LEAVE_OUT_FAILING (false: the whole release is refused).",
    )
    after_rollback: bool = Field(
        False,
        description="A release was rolled back and its cause is fixed: allow the next release.",
    )


@dg.asset(
    name="release",
    deps=[verse_embeddings_index, chunk_embeddings_index, retrieval_quality],
    group_name="release",
    kinds={"postgres"},
    owners=OWNERS,
    code_version="1",
    automation_condition=WHEN_UPSTREAM_CHANGED,
)
@as_failures()
def release_asset(
    context: dg.AssetExecutionContext,
    config: ReleaseConfig,
    corpus: dg.ResourceParam[CorpusResource],
) -> dg.MaterializeResult[None]:
    """What retrieval serves: spaces, index generation, probes and versions, activated atomically.

    It gathers the evidence itself: a check that failed, is missing, or is outdated refuses the
    release, even when this asset is launched alone.
    """
    with (
        corpus.reporting(context.log.info) as progress,
        without_repairs(corpus.database, progress) as repaired,
    ):
        if repaired:  # the checks of this run are older than the data now
            judge_again(
                corpus.database, corpus.settings, run_id=context.run.run_id, progress=progress
            )
        released = release_corpus(
            corpus.database,
            corpus.settings,
            run_id=context.run.run_id,
            leave_out_failing=config.leave_out_failing,
            after_rollback=config.after_rollback,
            keep_model=AUTOMATION_TAG in context.run.tags,
            automation=automation_now(corpus.settings, but=context.run.run_id),
            progress=progress,
        )
    return dg.MaterializeResult(metadata=_metadata(released))


def _metadata(released: Released) -> dict[str, dg.MetadataValue]:
    release, before = released.release, released.before
    small, documents = release.space("bible", "small"), release.space("documents", "small")
    shown: dict[str, dg.MetadataValue] = {
        "release": dg.MetadataValue.int(release.release_id),
        "before": dg.MetadataValue.text(str(before.release_id) if before else "none"),
        "changed": dg.MetadataValue.bool(before is None or before.release_id != release.release_id),
        "versions": dg.MetadataValue.text(", ".join(release.versions)),
        "left_out": dg.MetadataValue.md(
            "\n".join(f"- {code}: {why}" for code, why in released.verdict.left_out.items())
            or "none"
        ),
        "searched": dg.MetadataValue.text(small.searched if small else "exactly"),
        "manifest": dg.MetadataValue.json(dict(release.manifest)),
    }
    if small is not None and small.probes is not None:
        shown["probes"] = dg.MetadataValue.int(small.probes.plain)
    if documents is not None:
        shown["documents_searched"] = dg.MetadataValue.text(documents.searched)
    return shown
