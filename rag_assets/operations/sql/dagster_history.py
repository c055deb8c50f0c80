"""Old runs of Dagster with their events: deleted, except what the status of a partition rests on.

Dagster's own ``delete_run`` deletes a run's materializations too, after which its partitions read
missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.postgres.database import Connection, one

_ENDED = ("SUCCESS", "FAILURE", "CANCELED")
_STATUS_EVENTS = (
    "ASSET_MATERIALIZATION",
    "ASSET_MATERIALIZATION_PLANNED",
    "ASSET_FAILED_TO_MATERIALIZE",
    "ASSET_OBSERVATION",
)
"""What Dagster reads an asset's status and metadata from: the last of each kind."""

_LAST_EVENTS = """
    -- Dagster's index on asset_key, dagster_event_type, partition, id; or that without partition.
    CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
    SELECT e.id, e.run_id FROM event_logs e
     WHERE e.run_id = ANY(%(runs)s) AND e.dagster_event_type = ANY(%(kinds)s)
       AND e.asset_key IS NOT NULL
       AND CASE WHEN e.partition IS NULL THEN NOT EXISTS (
               SELECT FROM event_logs n
                WHERE n.asset_key = e.asset_key AND n.dagster_event_type = e.dagster_event_type
                  AND n.partition IS NULL AND n.id > e.id)
           ELSE NOT EXISTS (
               SELECT FROM event_logs n
                WHERE n.asset_key = e.asset_key AND n.dagster_event_type = e.dagster_event_type
                  AND n.partition = e.partition AND n.id > e.id)
           END
    UNION ALL
    SELECT coalesce(c.evaluation_event_storage_id, 0), c.run_id FROM asset_check_executions c
     WHERE c.run_id = ANY(%(runs)s) AND NOT EXISTS (
           SELECT FROM asset_check_executions n
            WHERE n.asset_key = c.asset_key AND n.check_name = c.check_name
              AND n.partition IS NOT DISTINCT FROM c.partition AND n.id > c.id)
    UNION ALL
    SELECT 0, r.run_id FROM runs r
     WHERE r.run_id = ANY(%(runs)s) AND NOT EXISTS (
           SELECT FROM runs n
            WHERE n.pipeline_name = r.pipeline_name
              AND n.partition IS NOT DISTINCT FROM r.partition AND n.id > r.id)
"""
"""The last run of each job and partition is kept as well, so that a failure stays in sight."""


@dataclass(frozen=True)
class Page:
    """Some old runs.

    :param last: the largest id of their rows; where the next page begins.
    """

    last: int
    run_ids: tuple[str, ...]


def old_runs(dagster: Connection, days: float, *, after: int, limit: int) -> Page | None:
    """Return runs that ended longer ago, by the id of their rows. Uses the primary key."""
    last, run_ids = one(
        dagster.execute(
            """
            SELECT max(id), array_agg(run_id) FROM (
                SELECT id, run_id FROM runs
                 WHERE id > %s AND status = ANY(%s)
                   AND coalesce(end_time, extract(epoch FROM update_timestamp))
                       < extract(epoch FROM now()) - %s * 86400
                 ORDER BY id LIMIT %s) AS old
            """,
            (after, list(_ENDED), days, limit),
        )
    )
    return None if last is None else Page(last, tuple(run_ids))


def delete_history(dagster: Connection, run_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Delete ended runs and their events, in the connection's transaction; return the runs deleted.

    A run stays if a partition's status, latest metadata or check result comes from it; then only
    its other events are deleted, without those of its course (start, steps, end).
    """
    given = {"runs": list(run_ids), "kinds": list(_STATUS_EVENTS)}
    dagster.execute(_LAST_EVENTS, given)
    kept = {run_id for (run_id,) in dagster.execute("SELECT DISTINCT run_id FROM kept")}
    gone = tuple(run_id for run_id in run_ids if run_id not in kept)
    dagster.execute(
        """
        WITH deleted AS (
            DELETE FROM event_logs e
             WHERE e.run_id = ANY(%(runs)s) AND (e.run_id = ANY(%(gone)s) OR (
                   coalesce(e.dagster_event_type, '') !~ '^(PIPELINE|STEP)_'
                   AND e.id NOT IN (SELECT id FROM kept)))
            RETURNING e.id, e.dagster_event_type)
        DELETE FROM asset_event_tags
         WHERE event_id IN (SELECT id FROM deleted WHERE dagster_event_type LIKE 'ASSET%%')
        """,
        {**given, "gone": list(gone)},
    )
    for statement in (
        "DELETE FROM asset_check_executions WHERE run_id = ANY(%s)",
        "DELETE FROM run_tags WHERE run_id = ANY(%s)",
        "DELETE FROM runs WHERE run_id = ANY(%s)",
    ):
        dagster.execute(statement, (list(gone),))
    return gone
