"""Jobs that fail in an outage: one incident and one message for both."""

# ruff: noqa: F401, F811 -- fixtures of other modules

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from psycopg import sql

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.definitions import build_defs
from rag_assets.defs.resources import CorpusResource
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.findings import Finding
from rag_assets.operations.memory import Memory
from rag_assets.operations.report import read_report
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import Database
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane
from rag_assets_tests.defs.test_failed_jobs import fail, lane
from rag_assets_tests.defs.test_queue_recovery import (
    MakeTicks,
    Ticks,
    make_ticks,
    slack,
)
from rag_assets_tests.documents.queued import queue, take
from rag_assets_tests.operations.filled import scrape

pytestmark = pytest.mark.long

INCIDENTS = "SELECT state, cause, evidence ->> 'subject' FROM incidents ORDER BY incident_id"
FAILING = 'rag_runs_failing{dagster_job="document_upkeep",error_class="DatabaseUnavailableError"}'
NOWHERE = "http://127.0.0.1:9/v1"
AFTER_ITS_CHANCE = 31


@pytest.fixture
def ticks(make_ticks: MakeTicks, instance_beside: dg.DagsterInstance) -> Ticks:
    """Ticks of a recovery that reads Dagster's database, with failures of the provider."""
    made = make_ticks(rag_dagster_database=None, rag_embedding_max_retries=0)
    return replace(made, instance=instance_beside)


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Refuse connections to the corpus, but not to Dagster's database."""
    name = sql.Identifier(database.name)
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with database.named("postgres").connect(autocommit=True) as admin:
        admin.execute(allow.format(name, sql.SQL("false")))
        try:
            yield
        finally:
            admin.execute(allow.format(name, sql.SQL("true")))


def run(ticks: Ticks) -> bool:
    """Execute a run with the deployed resources and without retries; return its result."""
    result = (
        build_defs()
        .resolve_job_def("document_upkeep")
        .execute_in_process(
            instance=ticks.instance, tags={"dagster/max_retries": "0"}, raise_on_error=False
        )
    )
    return result.success


def with_provider(ticks: Ticks, url: str) -> None:
    """Let the recovery find the provider up from now on."""
    changed = ticks.corpus.settings.model_copy(update={"openai_base_url": url})
    ticks.corpus = CorpusResource(changed, ticks.corpus.database)


def later(ticks: Ticks, minutes: float) -> None:
    """Move all events back in time."""
    with ticks.corpus.database.connect() as connection:
        for statement in (
            """
            UPDATE incidents
               SET began_at = began_at - %(ago)s, recovering_at = recovering_at - %(ago)s,
                   ended_at = ended_at - %(ago)s,
                   evidence = evidence || jsonb_build_object('over_at',
                       (evidence ->> 'over_at')::timestamptz - %(ago)s)
            """,
            """
            UPDATE ended_runs
               SET started_at = started_at - %(ago)s, ended_at = ended_at - %(ago)s
            """,
        ):
            connection.execute(statement, {"ago": timedelta(minutes=minutes)})


def jobs_in_doctor(ticks: Ticks) -> list[Finding]:
    settings = ticks.corpus.settings
    return [one for one in diagnose(survey(settings), settings) if one.area == "job"]


def report(ticks: Ticks, name: str = "incident-0001") -> str:
    return read_report(ticks.corpus.database, name).markdown


@pytest.fixture
def database_was_away(ticks: Ticks, database: Database) -> Ticks:
    """A database outage with a waiting document and a failed run, which is over."""
    queue(database, "one")
    ticks.tick()
    with away(database):
        ticks.tick()
        assert not run(ticks)
        ticks.tick()
    ticks.tick()
    return ticks


