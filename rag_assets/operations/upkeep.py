"""What operations has kept for long enough: nothing grows for ever, and no count falls by it."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.documents.sql.attempts import count_attempts, delete_attempts
from rag_assets.operations.sql.dagster_state import delete_ended_runs
from rag_assets.operations.sql.messages import delete_messages
from rag_assets.operations.sql.samples import delete_samples
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings


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
