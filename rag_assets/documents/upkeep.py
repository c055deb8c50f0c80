"""What has to be forgotten in time, whether or not anything is processed."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.documents.sql.withdrawal import purge_answers, purge_withdrawn
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class Forgotten:
    """What was deleted for good.

    :param keys: of documents that were withdrawn RAG_DOCUMENTS_KEEP_DAYS ago.
    :param answers: vectors that were bought so long ago and that nobody has come for.
    """

    keys: tuple[str, ...]
    answers: int


def forget(database: Database, settings: Settings) -> Forgotten:
    """Delete what has been kept for long enough. To be called once a day, or more often."""
    days = settings.rag_documents_keep_days
    with database.connect() as connection:
        keys = purge_withdrawn(connection, days)
    with database.connect() as connection:
        return Forgotten(keys, purge_answers(connection, days))