def test_a_run_that_failed_during_a_database_outage_is_no_incident_of_its_own(
    database_was_away: Ticks, database: Database
) -> None:
    ticks = database_was_away
    for _ in range(2):
        ticks.tick()
    assert [row[1:] for row in ticks.rows(INCIDENTS)] == [("dependency-down", "database")]
    (told,) = ticks.slack.texts
    assert "dependency-down* (database)" in told
    (found,) = jobs_in_doctor(ticks)
    assert found.level == "warning"
    assert "document_upkeep failed in incident-0001: DatabaseUnavailableError: " in found.evidence
    assert "is not currently accepting connections" in found.evidence
    assert FAILING not in scrape(ticks.corpus.settings, database)
    assert "- document_upkeep failed, its work is not done yet; DatabaseUnav" in report(ticks)


def test_a_failure_repaired_after_the_outage_is_never_reported(
    database_was_away: Ticks, database: Database
) -> None:
    ticks = database_was_away
    assert run(ticks)
    ticks.tick()
    assert jobs_in_doctor(ticks) == []
    assert "- document_upkeep failed, a later run has done its work; " in report(ticks)
    later(ticks, AFTER_ITS_CHANCE)
    ticks.tick()
    assert len(ticks.rows(INCIDENTS)) == len(ticks.slack.texts) == 1


def test_a_failure_not_repaired_after_the_outage_is_reported(
    database_was_away: Ticks, database: Database
) -> None:
    ticks = database_was_away
    with database.connect() as connection:
        connection.execute("UPDATE documents SET state = 'ready', ended_at = now()")
    for _ in range(3):
        ticks.tick()
    assert ticks.rows(INCIDENTS) == [("closed", "dependency-down", "database")]
    later(ticks, AFTER_ITS_CHANCE)
    ticks.tick()
    assert ticks.rows(INCIDENTS)[1:] == [("open", "job-failed", "document_upkeep")]
    _, told = ticks.slack.texts
    assert "document_upkeep failed\n" in told
    assert "DatabaseUnavailableError: PostgreSQL answers, and " in told
    assert scrape(ticks.corpus.settings, database)[FAILING] == 1
    (found,) = jobs_in_doctor(ticks)
    assert found.level == "problem"
    assert run(ticks)
    ticks.tick()
    assert ticks.rows(INCIDENTS)[1][0] == "closed"


def test_a_failure_is_reported_although_documents_are_blocked_by_something_else(
    database_was_away: Ticks,
) -> None:
    ticks = database_was_away
    back = datetime.now(UTC) - timedelta(minutes=5)
    memory = Memory.from_cursor(ticks.cursor)
    ticks.cursor = replace(memory, database_back_at=back).to_cursor()
    ticks.tick()
    later(ticks, AFTER_ITS_CHANCE)
    ticks.tick()
    assert [(state != "closed", *rest) for state, *rest in ticks.rows(INCIDENTS)] == [
        (True, "dependency-down", "database"),
        (True, "job-failed", "document_upkeep"),
    ]


def test_a_failure_with_another_cause_during_an_outage_is_reported_immediately(
    ticks: Ticks,
    lane: Lane,
    database: Database,
) -> None:
    queue(database, "one")
    ticks.tick()
    with away(database):
        ticks.tick()
    lane.drop("EN_A", sentences(3), ai_allowed=False)
    assert not lane.run("EN_A").success
    ticks.tick()
    assert [row[1:] for row in ticks.rows(INCIDENTS)] == [
        ("dependency-down", "database"),
        ("job-failed", "bible_embeddings"),
    ]
    assert len(ticks.slack.texts) == 2


def with_restarted_server(ticks: Ticks) -> None:
    """Let the next check find that PostgreSQL was restarted."""
    memory = Memory.from_cursor(ticks.cursor)
    ticks.cursor = replace(memory, server_started_at=datetime(2026, 1, 1, tzinfo=UTC)).to_cursor()


def test_an_outage_between_two_checks_is_reported_once_it_shows_with_its_failed_job(
    ticks: Ticks, database: Database
) -> None:
    queue(database, "held")
    take(database, run_id="gone")
    ticks.tick()
    with away(database):
        assert not run(ticks)
    with_restarted_server(ticks)
    ticks.tick()
    assert ticks.rows(INCIDENTS) == []
    with database.connect() as connection:
        connection.execute("UPDATE documents SET lease_until = '-infinity'")
    for _ in range(2):
        ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "dependency-down", "database")]
    (told,) = ticks.slack.texts
    assert "document_upkeep failed" in told


