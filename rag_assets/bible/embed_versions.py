"""One run on one version: policy and budget first, then each of the spaces asked for."""

from __future__ import annotations

from pathlib import Path

from rag_assets.bible.embed_verses import EmbedOptions, SpaceReport, embed_version, forbidden
from rag_assets.bible.plan import SpacePlan, check_budget, plan_version
from rag_assets.bible.versions import VersionFolder, read_declaration
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import BATCH_PRICE, dollars
from rag_assets.vectors.sql.spaces import distinct_roles
from rag_assets.visible import count


def embed_spaces(
    database: Database,
    settings: Settings,
    version_code: str,
    options: EmbedOptions,
    *,
    run_id: str,
    progress: Progress | None = None,
) -> tuple[SpaceReport, ...]:
    """Embed one version in the spaces of ``options.roles``, in that order.

    :raises BudgetExceededError: all of it together would cost more than RAG_MAX_RUN_COST_USD.
    :raises RagAssetsError: as :func:`rag_assets.bible.embed_verses.embed_version`.
    """
    _refuse_withdrawn(settings.rag_bibles_dir, version_code)
    by_batch = settings.needs_key() and options.requests != "live"
    if by_batch or settings.rag_max_run_cost_usd is not None:
        plans = _plans(database, settings, version_code, options)
        share = BATCH_PRICE if options.requests == "batch" else 1.0
        check_budget(settings, plans, share=share)
        for plan in plans:
            if by_batch and plan.texts and progress:
                progress.say(_compared(plan))
    return tuple(
        embed_version(
            database, settings, version_code, options, role, run_id=run_id, progress=progress
        )
        for role in options.roles
    )


def _refuse_withdrawn(bibles_dir: Path, version_code: str) -> None:
    """The declaration on disk counts immediately, before ``verses`` is loaded again.

    A version whose folder is gone keeps what it declared when it was loaded.
    """
    folder = VersionFolder(version_code, bibles_dir / version_code)
    if folder.path.is_dir() and not read_declaration(folder).ai_allowed:
        raise forbidden(version_code)


def _plans(
    database: Database, settings: Settings, version_code: str, options: EmbedOptions
) -> list[SpacePlan]:
    with database.connect() as connection:
        return [
            plan_version(
                connection,
                settings,
                version_code,
                role,
                overwrite=options.mode == "overwrite",
                limit=options.limit,
                batch_size=options.batch_size,
            )
            for role in distinct_roles(settings, options.roles)
        ]


def _compared(plan: SpacePlan) -> str:
    """Both prices and both durations, for the run's log."""
    return (
        f"{plan.version_code} {plan.role}: {count(plan.texts, 'text')}; live "
        f"{dollars(plan.cost_usd)} in {plan.minutes:.0f} min, by batch "
        f"{dollars(plan.batch_cost_usd)} within {plan.batch_hours} h"
    )
