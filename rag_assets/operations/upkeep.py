"""What operations has kept for long enough: nothing grows for ever, and no count falls by it."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.settings import Settings
from rag_assets.store.dagster_state import delete_ended_runs
from rag_assets.store.database import Database
from rag_assets.store.document_attempts import count_attempts, delete_attempts
from rag_assets.store.messages import delete_messages
from rag_assets.store.samples import delete_samples


@dataclass(frozen=True)
class Forgotten:
    """Rows that were deleted for good."""

    attempts: int
    runs: int
    samples: int
    messages: int


def forget(database: Database, settings: Settings) -> Forgotten:
    """Delete what is older than RAG_OPERATIONS_KEEP_DAYS. Incidents and the days' records stay.

    To be called once a day, or more often.
    """
    days = settings.rag_operations_keep_days
    with database.connect(autocommit=True) as connection:
        count_attempts(connection)  # what is not counted is not deleted
        return Forgotten(
            attempts=delete_attempts(connection, days),
            runs=delete_ended_runs(connection, days),
            samples=delete_samples(connection, days),
            messages=delete_messages(connection, days),
        )
