"""Ready documents that are not reported to Dagster yet. The table is authoritative."""

from __future__ import annotations

from collections.abc import Mapping

from rag_assets.documents.sql.documents import Document, find_documents
from rag_assets.postgres.database import Connection


def lock_unreported(
    connection: Connection, *, after: int = 0, limit: int = 100
) -> tuple[Document, ...]:
    """Lock ready documents whose last run has not been reported, in order of ``document_id``.

    The locks last until the connection's transaction ends: meanwhile no document is withdrawn,
    claimed or reported by another process. Documents locked elsewhere are skipped. Uses the index
    documents_unreported.

    :param after: the last ``document_id`` of the previous page.
    """
    rows = connection.execute(
        """
        SELECT document_key FROM documents
         WHERE state = 'ready' AND reported_run IS DISTINCT FROM run_id AND document_id > %s
         ORDER BY document_id LIMIT %s FOR UPDATE SKIP LOCKED
        """,
        (after, limit),
    ).fetchall()
    return find_documents(connection, [row[0] for row in rows])


def mark_reported(connection: Connection, reported: Mapping[str, str]) -> None:
    """Record that a run's results are reported to Dagster.

    A document processed by another run since then is left to that run's report.

    :param reported: the run by document key.
    """
    connection.execute(
        """
        UPDATE documents d SET reported_run = d.run_id
          FROM unnest(%s::text[], %s::text[]) AS reported (document_key, run_id)
         WHERE d.document_key = reported.document_key AND d.run_id = reported.run_id
           AND d.state = 'ready'
        """,
        (list(reported.keys()), list(reported.values())),
    )
