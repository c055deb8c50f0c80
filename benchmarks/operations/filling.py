"""Databases of the size that a scrape is measured with, in the corpus and in Dagster's storage."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from psycopg import sql

from benchmarks.index.bench import say
from rag_assets.documents.sql.attempts import count_attempts
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import register_space
from rag_assets.vectors.sql.tables import DOCUMENTS, announce, documents_table

ROOT = Path(__file__).parents[2]
UNDER_WAY = 10
UNCOUNTED = 1_000  # attempts since the recovery counted last, of a very busy half minute


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    documents: int
    attempts: int
    ledger: int
    vectors: int
    runs: int


def fill_corpus(database: Database, settings: Settings, sizes: Sizes) -> None:
    """Two in three documents are ready, the rest waits; one in a hundred is dead."""
    say(f"filling: {sizes}")
    with database.connect() as connection:
        register_space(connection, settings, "small")
        _documents(connection, sizes.documents)
        _attempts(connection, sizes.attempts)
    with database.connect(autocommit=True) as connection:
        count_attempts(connection)
    with database.connect() as connection:
        _attempts(connection, min(UNCOUNTED, sizes.attempts))
        _ledger(connection, sizes.ledger)
        _vectors(connection, settings, sizes.vectors)
    with database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _documents(connection: Connection, count: int) -> None:
    connection.execute(
        """
        INSERT INTO documents (document_key, path, bytes, modified, content_hash, state, lane,
                               priority, queued_at, attempts, run_id, lease_until, error_class,
                               error, stored_hash, chunking, title, media_type, language, pages,
                               chunks, tokens, cost_usd, seconds)
        SELECT 'document-' || n, 'a folder/document ' || n || '.pdf', 10000 + n, n::text,
               sha256(n::text::bytea), state, CASE n %% 50 WHEN 0 THEN 'rag_large_docs'
               ELSE 'rag_processing' END, 1, now() - n * interval '1 s', 1, 'run',
               CASE state WHEN 'running' THEN now() + interval '1 h' END,
               CASE state WHEN 'dead' THEN 'NoTextError' END,
               CASE state WHEN 'dead' THEN 'its pages are pictures: set RAG_DOCUMENTS_OCR' END,
               sha256(n::text::bytea), '1024/64', 'The title of document ' || n,
               'application/pdf', 'en', 3, 5, 4000, 0.0001,
               '{"extract": 0.12, "chunk": 0.01, "embed": 1.2, "store": 0.03}'
          FROM generate_series(1, %s) AS n,
               LATERAL (SELECT CASE WHEN n %% 100 = 0 THEN 'dead' WHEN n <= 24 THEN 'running'
                                    WHEN n %% 3 = 0 THEN 'waiting' ELSE 'ready' END) AS s (state)
        """,
        (count,),
    )


def _attempts(connection: Connection, count: int) -> None:
    connection.execute(
        """
        INSERT INTO document_attempts (document_id, lane, run_id, outcome, bytes, started_at,
                                       ended_at)
        SELECT n, 'rag_processing', 'run', CASE n %% 20 WHEN 0 THEN 'failed' ELSE 'succeeded' END,
               10000, now() - n %% 400 * interval '1 s', now()
          FROM generate_series(1, %s) AS n
        """,
        (count,),
    )


def _ledger(connection: Connection, count: int) -> None:
    connection.execute(
        """
        INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id, key_fingerprint,
                                      requests, retries, rate_limited, tokens, cost_usd)
        SELECT 'run-' || n, 'documents', 'documents', min_id, substr(md5((n %% 3)::text), 1, 8),
               n, 1, 2, 1000 * n, 0.00002 * n
          FROM generate_series(1, %s) AS n,
               (SELECT min(space_id) FROM embedding_spaces) AS s (min_id)
        """,
        (count,),
    )


def _vectors(connection: Connection, settings: Settings, count: int) -> None:
    table = documents_table(register_space(connection, settings, "small"))
    announce(connection, table, DOCUMENTS, rows=count)
    connection.execute(
        sql.SQL(
            """
            INSERT INTO {} (chunk_id, collection, document_id, language, embedding, text_hash,
                            run_id)
            SELECT n, %s, n, 'en', array_fill(0.025, ARRAY[%s])::vector, sha256(n::text::bytea),
                   'run'
              FROM generate_series(1, %s) AS n
            """
        ).format(table.identifier),
        (DOCUMENTS, table.space.spec.dimensions, count),
    )


def fill_dagster(database: Database, corpus: Database, folder: Path, runs: int) -> None:
    """Dagster's own tables, with so many runs, ten of them under way.

    Two runs are added by Dagster itself; the others are copies of their rows.
    """
    say(f"filling: {runs:,} runs of Dagster")
    shutil.copy(ROOT / "dagster.yaml", folder)
    os.environ["RAG_DATABASE_URL"] = corpus.conninfo  # Dagster's storage asks the settings
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED):
            tags = {"rag/lane": "rag_processing", "dagster/priority": "1", ".dagster/x": "y"}
            instance.add_run(dg.DagsterRun(job_name="documents", status=status, tags=tags))
    copies = {"SUCCESS": runs - UNDER_WAY, "STARTED": UNDER_WAY}
    with database.connect() as connection:
        columns = connection.execute(
            """
            SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
              FROM information_schema.columns
             WHERE table_name = 'runs' AND column_name NOT IN ('id', 'run_id', 'end_time')
            """
        ).fetchone()
        assert columns is not None
        for status, count in copies.items():
            statement = sql.SQL(
                """
                INSERT INTO runs (run_id, end_time, {0})
                SELECT gen_random_uuid(), CASE status WHEN 'SUCCESS' THEN extract(epoch FROM now())
                       END, {0} FROM runs, generate_series(2, %s) WHERE status = %s
                """
            ).format(sql.SQL(columns[0]))
            connection.execute(statement, (count, status))
        connection.execute(
            """
            INSERT INTO run_tags (run_id, key, value)
            SELECT r.run_id, t.key, t.value FROM runs r,
                   (SELECT DISTINCT key, value FROM run_tags) AS t
             WHERE NOT EXISTS (SELECT FROM run_tags k WHERE k.run_id = r.run_id)
            """
        )
    with database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
