"""An audit from its start to its stored result, with a repair if one is wanted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from rag_assets.audit.compare import Request, audit
from rag_assets.audit.model import AuditReport
from rag_assets.audit.repair import RepairPlan, Status, plan_repair, repair
from rag_assets.audit.sql.reports import store_audit
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings

Approve = Callable[[AuditReport, RepairPlan], bool]
"""Shown what was found and what a repair would do; returns whether to do it."""


def run_audit(
    database: Database,
    settings: Settings,
    *,
    run_id: str,
    status: Status | None,
    approve: Approve | None,
    sample: int | None = None,
    progress: Progress,
) -> AuditReport:
    """Compare, repair what is approved, and store what is left.

    :param status: ``None`` if Dagster's partitions are not to be compared.
    :param approve: ``None``: nothing is repaired.
    :param sample: instead of RAG_AUDIT_SAMPLE.
    :raises BudgetExceededError: the repair would cost too much; the result is stored.
    """
    started_at = datetime.now(UTC)
    request = Request(
        settings.rag_audit_sample if sample is None else sample, keep_answers=approve is not None
    )
    report = audit(
        database, settings, request, run_id=run_id,
        partitions=status.compare if status else None, progress=progress,
    )  # fmt: skip
    try:
        if approve is not None and report.differences:
            plan = plan_repair(database, settings, report)
            if plan.differences and approve(report, plan):
                report = repair(
                    database, settings, report, run_id=run_id, status=status, progress=progress
                )
    finally:
        with database.connect() as connection:
            store_audit(connection, report, run_id=run_id, started_at=started_at)
    return report
