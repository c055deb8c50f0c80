"""What Dagster already does, or will do, about a refused release."""

from __future__ import annotations

from datetime import UTC, datetime

from rag_assets.errors import RagAssetsError
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.operations.dependencies import probe_daemon
from rag_assets.operations.sql.dagster_state import (
    daemon_heartbeats,
    is_stopped,
    late_for_their_run,
    planned_works,
)
from rag_assets.postgres.database import dagster_database
from rag_assets.release.refusal import Automation
from rag_assets.settings.model import Settings


def automation_now(settings: Settings, *, but: str = "") -> Automation:
    """Read the runs under way; nothing while Dagster's database is unreachable.

    :param but: a run to leave out, such as the one that asks.
    """
    try:
        with dagster_database(settings).connect() as dagster:
            works, heartbeats = planned_works(dagster, but=but), daemon_heartbeats(dagster)
            automatic = not is_stopped(dagster, "release_automation")
            due = late_for_their_run(dagster, {of.index: of.vectors for of in ASSETS.values()})
    except RagAssetsError:  # the verdict does not depend on it
        return Automation()
    alive = probe_daemon(heartbeats, datetime.now(UTC)).ok and bool(heartbeats)
    return Automation(works, alive, settings.rag_index_nightly_at, alive and automatic, due)
