"""Delete old operations data without decreasing any counter."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.audit.sql.reports import delete_audits
from rag_assets.documents.sql.attempts import count_attempts, delete_attempts
from rag_assets.operations.sql.dagster_state import delete_ended_runs
from rag_assets.operations.sql.messages import delete_messages
from rag_assets.operations.sql.samples import delete_samples
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class Deleted:
    """The number of rows deleted."""

    attempts: int
    runs: int
    samples: int
    messages: int
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
            audits=delete_audits(connection, days),
        )
