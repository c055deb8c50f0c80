"""A corpus with data of every kind, and helpers to read its metrics."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from rag_assets.audit.model import AuditReport, Difference
from rag_assets.audit.sql.reports import store_audit
from rag_assets.documents.sql import queue as document_queue
from rag_assets.lanes import LANE_TAG
from rag_assets.operations.backfill import WINDOW_TAG
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.operations.sql import backfill
from rag_assets.operations.windows import Window, backfill_windows
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.sql.live_recall import LiveRecall, add_live_recall
from rag_assets.settings.model import Settings, fingerprint
from rag_assets_tests.documents.queued import MB, new, queue, take
from rag_assets_tests.release.corpus import prepare, release_corpus

SMALL, LARGE, BIBLE = "rag_processing", "rag_large_docs", "rag_bible"
KEY = "sk-test-one"
HEARTBEAT_AGE_S = 30
_SAMPLE = re.compile(r"^(\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)


def samples(text: str) -> dict[str, float]:
    """Samples of an exposition, by name and labels as written."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def metrics_of(settings: Settings, database: Database) -> OperationsMetrics:
    """A newly started exporter's metrics.

    Dagster's tables exist only beside a filled corpus.
    """
    dagster = database.named("filled_dagster") if database.name == "filled" else database
    return OperationsMetrics(settings, corpus=database, dagster=dagster)


def scrape(settings: Settings, database: Database) -> dict[str, float]:
    """The samples now."""
    return samples(metrics_of(settings, database).exposition().decode())


def fill(database: Database, settings: Settings) -> None:
    """Add a released version, documents, costs and failures."""
    prepare(database, settings)
    release_corpus(database, settings)
    fill_documents(database)
    with database.connect() as connection:
        fill_live_recall(connection)
        fill_provider(connection)
        fill_operations(connection)


def fill_documents(database: Database) -> None:
    """Add a document in each state, and a large one.

    One running document is held by a living run, another by a dead one.
    """
    keys = ("ready", "dead", "held", "rests", "left")
    queue(database, *keys, new("large", size=12 * MB, lane=LARGE))
    ids = {document.key: document.document_id for document in take(database)}
    with database.connect(autocommit=True) as connection:
        document_queue.mark_for_retry(connection, ids["ready"], "run", "SomeError", "again", 0)
        document_queue.mark_dead(connection, ids["dead"], "run", "NoTextError", "only pictures")
        document_queue.mark_for_retry(
            connection, ids["rests"], "run", "ProviderUnavailableError", "away", 3600
        )
    take(database, keys=["ready"])
    with database.connect(autocommit=True) as connection:
        document_queue.mark_unchanged(connection, ids["ready"], "run")
        connection.execute(
            "UPDATE documents SET lease_until = now() - interval '1 s' WHERE document_key = 'left'"
        )
    queue(database, "due")


def fill_provider(connection: Connection) -> None:
    """Add the use of one key by two runs; the key is cooling down."""
    for run, requests in (("one", 10), ("two", 5)):
        connection.execute(
            """
            INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id, key_fingerprint,
                   requests, retries, rate_limited, tokens, cost_usd)
            SELECT %s, 'documents', 'documents', min(space_id), %s, %s, 1, 2, 1000, 0.25
              FROM embedding_spaces
            """,
            (run, fingerprint(KEY), requests),
        )
    connection.execute(
        "INSERT INTO provider_keys VALUES ('there', %s, now() + interval '1 hour')",
        (fingerprint(KEY),),
    )
    connection.execute("INSERT INTO provider_limits (endpoint, share) VALUES ('there', 0.5)")
    for state, due in (("submitted", "-2 hours"), ("submitted", "1 day"), ("done", "-1 day")):
        connection.execute(
            """
            INSERT INTO embedding_batches (space_id, version_code, run_id, state, texts, tokens,
                   due_at)
            SELECT min(space_id), 'EN_A', 'run', %s, 9, 90, now() + %s::interval
              FROM embedding_spaces
            """,
            (state, due),
        )


def fill_live_recall(connection: Connection) -> None:
    """Sampled searches of the active release, in two parts, and of one that was never active."""
    one = LiveRecall(1, "both", "ivfflat", compared=2, failed=1, skipped=3, hits=20, hits_found=19)
    add_live_recall(connection, [one, replace(one, hits_found=17), replace(one, release_id=99)])


def last_window() -> Window:
    """Return the latest backfill window."""
    return backfill_windows(Settings()).last(datetime.now(UTC))


def fill_operations(connection: Connection) -> None:
    """A lane that is paused, an incident that is open, runs that ended and two that failed, a
    refusal of the gate, and documents that the backfill let cost something."""
    audited = AuditReport((Difference("missing_vector", "EN_SAMPLE", 1),))
    store_audit(connection, audited, run_id="audit", started_at=datetime.now(UTC))
    backfill.add_documents_cost(connection, last_window().opens, 3, 0.125)
    connection.execute(
        "INSERT INTO paused_lanes (lane, reason, paused_by) VALUES (%s, 'why not', 'command')",
        (LARGE,),
    )
    connection.execute(
        """
        INSERT INTO incidents (state, cause, evidence, began_at)
        VALUES ('escalated', 'unknown', '{}', now())
        """
    )
    connection.execute(
        """
        INSERT INTO ended_runs (run_id, job, status, ended_at, partition, failed_steps, error_class,
                                error, cause)
        SELECT 'failed-' || code, 'bible_embeddings', 'FAILURE', now(), code, '{verse_embeddings}',
               'QuotaExceededError', 'no key has quota', 'QuotaExceededError'
          FROM unnest(ARRAY['EN_A', 'PT_A']) AS code
        """
    )
    connection.execute(
        "INSERT INTO run_totals (job, status, runs, seconds) VALUES ('documents', 'SUCCESS', 3, 9)"
    )
    connection.execute(
        """
        INSERT INTO releases (state, versions, reasons, manifest, code_version, run_id, created_at)
        VALUES ('refused', '{}', '{because}', '{}', '1', 'run', clock_timestamp())
        """
    )


def fill_dagster(instance: dg.DagsterInstance, database: Database) -> None:
    """Add two runs in one lane, one without a lane, one that ended, and heartbeats.

    The backfill's last window has started one, and the one before another.

    :param database: Dagster's own, of this instance.
    """
    for lane, status in (
        (SMALL, dg.DagsterRunStatus.STARTED),
        (SMALL, dg.DagsterRunStatus.STARTED),
        (None, dg.DagsterRunStatus.NOT_STARTED),
        (BIBLE, dg.DagsterRunStatus.SUCCESS),
    ):
        tags = {LANE_TAG: lane} if lane else {}
        instance.add_run(dg.DagsterRun(job_name="a_job", status=status, tags=tags))
    for run_id, key in (("one", last_window().key), ("two", "the window before")):
        status, tags = dg.DagsterRunStatus.SUCCESS, {WINDOW_TAG: key}
        instance.add_run(dg.DagsterRun("a_job", run_id=run_id, status=status, tags=tags))
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO daemon_heartbeats (daemon_type, daemon_id, timestamp, body)
            VALUES ('SENSOR', 'one', (now() AT TIME ZONE 'UTC') - make_interval(secs => %s), '{}')
            """,
            (HEARTBEAT_AGE_S,),
        )
