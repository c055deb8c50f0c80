"""Ended attempts are counted once each, even if more end during the count."""

from __future__ import annotations

import threading

from rag_assets.documents.sql.attempts import bounds, count_attempts, delete_attempts, totals
from rag_assets.postgres.database import Connection, Database

LANE = "rag_processing"


def end(connection: Connection, *, seconds: float = 1, outcome: str = "succeeded") -> None:
    """Add an attempt that ended just now."""
    connection.execute(
        """
        INSERT INTO document_attempts (document_id, lane, outcome, bytes, started_at, ended_at)
        SELECT 1, %s, %s, 1, at - make_interval(secs => %s), at FROM clock_timestamp() AS at
        """,
        (LANE, outcome, seconds),
    )


def test_attempts_that_end_during_a_count_are_counted_once(database: Database) -> None:
    attempts = 400

    def go_on() -> None:
        with database.connect(autocommit=True) as connection:
            for _ in range(attempts):
                end(connection)

    ending = threading.Thread(target=go_on)
    ending.start()
    counted = 0
    with database.connect(autocommit=True) as connection:
        while ending.is_alive():
            counted += count_attempts(connection)
        ending.join()
        counted += count_attempts(connection)
        assert counted == attempts
        (only,) = totals(connection)
        assert only.attempts == sum(only.buckets) == attempts


def test_buckets_include_their_upper_bound(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        limits = bounds(connection)
        for limit in limits:
            end(connection, seconds=limit)
        end(connection, seconds=limits[-1] + 1)
        (only,) = totals(connection)
        assert only.buckets == (1,) * (len(limits) + 1)
        count_attempts(connection)
        delete_attempts(connection, days=0)
        assert totals(connection) == (only,)
