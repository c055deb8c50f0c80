"""Recall of users' searches, by hour, release and plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rag_assets.postgres.database import Connection, fetch_all

WINDOW_H = 24
"""Hours over which recall is averaged."""
ENOUGH = 50
"""Searches from which recall is judged: their ten hits each make a standard error under 0.02."""


@dataclass(frozen=True)
class LiveRecall:
    """Sampled searches of one release, with one plan.

    :param corpus: what was searched: ``bible``, ``documents`` or ``both``.
    :param failed: repetitions that failed, such as those that took too long.
    :param skipped: searches that were not repeated, for the budget.
    :param hits: hits of the exact searches; ``hits_found``: those that users were given.
    """

    release_id: int
    corpus: str
    plan: str
    compared: int = 0
    failed: int = 0
    skipped: int = 0
    hits: int = 0
    hits_found: int = 0

    @property
    def recall(self) -> float | None:
        """Recall@10; ``None`` if exact search found nothing either."""
        return self.hits_found / self.hits if self.hits else None


def add_live_recall(connection: Connection, counted: Iterable[LiveRecall]) -> None:
    """Add searches to those of this hour, in one transaction. Uses the primary key."""
    with connection.transaction():
        for one in counted:
            connection.execute(
                """
                INSERT INTO live_recall AS r (hour, release_id, corpus, plan, compared, failed,
                                              skipped, hits, hits_found)
                VALUES (date_trunc('hour', clock_timestamp()), %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (hour, release_id, corpus, plan) DO UPDATE SET
                    compared = r.compared + EXCLUDED.compared,
                    failed = r.failed + EXCLUDED.failed,
                    skipped = r.skipped + EXCLUDED.skipped,
                    hits = r.hits + EXCLUDED.hits,
                    hits_found = r.hits_found + EXCLUDED.hits_found
                """,
                (one.release_id, one.corpus, one.plan, one.compared, one.failed, one.skipped,
                 one.hits, one.hits_found),
            )  # fmt: skip


def live_recall(connection: Connection) -> tuple[LiveRecall, ...]:
    """Return the active release's searches of the last hours, by plan. Uses the primary key."""
    return fetch_all(
        connection,
        LiveRecall,
        """
        SELECT release_id, corpus, plan, sum(compared)::bigint AS compared,
               sum(failed)::bigint AS failed, sum(skipped)::bigint AS skipped,
               sum(hits)::bigint AS hits, sum(hits_found)::bigint AS hits_found
          FROM live_recall JOIN releases USING (release_id)
         WHERE state = 'active' AND hour > now() - make_interval(hours => %s)
         GROUP BY release_id, corpus, plan ORDER BY corpus, plan
        """,
        (WINDOW_H,),
    )


def delete_live_recall(connection: Connection, days: float) -> int:
    """Delete hours older than ``days``; returns the number of rows. Uses the primary key."""
    return connection.execute(
        "DELETE FROM live_recall WHERE hour < now() - make_interval(secs => %s * 86400.0)", (days,)
    ).rowcount
