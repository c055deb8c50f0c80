"""The last result of each check, with the revision of the data that it checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class CheckResult:
    """One row.

    :param subject: what was judged: a version's code, ``documents``, ``generation 7``, ``exact``.
    :param reasons: why it failed; empty if it passed.
    :param revision: revision of the version or the documents, or of the whole table for an index.
    """

    subject: str
    check: str
    passed: bool
    reasons: tuple[str, ...]
    measured: Mapping[str, object]
    revision: int
    run_id: str
    evaluated_at: datetime


def record_check(
    connection: Connection,
    table: VectorTable,
    *,
    subject: str,
    check: str,
    reasons: tuple[str, ...],
    measured: Mapping[str, object],
    revision: int,
    run_id: str,
) -> None:
    """Record a result; the check passed if there are no reasons."""
    connection.execute(
        """
        INSERT INTO check_results AS c (corpus, space_id, subject, check_name, passed, reasons,
                                        measured, revision, run_id)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (corpus, space_id, subject, check_name) DO UPDATE
           SET (passed, reasons, measured, revision, run_id, evaluated_at)
             = (EXCLUDED.passed, EXCLUDED.reasons, EXCLUDED.measured, EXCLUDED.revision,
                EXCLUDED.run_id, now())
        """,
        (
            table.corpus,
            table.space.space_id,
            subject,
            check,
            not reasons,
            list(reasons),
            Jsonb(dict(measured)),
            revision,
            run_id,
        ),
    )


def check_results(connection: Connection, table: VectorTable) -> tuple[CheckResult, ...]:
    """All results for one table. Uses the primary key."""
    return fetch_all(
        connection,
        _check_result,
        """
        SELECT subject, check_name AS check, passed, reasons, measured, revision, run_id,
               evaluated_at
          FROM check_results WHERE corpus = %s AND space_id = %s ORDER BY subject, check_name
        """,
        (table.corpus, table.space.space_id),
    )


def _check_result(*, reasons: list[str], **fields: Any) -> CheckResult:
    return CheckResult(reasons=tuple(reasons), **fields)
