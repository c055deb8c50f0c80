"""Mark a run's sessions with its id: if the server has none of them, its process is gone."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from rag_assets.postgres.database import Connection, Database

_NAME = "run {}"


def named_for_run(database: Database, run_id: str) -> Database:
    """The same database, with sessions that are marked with the run's id."""
    return Database(make_conninfo(database.conninfo, application_name=_NAME.format(run_id)))


def runs_with_sessions(connection: Connection) -> frozenset[str]:
    """Runs that have a session in this database now, including runs on documents."""
    rows = connection.execute(
        """
        SELECT DISTINCT substring(application_name FROM 'run (\\S+)$') FROM pg_stat_activity
         WHERE datname = current_database() AND application_name ~ '^(documents of )?run \\S+$'
        """
    ).fetchall()
    return frozenset(row[0] for row in rows)
