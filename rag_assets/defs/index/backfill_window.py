"""A condition for automation: whether the backfill will still start versions in its open window.

Dagster's own conditions see the runs under way, but between the end of one run and the next tick of
the backfill there is none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from rag_assets.errors import RagAssetsError
from rag_assets.operations.sql.backfill import versions_due
from rag_assets.operations.windows import backfill_windows
from rag_assets.postgres.database import open_database
from rag_assets.settings.model import Settings, load_settings


class BackfillHasVersionsDue(dg.AutomationCondition[Any]):
    """True while the open window of the weekend backfill has versions left to start.

    Evaluated where the project's code runs, which the sensor must request.
    """

    @property
    def name(self) -> str:
        return "backfill_has_versions_due"

    def evaluate(self, context: dg.AutomationContext[Any]) -> dg.AutomationResult[Any]:
        subset = context.candidate_subset if due_now() else context.get_empty_subset()
        return dg.AutomationResult(context, subset)


def due_now() -> bool:
    """Whether the open window has versions due; not if that cannot be read."""
    try:
        return window_has_versions_due(load_settings(), datetime.now(UTC))
    except RagAssetsError:  # the run itself reports it
        return False


def window_has_versions_due(settings: Settings, now: datetime) -> bool:
    """Ask the database only while a window is open."""
    window = backfill_windows(settings).open_at(now)
    if window is None:
        return False
    with open_database(settings).connect() as connection:
        return versions_due(connection, window.opens, now)
