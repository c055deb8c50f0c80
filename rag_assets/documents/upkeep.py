"""Delete expired data of documents, whether or not anything is processed."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.documents.sql.withdrawal import purge_answers, purge_withdrawn
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class Deleted:
    """What was deleted.

    :param keys: of documents withdrawn longer than RAG_DOCUMENTS_KEEP_DAYS ago.
    :param answers: number of vectors that were not used for that long.
    """

    keys: tuple[str, ...]
    answers: int


def delete_expired(database: Database, settings: Settings) -> Deleted:
    """Delete data older than RAG_DOCUMENTS_KEEP_DAYS. Call it at least once a day."""
    days = settings.rag_documents_keep_days
    with database.connect() as connection:
        keys = purge_withdrawn(connection, days)
    with database.connect() as connection:
        return Deleted(keys, purge_answers(connection, days))
