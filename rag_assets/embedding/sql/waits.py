"""The versions that wait for batches: the sensor starts their next runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, fetch_all
from rag_assets.vectors.sql.spaces import Space


@dataclass(frozen=True)
class Wait:
    """A version that waits for batches.

    :param run_id: the first run, under which the others go on.
    :param options: the launchpad choices of its run.
    :param ready: whether a run has something to do: results to take in, a batch to begin, or no
        batch to wait for any more.
    """

    version_code: str
    run_id: str
    options: dict[str, object]
    since: datetime
    ready: bool


def begin_wait(
    connection: Connection,
    space: Space,
    version_code: str,
    run_id: str,
    options: Mapping[str, object],
) -> None:
    """Have the sensor go on with a version.

    One that waits already keeps its run and choices, but for a lower limit: the limit of a trial
    would leave unpublished what a whole run has paid for.
    """
    connection.execute(
        """
        INSERT INTO embedding_waits AS w (space_id, version_code, run_id, options)
        VALUES (%s, %s, %s, %s) ON CONFLICT (space_id, version_code) DO UPDATE SET options
            = w.options - 'limit'
           || CASE WHEN w.options ? 'limit' AND EXCLUDED.options ? 'limit'
                   THEN jsonb_build_object('limit', greatest((w.options ->> 'limit')::bigint,
                                                    (EXCLUDED.options ->> 'limit')::bigint))
                   ELSE '{}'::jsonb END
         WHERE w.options ->> 'mode' = EXCLUDED.options ->> 'mode'
        """,
        (space.space_id, version_code, run_id, Jsonb(dict(options))),
    )


def end_wait(connection: Connection, space: Space, version_code: str) -> None:
    """The version is published."""
    connection.execute(
        "DELETE FROM embedding_waits WHERE (space_id, version_code) = (%s, %s)",
        (space.space_id, version_code),
    )


def waits(connection: Connection, spaces: Sequence[int], before: datetime) -> tuple[Wait, ...]:
    """The versions that wait in these spaces, the longest first.

    Uses the partial index on open batches, and ``verses``' on version_code.

    :param before: a batch that could not be begun since then is not tried again yet.
    """
    return fetch_all(
        connection,
        Wait,
        """
        SELECT version_code, run_id, options, since,
               EXISTS (SELECT FROM embedding_batches b
                        WHERE (b.space_id, b.version_code) = (w.space_id, w.version_code)
                          AND (b.state = 'ended' OR b.state = 'prepared'
                               AND coalesce(b.submitting_at, b.prepared_at) < %(before)s))
               OR NOT EXISTS (SELECT FROM embedding_batch_texts t
                                JOIN verses v ON v.text_hash = t.text_hash
                               WHERE t.space_id = w.space_id AND v.version_code = w.version_code)
               AS ready
          FROM embedding_waits w WHERE space_id = ANY(%(spaces)s) ORDER BY since, version_code
        """,
        {"spaces": list(spaces), "before": before},
    )


def waiting_runs(connection: Connection) -> dict[str, str]:
    """The versions that wait for batches, and the first run of each."""
    rows = connection.execute("SELECT version_code, run_id FROM embedding_waits")
    return {str(code): str(run_id) for code, run_id in rows}
