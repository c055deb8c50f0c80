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
from rag_assets.index.text_weights import TextWeights, measure_text_weights


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
    reported, but does not prevent a release in the same run. What words count in hybrid search is
    measured beforehand, once for a model and its languages, by parallel verses.
    """
    weights = None
    try:
        with corpus.reporting(context.log.info) as progress:
            weights = measure_text_weights(
                corpus.database, corpus.settings, run_id=context.run.run_id, progress=progress
            )
            measured = measure_quality(
                corpus.database, corpus.settings, run_id=context.run.run_id, progress=progress
            )
    except RagAssetsError as error:
        if corpus.settings.rag_quality_floor is not None:
            raise
        context.log.warning(f"the golden queries were not asked: {error}")
        shown = _of_weights(weights)
        shown["not_measured"] = dg.MetadataValue.text(str(error))
        return dg.MaterializeResult(metadata=shown)
    return dg.MaterializeResult(metadata=_of_weights(weights) | _metadata(measured))


def _of_weights(weights: TextWeights | None) -> dict[str, dg.MetadataValue]:
    if weights is None:
        return {}
    shown: dict[str, dg.MetadataValue] = {
        "text_weights": dg.MetadataValue.json(dict(weights.weights) or "the default")
    }
    if weights.ndcg:
        shown["text_weights_ndcg_at_10"] = dg.MetadataValue.table(
            [
                dg.TableRecord({"pair": str(pair), "weight": weight, "ndcg_at_10": str(of)})
                for pair, by_weight in weights.ndcg.items()
                for weight, of in by_weight.items()
            ]
        )
    return shown


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