def test_an_outage_between_two_checks_without_other_damage_is_reported_as_a_failed_job(
    ticks: Ticks, database: Database
) -> None:
    ticks.tick()
    with away(database):
        assert not run(ticks)
    with_restarted_server(ticks)
    ticks.tick()
    assert ticks.rows(INCIDENTS) == []
    later(ticks, 5)
    ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "job-failed", "document_upkeep")]
    assert len(ticks.slack.texts) == 1


def test_a_job_that_failed_in_a_provider_outage_is_named_in_the_incidents_message(
    ticks: Ticks,
    lane: Lane,
    emulator: Emulator,
    database: Database,
) -> None:
    queue(database, "one")
    with_provider(ticks, NOWHERE)
    ticks.tick()
    unavailable(lane, emulator, "EN_A", "PT_C")
    ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "dependency-down", "provider")]
    (told,) = ticks.slack.texts
    assert "bible_embeddings failed for 2 partitions: EN_A, PT_C" in told
    with_provider(ticks, emulator.base_url)
    for _ in range(2):
        ticks.tick()
    assert len(ticks.rows(INCIDENTS)) == len(ticks.slack.texts) == 1
    later(ticks, AFTER_ITS_CHANCE)
    ticks.tick()
    assert ticks.rows(INCIDENTS)[1:] == [("open", "job-failed", "bible_embeddings")]
    assert "EN_A, PT_C" in ticks.slack.texts[1]


def unavailable(lane: Lane, emulator: Emulator, *codes: str) -> None:
    """Runs that the provider fails."""
    emulator.order(Fault(FaultKind.OUTAGE, seconds=3600))
    for code in codes:
        assert not lane.run(code).success
    emulator.clear_faults()


def test_a_cause_reported_by_failed_jobs_is_not_reported_again_for_documents(
    ticks: Ticks,
    lane: Lane,
    emulator: Emulator,
    database: Database,
) -> None:
    unavailable(lane, emulator, "EN_A")
    ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "job-failed", "bible_embeddings")]
    queue(database, "one")
    with_provider(ticks, NOWHERE)
    for _ in range(3):
        ticks.tick()
    assert ticks.rows(INCIDENTS)[1][1:] == ("dependency-down", "provider")
    assert len(ticks.slack.texts) == 1


def test_a_report_about_an_earlier_outage_does_not_count(
    ticks: Ticks,
    lane: Lane,
    emulator: Emulator,
    database: Database,
) -> None:
    unavailable(lane, emulator, "EN_A")
    ticks.tick()
    with database.connect() as connection:
        connection.execute("UPDATE messages SET sent_at = sent_at - interval '2 days'")
    queue(database, "one")
    with_provider(ticks, NOWHERE)
    for _ in range(3):
        ticks.tick()
    assert len(ticks.slack.texts) == 2


def test_a_message_held_for_quiet_hours_is_replaced_by_the_incidents_message(
    ticks: Ticks,
    lane: Lane,
    emulator: Emulator,
    database: Database,
) -> None:
    settings = ticks.corpus.settings
    quiet = settings.model_copy(update={"rag_slack_quiet_hours": "00:00-23:59"})
    ticks.corpus = CorpusResource(quiet, database)
    fail(lane, emulator, "EN_A")
    ticks.tick()
    assert ticks.rows("SELECT subject FROM messages WHERE sent_at IS NULL") == [("incident-1",)]
    queue(database, "one")
    with database.connect() as connection:
        connection.execute(
            "INSERT INTO provider_keys (endpoint, key_fingerprint, out_of_quota_at)"
            " SELECT endpoint, key_fingerprint, now() FROM provider_keys ON CONFLICT DO NOTHING"
        )
    ticks.tick()
    assert [row[1] for row in ticks.rows(INCIDENTS)] == ["job-failed", "out-of-quota"]
    ticks.corpus = CorpusResource(settings, database)
    ticks.tick()
    (told,) = ticks.slack.texts
    assert "out-of-quota" in told
    assert "bible_embeddings failed for EN_A" in told
