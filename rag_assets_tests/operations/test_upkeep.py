"""What operations deletes in time, and what it never does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rag_assets.documents.sql.attempts import totals
from rag_assets.operations.sql.dagster_state import EndedRun, keep_ended_runs, run_totals
from rag_assets.operations.sql.messages import add_message
from rag_assets.operations.upkeep import Deleted, delete_expired
from rag_assets.postgres.database import Database
from rag_assets_tests.conftest import MakeSettings


def test_old_data_is_deleted_and_the_totals_are_kept(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings(rag_operations_keep_days=10)
    now = datetime.now(UTC)
    for days in (9, 11):
        then = now - timedelta(days=days)
        with database.connect() as connection:
            connection.execute(
                "INSERT INTO document_attempts (document_id, lane, outcome, bytes, started_at,"
                " ended_at) VALUES (1, 'rag_processing', 'succeeded', 1, %s, %s)",
                (then - timedelta(seconds=3), then),
            )
            connection.execute(
                "INSERT INTO queue_samples VALUES (%s, 'rag_processing', 1, 0, 0, 0)", (then,)
            )
            connection.execute("INSERT INTO live_recall VALUES (%s, 1, 'both', 'codes')", (then,))
            run = EndedRun(f"run-{days}", "job", None, "SUCCESS", then, then)
            keep_ended_runs(connection, [run])
            add_message(connection, f"sent-{days}", "words", urgent=False, sent_at=then)
            add_message(connection, f"waits-{days}", "words", urgent=False)
            connection.execute(
                "INSERT INTO incidents (state, cause, evidence, began_at, ended_at)"
                " VALUES ('closed', 'unknown', '{}', %s, %s)",
                (then, then),
            )
    assert delete_expired(database, settings) == Deleted(
        attempts=1, runs=1, samples=1, messages=1, live_recall=1
    )
    assert delete_expired(database, settings) == Deleted(0, 0, 0, 0, 0)
    with database.connect() as connection:
        (total,) = totals(connection)
        (runs,) = run_totals(connection)
        (kept,) = connection.execute("SELECT count(*) FROM incidents").fetchone() or ()
    assert (total.attempts, total.seconds, runs.runs, kept) == (2, 6, 2, 2)
