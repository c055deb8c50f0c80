"""In which order, and in which lane, waiting documents are processed: the commands of operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.lanes import DocumentLane, Lane
from rag_assets.postgres.database import Connection

LARGEST_FILE = 2**62


@dataclass(frozen=True)
class SizeRule:
    """A priority for files of ``at_least`` bytes and of fewer than ``below``."""

    priority: int
    at_least: int = 0
    below: int = LARGEST_FILE


def prioritize(connection: Connection, *, limit: int, lane: Lane | None = None) -> int:
    """Give the longest-waiting documents priority 0 in their lanes; return their number."""
    return connection.execute(
        """
        UPDATE documents SET priority = 0
         WHERE document_id IN (
               SELECT document_id FROM documents
                WHERE state = 'waiting' AND (%(lane)s::text IS NULL OR lane = %(lane)s)
                ORDER BY queued_at, document_id LIMIT %(limit)s
                  FOR UPDATE)
        """,
        {"limit": limit, "lane": lane},
    ).rowcount


def prioritize_by_size(connection: Connection, rules: Sequence[SizeRule]) -> int:
    """Give waiting documents the priority of the first rule that fits; return how many changed.

    Documents that no rule fits, and those with priority 0, keep theirs. Uses the index on waiting
    documents.
    """
    return connection.execute(
        """
        UPDATE documents d SET priority = chosen.priority
          FROM (SELECT DISTINCT ON (w.document_id) w.document_id, r.priority
                  FROM documents w
                  JOIN unnest(%(at_least)s::bigint[], %(below)s::bigint[], %(priorities)s::int[])
                       WITH ORDINALITY AS r (at_least, below, priority, nth)
                    ON w.bytes >= r.at_least AND w.bytes < r.below
                 WHERE w.state = 'waiting' AND w.priority > 0
                 ORDER BY w.document_id, r.nth) AS chosen
         WHERE d.document_id = chosen.document_id AND d.state = 'waiting'
           AND d.priority <> chosen.priority
        """,
        {
            "at_least": [rule.at_least for rule in rules],
            "below": [rule.below for rule in rules],
            "priorities": [rule.priority for rule in rules],
        },
    ).rowcount


def move_large(connection: Connection, *, at_least: int, lane: DocumentLane) -> int:
    """Move waiting documents of this many bytes or more to a lane; return how many moved.

    Uses the index on waiting documents.
    """
    return connection.execute(
        "UPDATE documents SET lane = %(lane)s"
        " WHERE state = 'waiting' AND bytes >= %(at_least)s AND lane <> %(lane)s",
        {"lane": lane, "at_least": at_least},
    ).rowcount
