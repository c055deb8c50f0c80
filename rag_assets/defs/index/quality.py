"""The asset ``retrieval_quality``: figures of the golden queries, which Dagster plots over time."""

import dagster as dg

from rag_assets.defs.bible.assets import OWNERS
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.assets import (
    WHEN_UPSTREAM_CHANGED,
    chunk_embeddings_index,
    verse_embeddings_index,
)
from rag_assets.defs.resources import CorpusResource
from rag_assets.errors import RagAssetsError
from rag_assets.index.quality import Quality, measure_quality


@dg.asset(
    deps=[verse_embeddings_index, chunk_embeddings_index],
    group_name="index",
    kinds={"postgres"},
    owners=OWNERS,
    code_version="1",
    automation_condition=WHEN_UPSTREAM_CHANGED,
)
@as_failures()
def retrieval_quality(
    context: dg.AssetExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.MaterializeResult[None]:
    """How well the next release answers the golden queries, by vectors and by hybrid search.

    With RAG_QUALITY_FLOOR, the gate requires this nDCG@10. Without it, a failed measurement is
    reported, but does not prevent a release in the same run.
    """
    try:
        with corpus.reporting(context.log.info) as progress:
            measured = measure_quality(
                corpus.database, corpus.settings, run_id=context.run.run_id, progress=progress
            )
    except RagAssetsError as error:
        if corpus.settings.rag_quality_floor is not None:
            raise
        context.log.warning(f"the golden queries were not asked: {error}")
        return dg.MaterializeResult(metadata={"not_measured": dg.MetadataValue.text(str(error))})
    return dg.MaterializeResult(metadata=_metadata(measured))


def _metadata(quality: Quality | None) -> dict[str, dg.MetadataValue]:
    if quality is None:
        nothing = "RAG_GOLDEN_QUERIES names no file, or there is no decision on an index yet"
        return {"not_measured": dg.MetadataValue.text(nothing)}
    return {
        **{name: dg.MetadataValue.float(float(value)) for name, value in quality.figures.items()},
        "asked": dg.MetadataValue.int(quality.asked),
        "left_out": dg.MetadataValue.int(quality.left_out),
        "missed": dg.MetadataValue.json({k: list(v) for k, v in quality.missed.items()}),
        "explain": dg.MetadataValue.json(list(quality.explain)),
        "wrong_first": dg.MetadataValue.json({k: list(v) for k, v in quality.wrong_first.items()}),
    }
