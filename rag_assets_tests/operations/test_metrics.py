"""The metrics of a corpus with data of every kind."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from rag_assets.index.sql.builds import analyze
from rag_assets.operations.metrics import OperationsMetrics
from rag_assets.operations.sql.vector_metrics import COUNTED_ROWS, approximate_rows
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets.vectors.sql.spaces import register_space
from rag_assets.vectors.sql.tables import VectorTable, announce, bible_table
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.operations.filled import (
    HEARTBEAT_AGE_S,
    KEY,
    LARGE,
    SMALL,
    metrics_of,
    samples,
    scrape,
)

SPACE = "offline/lexical-char-ngrams-v1 halfvec(64)"
K = fingerprint(KEY)


@pytest.fixture(scope="module")
def seen(filled: Database) -> dict[str, float]:
    """One scrape of the filled corpus."""
    return scrape(corpus_settings(filled), filled)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f'rag_queue_length{{lane="{SMALL}"}}', 3),  # rests, left by a dead run, due
        (f'rag_queue_length{{lane="{LARGE}"}}', 1),
        (f'rag_queue_due{{lane="{SMALL}"}}', 2),
        ('rag_watches', 0),
        (f'rag_worker_active_jobs{{lane="{SMALL}"}}', 1),
        (f'rag_worker_active_jobs{{lane="{LARGE}"}}', 0),
        # Three that ended (one of them twice) and two that did not.
        (f'rag_jobs_started_total{{lane="{SMALL}"}}', 6),
        (f'rag_jobs_completed_total{{lane="{SMALL}",status="succeeded"}}', 1),
        (f'rag_jobs_completed_total{{lane="{SMALL}",status="failed"}}', 2),
        (f'rag_jobs_completed_total{{lane="{SMALL}",status="dead"}}', 1),
        (f'rag_jobs_completed_total{{lane="{LARGE}",status="succeeded"}}', 0),
        (f'rag_job_duration_seconds_count{{lane="{SMALL}"}}', 4),
        (f'rag_job_duration_seconds_bucket{{lane="{SMALL}",le="+Inf"}}', 4),
        (f'rag_job_duration_seconds_bucket{{lane="{LARGE}",le="300.0"}}', 0),
        ('rag_dead_letters{error_class="NoTextError"}', 1),
        ('rag_dead_letters{error_class="WorkerLostError"}', 0),
        (f'rag_lane_paused{{lane="{LARGE}"}}', 1),
        ('rag_lane_paused{lane="rag_bible"}', 0),
        (f'rag_embedding_requests_total{{key="{K}"}}', 15),
        (f'rag_embedding_retries_total{{key="{K}"}}', 2),
        (f'rag_embedding_rate_limited_total{{key="{K}"}}', 4),
        (f'rag_embedding_tokens_total{{key="{K}"}}', 2000),
        (f'rag_embedding_cost_usd_total{{key="{K}"}}', 0.5),
        (f'rag_provider_key_resting{{key="{K}"}}', 1),
        ("rag_provider_share", 0.5),
        ('rag_batches_open{state="submitted"}', 2),
        ('rag_batches_open{state="ended"}', 0),
        ('rag_batches_closed_total{state="done"}', 1),
        ('rag_batches_closed_total{state="given up"}', 0),
        ("rag_batch_texts_waiting", 0),
        ("inprogress_index_builds", 0),
        (f'rag_vectors{{corpus="bible",space="{SPACE}"}}', 60),
        (f'rag_vectors{{corpus="documents",space="{SPACE}"}}', 0),
        (f'rag_index_stale{{corpus="bible",space="{SPACE}"}}', 0),
        ("rag_active_release", 1),
        (f'rag_check_passed{{check="freshness",corpus="bible",space="{SPACE}",subject="EN_A"}}', 1),
        (f'rag_check_passed{{check="recall_at_10",corpus="bible",space="{SPACE}",'
         'subject="generation 1"}', 1),
        ('rag_live_recall_at_10{corpus="both",plan="ivfflat"}', 0.9),
        ('rag_live_recall_searches{corpus="both",outcome="compared",plan="ivfflat"}', 4),
        ('rag_live_recall_searches{corpus="both",outcome="failed",plan="ivfflat"}', 2),
        ('rag_live_recall_searches{corpus="both",outcome="skipped",plan="ivfflat"}', 6),
        ("rag_live_recall_floor", 0.95),
        ('rag_runs_completed_total{dagster_job="documents",status="SUCCESS"}', 3),
        (
            'rag_runs_failing{dagster_job="bible_embeddings",error_class="QuotaExceededError"}',
            2,
        ),
        ('rag_incident_open{state="escalated"}', 1),
        ('rag_incident_open{state="open"}', 0),
        ("rag_incidents_total", 1),
        (f'rag_runs{{lane="{SMALL}",status="STARTED"}}', 2),
        ('rag_runs{lane="none",status="NOT_STARTED"}', 1),
        ('rag_runs{lane="rag_bible",status="STARTED"}', 0),
        ('rag_daemon_heartbeat_age_seconds{daemon="SCHEDULER"}', float("inf")),
        ('rag_database_up{database="corpus"}', 1),
        ('rag_database_up{database="dagster"}', 1),
        ("rag_disk_floor_bytes", 5e9),
        ("rag_index_rebuild_share", 0.2),
        ("rag_backfill_budget_usd", 5),
        ("rag_backfill_window_spent_usd", 0.25 + 0.125),  # one run's, and documents'
    ],
)  # fmt: skip
def test_the_figures_are_right(seen: dict[str, float], name: str, value: float) -> None:
    assert seen[name] == value


def test_sizes_and_ages_are_exported(seen: dict[str, float]) -> None:
    index = f'rag_index_bytes{{corpus="bible",generation="1",space="{SPACE}"}}'
    assert 0 < seen[index] < seen[f'rag_vectors_bytes{{corpus="bible",space="{SPACE}"}}']
    for name in ("rag_active_release_age_seconds", "rag_release_refused_age_seconds"):
        assert 0 < seen[name] < 600
    assert 0 < seen[f'rag_oldest_waiting_seconds{{lane="{LARGE}"}}'] < 600
    age = seen['rag_daemon_heartbeat_age_seconds{daemon="SENSOR"}']
    assert HEARTBEAT_AGE_S <= age < HEARTBEAT_AGE_S + 600
    assert seen['rag_disk_free_bytes{place="home"}'] > 0
    assert seen['rag_disk_free_bytes{place="database"}'] > 0
    assert 0 < seen['rag_exporter_read_seconds{database="corpus"}'] < 5


def test_an_empty_corpus_exports_zeros(database: Database, openai_settings: MakeSettings) -> None:
    found = scrape(openai_settings(), database)
    for lane in (SMALL, LARGE):
        assert found[f'rag_queue_length{{lane="{lane}"}}'] == 0
        assert found[f'rag_jobs_started_total{{lane="{lane}"}}'] == 0
        assert found[f'rag_job_duration_seconds_count{{lane="{lane}"}}'] == 0
        for status in ("succeeded", "failed", "dead", "lost", "returned", "superseded"):
            assert found[f'rag_jobs_completed_total{{lane="{lane}",status="{status}"}}'] == 0
    assert found[f'rag_embedding_cost_usd_total{{key="{K}"}}'] == 0
    assert found[f'rag_provider_key_resting{{key="{K}"}}'] == 0
    assert found["rag_provider_share"] == 1
    assert found["rag_backfill_window_spent_usd"] == 0
    assert found["rag_active_release"] == 0
    assert "rag_active_release_age_seconds" not in found
    assert "rag_release_refused_age_seconds" not in found


def test_no_key_and_no_password_is_shown(database: Database, openai_settings: MakeSettings) -> None:
    text = metrics_of(openai_settings(), database).exposition().decode()
    assert KEY not in text
    assert database.conninfo not in text


@contextmanager
def closed(database: Database) -> Iterator[None]:
    """Refuse connections to a database within the block."""
    name = sql.Identifier(database.name)
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def test_a_database_outage_is_reported_and_breaks_nothing_else(
    database: Database, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = metrics_of(make_settings(rag_metrics_cache_s=0), database)

    def now() -> dict[str, float]:
        return samples(metrics.exposition().decode())

    with caplog.at_level(logging.INFO, "rag_assets.operations"):
        assert now()['rag_database_up{database="corpus"}'] == 1
        with closed(database):
            for _ in range(2):
                found = now()
                assert found['rag_database_up{database="corpus"}'] == 0
                assert not [name for name in found if name.startswith("rag_queue")]
                assert found['rag_disk_free_bytes{place="home"}'] > 0
        assert now()['rag_database_up{database="corpus"}'] == 1
    told = [record.message for record in caplog.records if "database corpus" in record.message]
    assert len(told) == 2  # once each
    assert told[1] == "database corpus answers again"


def test_a_database_that_was_never_migrated_is_unusable_not_a_crash(
    database: Database, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    found = scrape(make_settings(), database.named("template1"))
    assert found['rag_database_up{database="corpus"}'] == 0
    assert "`rag-assets db migrate`" in caplog.text


def test_a_slow_statement_is_cancelled(database: Database, make_settings: MakeSettings) -> None:
    with database.connect() as connection:
        connection.execute("LOCK TABLE documents")
        found = scrape(make_settings(rag_probe_timeout_s=0.2), database)
    assert found['rag_database_up{database="corpus"}'] == 0
    assert found['rag_exporter_read_seconds{database="corpus"}'] < 2


def test_figures_are_cached_for_a_while(database: Database, make_settings: MakeSettings) -> None:
    now = [0.0]
    metrics = OperationsMetrics(
        make_settings(rag_metrics_cache_s=5),
        corpus=database,
        dagster=database.named("nowhere"),
        clock=lambda: now[0],
    )

    def incidents() -> float:
        return samples(metrics.exposition().decode())["rag_incidents_total"]

    assert incidents() == 0
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO incidents (state, cause, evidence, began_at)"
            " VALUES ('closed', 'unknown', '{}', now())"
        )
    now[0] = 4.9
    assert incidents() == 0
    now[0] = 5.0
    assert incidents() == 1


def test_a_refusal_before_the_active_release_is_not_exported(
    database: Database, make_settings: MakeSettings
) -> None:
    with database.connect() as connection:
        connection.execute(
            """
            INSERT INTO releases (state, versions, reasons, manifest, code_version, run_id,
                                  created_at, activated_at)
            VALUES ('active', '{}', '{}', '{}', '1', 'run', now() - interval '3 h', now()),
                   ('refused', '{}', '{because}', '{}', '1', 'run', now() - interval '1 h', NULL)
            """
        )
    found = scrape(make_settings(), database)
    assert found["rag_active_release"] == 1
    assert "rag_release_refused_age_seconds" not in found


def test_results_about_removed_subjects_are_omitted(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings(rag_embedding_small_dimensions=8)
    with database.connect() as connection:
        space = register_space(connection, settings, "small")
        for subject in ("generation 1", "EN_GONE", "exact"):
            connection.execute(
                """
                INSERT INTO check_results (corpus, space_id, subject, check_name, passed, reasons,
                                           measured, revision, run_id)
                VALUES ('bible', %s, %s, 'some_check', false, '{}', '{}', 1, 'run')
                """,
                (space.space_id, subject),
            )
        connection.execute(
            """
            INSERT INTO index_decisions (corpus, space_id, action, reasons, rows, revision, run_id)
            VALUES ('bible', %s, 'exact', '{}', 1, 1, 'run')
            """,
            (space.space_id,),
        )
    found = [name for name in scrape(settings, database) if name.startswith("rag_check_passed")]
    (only,) = found
    assert 'subject="exact"' in only


def many_vectors(database: Database, settings: Settings, rows: int) -> VectorTable:
    """Add this many vectors, recorded as a change."""
    with database.connect() as connection:
        table = bible_table(register_space(connection, settings, "small"))
        announce(connection, table, "EN_A", rows=rows)
        connection.execute(
            sql.SQL(
                """
                INSERT INTO {} (verse_id, version_code, language, book, chapter, embedding,
                                text_hash, run_id)
                SELECT n, 'EN_A', 'en', 'GEN', 1, '[1,0,0,0,0,0,0,0]', '', 'run'
                  FROM generate_series(1, %s) AS n
                """
            ).format(table.identifier),
            (rows,),
        )
    return table


@pytest.mark.parametrize("rows", [0, 7, COUNTED_ROWS])
def test_few_vectors_are_counted(
    database: Database, make_settings: MakeSettings, rows: int
) -> None:
    table = many_vectors(database, make_settings(rag_embedding_small_dimensions=8), rows)
    with database.connect() as connection:
        assert approximate_rows(connection, table) == rows


def test_many_vectors_are_estimated_before_and_after_the_first_analyze(
    database: Database, make_settings: MakeSettings
) -> None:
    rows = 10 * COUNTED_ROWS
    table = many_vectors(database, make_settings(rag_embedding_small_dimensions=8), rows)
    with database.connect(autocommit=True) as connection:
        assert approximate_rows(connection, table) == rows  # what was written
        analyze(connection, table)
        assert abs(approximate_rows(connection, table) - rows) < rows / 20
        # Grown since: by the pages, not by the old figure.
        connection.execute(
            sql.SQL(
                "INSERT INTO {0} SELECT verse_id + 1000000, version_code, language, book, chapter,"
                " embedding, text_hash, run_id FROM {0}"
            ).format(table.identifier)
        )
        assert abs(approximate_rows(connection, table) - 2 * rows) < rows / 10


def test_every_name_follows_prometheus_conventions(seen: dict[str, float]) -> None:
    for name in seen:
        assert re.match(r"(rag_[a-z0-9_]+|inprogress_index_builds)(\{|$)", name), name
