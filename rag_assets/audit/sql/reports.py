"""The stored results of audits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rag_assets.audit.model import AuditReport, described
from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class StoredAudit:
    """One audit.

    :param differences: those that were left: kind, scope, space, count, examples, reason.
    """

    audit_id: int
    run_id: str
    started_at: datetime
    ended_at: datetime
    rows: int
    sampled: int
    differences: Sequence[dict[str, Any]]
    repaired: int
    notes: Sequence[str]


def store_audit(
    connection: Connection, report: AuditReport, *, run_id: str, started_at: datetime
) -> None:
    """Store an audit's result."""
    connection.execute(
        """
        INSERT INTO audits (run_id, started_at, rows, sampled, differences, repaired, notes)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (
            run_id,
            started_at,
            report.rows,
            report.sampled,
            Jsonb([described(one) for one in report.differences]),
            report.repaired,
            list(report.notes),
        ),
    )


def last_audit(connection: Connection) -> StoredAudit | None:
    """The last audit. Uses the primary key."""
    found = fetch_all(
        connection,
        StoredAudit,
        """
        SELECT audit_id, run_id, started_at, ended_at, rows, sampled, differences, repaired, notes
          FROM audits ORDER BY audit_id DESC LIMIT 1
        """,
    )
    return found[0] if found else None


@dataclass(frozen=True)
class AuditFigures:
    """The last audit, for the metrics.

    :param left: differences by kind, of those that it left.
    """

    age_s: float
    left: dict[str, int]


def audit_figures(connection: Connection) -> AuditFigures | None:
    """Read the last audit's figures. Uses the primary key."""
    row = connection.execute(
        """
        SELECT extract(epoch FROM now() - ended_at)::float8,
               (SELECT coalesce(jsonb_object_agg(kind, count), '{}')
                  FROM (SELECT one ->> 'kind' AS kind, sum((one ->> 'count')::bigint) AS count
                          FROM jsonb_array_elements(differences) AS one GROUP BY 1) AS kinds)
          FROM audits ORDER BY audit_id DESC LIMIT 1
        """
    ).fetchone()
    return AuditFigures(row[0], row[1]) if row else None


def delete_audits(connection: Connection, days: float) -> int:
    """Delete older audits, except for the last one; return how many."""
    return connection.execute(
        """
        DELETE FROM audits WHERE ended_at < now() - make_interval(secs => %s * 86400)
           AND audit_id < (SELECT max(audit_id) FROM audits)
        """,
        (days,),
    ).rowcount
