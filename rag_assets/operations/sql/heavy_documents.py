"""The largest documents in the queue, to find out what is holding it up."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.documents.sql.documents import State
from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class HeavyDocument:
    """A large document, and for how many seconds it has been waiting or in processing."""

    key: str
    lane: Lane
    state: State
    mb: float
    seconds: float


def heavy_documents(
    connection: Connection, *, from_mb: float, limit: int = 5
) -> tuple[HeavyDocument, ...]:
    """Return the largest documents waiting or in processing. Uses the indexes of both states.

    :param from_mb: minimum size in units of 2**20 bytes.
    """
    return fetch_all(
        connection,
        HeavyDocument,
        """
        SELECT document_key AS key, lane, state, bytes / 1048576.0::float8 AS mb,
               extract(epoch FROM now() - CASE state WHEN 'running' THEN started_at
                                                     ELSE queued_at END)::float8 AS seconds
          FROM documents
         WHERE state IN ('waiting', 'running') AND bytes >= %s * 1048576.0::float8
         ORDER BY bytes DESC, document_id LIMIT %s
        """,
        (from_mb, limit),
    )
