"""The spending of the weekend backfill's windows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from rag_assets.postgres.database import Connection

_TICKS_MISSED = timedelta(minutes=12)
"""Two ticks of the backfill and some: then it was stopped, and is not waited for."""


def spent_by_runs(connection: Connection, run_ids: Collection[str]) -> dict[str, float]:
    """Return the dollars that each run has paid. Uses the ledger's primary key."""
    rows = connection.execute(
        "SELECT run_id, coalesce(sum(cost_usd), 0)::float8 FROM embedding_ledger"
        " WHERE run_id = ANY(%s) GROUP BY run_id",
        (list(run_ids),),
    ).fetchall()
    return dict(rows)


def documents_cost(connection: Connection, opens: datetime) -> float:
    """Return the estimated cost of the documents that the window requeued. Uses the primary key."""
    row = connection.execute(
        "SELECT cost_usd FROM backfill_windows WHERE opens = %s", (opens,)
    ).fetchone()
    return float(row[0]) if row else 0.0


def add_documents_cost(
    connection: Connection, opens: datetime, documents: int, cost_usd: float
) -> None:
    """Add the documents that the window requeued. Uses the primary key."""
    connection.execute(
        """
        INSERT INTO backfill_windows AS w (opens, documents, cost_usd) VALUES (%s, %s, %s)
        ON CONFLICT (opens) DO UPDATE SET documents = w.documents + EXCLUDED.documents,
                                          cost_usd = w.cost_usd + EXCLUDED.cost_usd
        """,
        (opens, documents, cost_usd),
    )


def record_tick(connection: Connection, opens: datetime, now: datetime, *, due: bool) -> None:
    """Record whether the window will still start versions. Uses the primary key."""
    connection.execute(
        """
        INSERT INTO backfill_windows (opens, versions_due, ticked_at) VALUES (%s, %s, %s)
        ON CONFLICT (opens) DO UPDATE SET versions_due = EXCLUDED.versions_due,
                                          ticked_at = EXCLUDED.ticked_at
        """,
        (opens, due, now),
    )


def versions_due(connection: Connection, opens: datetime, now: datetime) -> bool:
    """Return what the last tick recorded, unless it is too old. Uses the primary key."""
    row = connection.execute(
        "SELECT versions_due AND %s - ticked_at < %s FROM backfill_windows WHERE opens = %s",
        (now, _TICKS_MISSED, opens),
    ).fetchone()
    return bool(row and row[0])
