"""A test's inbox, and its documents in the table."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rag_assets.documents.inbox.changes import Cursor
from rag_assets.documents.inbox.inbox import Inbox, open_inbox
from rag_assets.documents.inbox.intake import PATIENCE_S, Intake, take_in
from rag_assets.documents.sql.documents import Document, list_documents
from rag_assets.documents.sql.intake import newest_document
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class Dropped:
    """A folder, the intake of it, and the documents."""

    folder: Path
    database: Database
    settings: Settings

    @property
    def inbox(self) -> Inbox:
        return open_inbox(self.settings)

    def drop(self, path: str, content: str | bytes) -> Path:
        """Write a file."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def scan(
        self,
        *,
        cursor: str | None = None,
        force: bool = False,
        patience_s: float = PATIENCE_S,
        now: float | None = None,
    ) -> Intake:
        """Scan the inbox.

        :param cursor: default: that of a scan that has seen every document and left something.
        """
        if cursor is None:
            with self.database.connect() as connection:
                cursor = str(Cursor(last_id=newest_document(connection)))
        return take_in(
            self.database,
            self.inbox,
            self.settings,
            cursor=cursor,
            force=force,
            patience_s=patience_s,
            clock=time.time if now is None else lambda: now,
        )

    def documents(self) -> list[Document]:
        """All documents, in the order of arrival."""
        with self.database.connect() as connection:
            return list(list_documents(connection, limit=100_000))

    def states(self) -> dict[str, str]:
        """States by path; other documents take precedence over withdrawn ones."""
        found = sorted(self.documents(), key=lambda document: document.state != "withdrawn")
        return {document.path: document.state for document in found}
