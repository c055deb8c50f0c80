"""Delete old operations data without decreasing any counter, and Dagster's old runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag_assets.audit.sql.reports import delete_audits
from rag_assets.documents.sql.attempts import count_attempts, delete_attempts
from rag_assets.operations.sql.dagster_history import delete_history, old_runs
from rag_assets.operations.sql.dagster_state import delete_ended_runs
from rag_assets.operations.sql.messages import delete_messages
from rag_assets.operations.sql.samples import delete_samples
from rag_assets.postgres.database import Database
from rag_assets.retrieval.sql.live_recall import delete_live_recall
from rag_assets.settings.model import Settings

_RUNS_TOGETHER = 50


@dataclass(frozen=True)
class Deleted:
    """The number of rows deleted."""

    attempts: int
    runs: int
    samples: int
    messages: int
    live_recall: int = 0
    audits: int = 0


def delete_expired(database: Database, settings: Settings) -> Deleted:
    """Delete data older than RAG_OPERATIONS_KEEP_DAYS, except incidents and capacity records."""
    days = settings.rag_operations_keep_days
    with database.connect(autocommit=True) as connection:
        count_attempts(connection)  # only counted attempts are deleted
        return Deleted(
            attempts=delete_attempts(connection, days),
            runs=delete_ended_runs(connection, days),
            samples=delete_samples(connection, days),
            messages=delete_messages(connection, days),
            live_recall=delete_live_recall(connection, days),
            audits=delete_audits(connection, days),
        )


def delete_dagster_history(
    dagster: Database, days: float, *, forget: Callable[[Sequence[str]], None] = lambda _: None
) -> int:
    """Delete Dagster's runs that ended longer ago, and their events; return the number of runs.

    What a partition's status, latest metadata or check result comes from is kept.

    :param forget: called with the ids of old runs, to delete what is stored elsewhere for them.
    """
    deleted, after = 0, 0
    while True:
        with dagster.connect() as connection:
            page = old_runs(connection, days, after=after, limit=_RUNS_TOGETHER)
            if page is None:
                return deleted
            deleted += len(delete_history(connection, page.run_ids))
        forget(page.run_ids)
        after = page.last
