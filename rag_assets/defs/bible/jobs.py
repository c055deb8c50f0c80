"""Jobs of the Bible lane: load and embed a version, load it only, or plan without writing."""

import dagster as dg
from pydantic import Field

from rag_assets.bible.plan import SpacePlan, batch_hours, plan_versions
from rag_assets.defs.bible.assets import verse_embeddings, verses
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.lanes import BIBLE_LANE, LANE_TAG
from rag_assets.vectors.prices import amount, together

bible_embeddings = dg.define_asset_job(
    "bible_embeddings",
    selection=dg.AssetSelection.assets(verses, verse_embeddings),
    tags={LANE_TAG: BIBLE_LANE},
    description="Read one version's files, embed what is missing, and check it.",
)

bible_verses = dg.define_asset_job(
    "bible_verses",
    selection=dg.AssetSelection.assets(verses).without_checks(),
    tags={LANE_TAG: BIBLE_LANE},
    description="Read one version's files into the database; nothing is sent to a provider.",
)


class PlanConfig(dg.Config):
    """Which versions to plan."""

    versions: list[str] = Field(
        default_factory=list,
        description="Version codes. Default: all that are loaded or on disk.",
    )
    overwrite: bool = Field(False, description="Assume that every verse is embedded again.")


@dg.op(out=dg.Out(dg.Nothing), tags={"corpus": "bible"})
@as_failures()
def plan_bible_embeddings(
    context: dg.OpExecutionContext, config: PlanConfig, corpus: dg.ResourceParam[CorpusResource]
) -> None:
    """Per version: rows to embed, reused, tokens, dollars and time, live and by batches."""
    with corpus.database.connect() as connection:
        plans = plan_versions(
            connection,
            corpus.settings,
            config.versions,
            overwrite=config.overwrite,
            warn=context.log.warning,
        )
    context.log.info(plan_table(plans))
    tokens, remote = sum(plan.tokens for plan in plans), corpus.settings.needs_key()
    context.log_event(
        dg.AssetObservation(
            verse_embeddings.key,
            description="What embedding the versions would cost now.",
            metadata={
                "plan": dg.MetadataValue.md(plan_table(plans)),
                "cost_usd": together(plan.cost_usd for plan in plans),
                "minutes": sum(plan.minutes for plan in plans),
                "batch_cost_usd": together(plan.batch_cost_usd for plan in plans),
                "batch_hours": batch_hours(tokens, corpus.settings) if remote else None,
                "tokens": tokens,
            },
        )
    )


@dg.job(
    description="Estimate what embedding would cost: the plan is in the run's log and among "
    "the observations of verse_embeddings."
)
def bible_embedding_plan() -> None:
    """One step; writes nothing to the corpus."""
    plan_bible_embeddings()


def plan_table(plans: list[SpacePlan]) -> str:
    """Format plans as a Markdown table with a row of totals."""
    lines = [
        "| version | space | rows | reused | new texts | tokens | USD | requests | minutes "
        "| batch USD | batch hours |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {plan.version_code} | {plan.role} | {plan.rows} | {plan.reused} | {plan.texts} "
        f"| {plan.tokens} | {amount(plan.cost_usd)} | {plan.requests} | {plan.minutes:.1f} "
        f"| {_or_none(plan.batch_cost_usd, '.4f')} | {_or_none(plan.batch_hours, 'd')} |"
        for plan in plans
    ]
    lines.append(
        f"| **all** | | {sum(p.rows for p in plans)} | {sum(p.reused for p in plans)} "
        f"| {sum(p.texts for p in plans)} | {sum(p.tokens for p in plans)} "
        f"| {amount(together(p.cost_usd for p in plans))} | {sum(p.requests for p in plans)} "
        f"| {sum(p.minutes for p in plans):.1f} "
        f"| {_or_none(together(p.batch_cost_usd for p in plans), '.4f')} | |"
    )
    return "\n".join(lines)


def _or_none(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
