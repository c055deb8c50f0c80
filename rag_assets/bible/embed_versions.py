"""One run on one version: policy and budget first, then each of the spaces asked for."""

from __future__ import annotations

from pathlib import Path

from rag_assets.bible.embed_verses import EmbedOptions, SpaceReport, embed_version, forbidden
from rag_assets.bible.plan import check_budget, plan_version
from rag_assets.bible.versions import VersionFolder, read_declaration
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import BATCH_PRICE
from rag_assets.vectors.sql.spaces import distinct_roles


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
    if settings.rag_max_run_cost_usd is not None:
        _refuse_over_budget(database, settings, version_code, options)
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


def _refuse_over_budget(
    database: Database, settings: Settings, version_code: str, options: EmbedOptions
) -> None:
    with database.connect() as connection:
        plans = [
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
    share = BATCH_PRICE if options.requests == "batch" else 1.0
    check_budget(settings, plans, share=share)
