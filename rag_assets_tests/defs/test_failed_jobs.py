"""Jobs that fail while no document waits: one incident and one message per cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.cli.main import app
from rag_assets.definitions import build_defs
from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.run_failures import partition_of
from rag_assets.defs.resources import CorpusResource
from rag_assets.errors import ConfigurationError
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.sql.failed_runs import failing_runs
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import Database
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, Run
from rag_assets_tests.defs.document_lane import DocumentLane
from rag_assets_tests.defs.test_queue_recovery import (  # noqa: F401
    MakeTicks,
    Ticks,
    make_ticks,
    slack,
)
from rag_assets_tests.documents.queued import queue

pytestmark = pytest.mark.long

CODES = ("EN_A", "EN_B", "PT_C")
INCIDENTS = "SELECT state, cause, evidence ->> 'subject', failed_jobs FROM incidents ORDER BY 1, 3"


@pytest.fixture
def ticks(
    make_ticks: MakeTicks,  # noqa: F811
    instance_beside: dg.DagsterInstance,
) -> Ticks:
    """Ticks of a recovery that reads Dagster's own database."""
    return replace(make_ticks(rag_dagster_database=None), instance=instance_beside)


@pytest.fixture
def lane(ticks: Ticks) -> Lane:
    """The Bible lane with three versions that are not embedded."""
    made = Lane(ticks.corpus, ticks.instance)
    for code in CODES:
        made.drop(code, sentences(3, word=code))
    return made


def fail(lane: Lane, emulator: Emulator, *codes: str) -> None:
    """Runs that the provider refuses for lack of quota."""
    emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA))
    for code in codes:
        assert not lane.run(code).success
    emulator.clear_faults()


def test_equal_failures_are_one_incident_and_one_message_that_names_the_partitions(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    fail(lane, emulator, *CODES)
    for _ in range(2):
        ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "job-failed", "bible_embeddings", 3)]
    (told,) = ticks.slack.texts
    assert "bible_embeddings failed for 3 partitions: EN_A, EN_B, PT_C" in told
    assert "QuotaExceededError: " in told
    assert "add a key to OPENAI_API_KEYS" in told
    ((run_id,),) = ticks.rows("SELECT run_id FROM ended_runs WHERE partition = 'PT_C'")
    assert f"/runs/{run_id}" in told
    assert "documents waiting" not in told


def test_the_incident_is_closed_when_the_last_partition_has_succeeded_and_its_report_is_requested(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    fail(lane, emulator, *CODES)
    ticks.tick()
    for code in CODES:
        assert ticks.rows(INCIDENTS)[0][0] == "open"
        assert lane.run(code).success
        answer = ticks.tick()
    assert ticks.rows(INCIDENTS) == [("closed", "job-failed", "bible_embeddings", 3)]
    assert [one.partition_key for one in answer.run_requests or ()] == ["incident-0001"]
    ticks.instance.add_dynamic_partitions("incidents", ["incident-0001"])
    shown = Run(
        build_defs(resources={"corpus": ticks.corpus})
        .resolve_job_def("incident_reports")
        .execute_in_process(instance=ticks.instance, partition_key="incident-0001")
    ).metadata("incident_report")
    assert "QuotaExceededError" in shown["report"]
    assert "EN_A, EN_B, PT_C" in shown["report"]
    assert "the job was run again" in shown["report"]
    assert "Longest queue" not in shown["report"]
    lane.drop("EN_A", sentences(3, word="other"))
    fail(lane, emulator, "EN_A")
    ticks.tick()
    assert [row[0] for row in ticks.rows(INCIDENTS)] == ["closed", "open"]
    assert len(ticks.slack.texts) == 2, "the same cause again, after it was gone, is told again"


def test_a_run_of_the_failed_assets_alone_closes_it_and_one_of_others_does_not(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    fail(lane, emulator, "EN_A", "EN_B")
    assert lane.run("EN_A", job="bible_verses").success
    ticks.tick()
    assert ticks.rows(INCIDENTS)[0][0] == "open", "the verses are not what failed"
    for code in ("EN_A", "EN_B"):
        assert lane.run(code, job="bible_to_release", only=["verse_embeddings"]).success
    ticks.tick()
    assert ticks.rows(INCIDENTS)[0][0] == "closed"


def test_other_causes_are_other_incidents_beside_the_queues(
    ticks: Ticks, lane: Lane, database: Database
) -> None:
    lane.drop("EN_A", sentences(3), ai_allowed=False)
    assert not lane.run("EN_A").success
    (lane.bibles_dir / "EN_B" / "version.toml").write_text("licence = ", "utf-8")
    assert not lane.run("EN_B").success
    ticks.tick()
    queue(database, "one", "two")
    for _ in range(2):
        ticks.tick()
    assert [(cause, subject) for _, cause, subject, _ in ticks.rows(INCIDENTS)] == [
        ("job-failed", "bible_embeddings"),
        ("job-failed", "bible_embeddings"),
        ("unknown", "rag_processing"),
    ]
    assert len(ticks.slack.texts) == 3
    assert "EN_A" not in ticks.slack.texts[1]


def test_cancelled_or_retried_runs_have_not_failed(ticks: Ticks, lane: Lane) -> None:
    job = lane.defs().resolve_job_def("bible_embeddings")
    cancelled, retried, last = (
        ticks.instance.create_run_for_job(
            job,
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": code, **tags},
        )
        for code, tags in zip(CODES, ({}, {"dagster/will_retry": "true"}, {}), strict=True)
    )
    ticks.instance.report_run_canceled(cancelled)
    ticks.instance.report_run_failed(retried)
    ticks.instance.report_run_failed(last, "the process was gone")
    ticks.instance.add_run_tags(last.run_id, {"dagster/will_retry": "false"})
    ticks.instance.add_run_tags(retried.run_id, {"dagster/will_retry": "true"})
    ticks.tick()
    with ticks.corpus.database.connect() as connection:
        (failing,) = failing_runs(connection)
    assert (failing.partition, failing.run_id) == ("PT_C", last.run_id)
    assert "the process was gone" in failing.error
    assert len(ticks.slack.texts) == 1


def test_documents_that_cannot_be_processed_are_dead_letters_and_no_incident(
    ticks: Ticks, lane: Lane
) -> None:
    documents = DocumentLane(
        CorpusResource(
            lane.corpus.settings.model_copy(update={"rag_documents_settle_s": 0}),
            lane.corpus.database,
        ),
        ticks.instance,
    )
    documents.drop("empty.md", "")
    (run,) = documents.work()
    assert run.success
    ticks.tick()
    assert ticks.rows("SELECT error_class, cause, done_steps FROM ended_runs") == [
        (None, None, ["document_lane"])
    ]
    assert ticks.rows(INCIDENTS) == []


def test_an_operator_closes_incidents_that_need_no_rerun(
    ticks: Ticks, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.op
    @as_failures()
    def breaks() -> None:
        raise ConfigurationError("say which")

    @dg.job
    def once() -> None:
        breaks()

    assert not once.execute_in_process(instance=ticks.instance, raise_on_error=False).success
    ticks.tick()
    assert ticks.rows(INCIDENTS) == [("open", "job-failed", "once", 1)]
    assert "ConfigurationError: say which" in ticks.slack.texts[0]
    done = CliRunner().invoke(app, ["incidents", "close", "incident-0001"])
    assert done.exit_code == 0, done.output
    assert "incident-0001 is closed: once" in done.output
    ticks.tick()
    assert [row[0] for row in ticks.rows(INCIDENTS)] == ["closed"]
    again = CliRunner().invoke(app, ["incidents", "close", "incident-0001"])
    assert again.exit_code == 1
    assert "incident-0001 is already closed" in again.output


def test_an_error_with_its_module_in_its_message_is_named_once(ticks: Ticks, lane: Lane) -> None:
    @dg.op
    def breaks() -> None:
        raise dg.DagsterInvariantViolationError("no parts")

    @dg.job
    def broken() -> None:
        breaks()

    broken.execute_in_process(instance=ticks.instance, raise_on_error=False)
    ticks.tick()
    (told,) = ticks.slack.texts
    assert "DagsterInvariantViolationError: no parts" in told


def test_an_unexpected_error_is_named_by_its_class(ticks: Ticks, lane: Lane) -> None:
    @dg.op
    def breaks() -> None:
        raise ZeroDivisionError("no parts")

    @dg.job
    def broken() -> None:
        breaks()

    broken.execute_in_process(instance=ticks.instance, raise_on_error=False)
    ticks.tick()
    (told,) = ticks.slack.texts
    assert "broken failed" in told
    assert "ZeroDivisionError: no parts" in told
    assert "the run's log has the traceback" in told


def test_failures_in_quiet_hours_are_one_message_with_all_partitions(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    settings = ticks.corpus.settings
    ticks.corpus = CorpusResource(
        settings.model_copy(update={"rag_slack_quiet_hours": "00:00-23:59"}), ticks.corpus.database
    )
    for code in CODES:
        fail(lane, emulator, code)
        ticks.tick()
    assert ticks.slack.texts == []
    ticks.corpus = CorpusResource(settings, ticks.corpus.database)
    ticks.tick()
    (told,) = ticks.slack.texts
    assert "3 partitions: EN_A, EN_B, PT_C" in told


def test_the_message_waits_while_other_runs_of_the_job_are_under_way(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    fail(lane, emulator, "EN_A")
    job = lane.defs().resolve_job_def("bible_embeddings")
    queued = ticks.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    ticks.tick()
    assert ticks.rows(INCIDENTS)[0][0] == "open"
    assert ticks.slack.texts == []
    ticks.instance.report_run_canceled(queued)
    ticks.tick()
    assert len(ticks.slack.texts) == 1


def test_the_doctor_says_which_job_and_partition_why_and_what_to_do(
    ticks: Ticks, lane: Lane, emulator: Emulator
) -> None:
    fail(lane, emulator, "EN_A", "PT_C")
    ticks.tick()
    settings = ticks.corpus.settings
    found = [one for one in diagnose(survey(settings), settings) if one.area == "job"]
    ((level, told, command),) = [(one.level, one.evidence, one.command) for one in found]
    assert level == "problem"
    assert "bible_embeddings failed for 2 partitions: EN_A, PT_C" in told
    assert "QuotaExceededError" in told
    assert command.startswith("raise the quota, or add a key to OPENAI_API_KEYS; then re-execute ")
    for code in ("EN_A", "PT_C"):
        assert lane.run(code).success
    ticks.tick()
    assert not [one for one in diagnose(survey(settings), settings) if one.area == "job"]


def test_a_run_of_a_range_and_of_a_lane_have_names() -> None:
    ranged: dict[str, Any] = {
        "dagster/asset_partition_range_start": "a.md",
        "dagster/asset_partition_range_end": "c.md",
        "rag/lane": "rag_processing",
    }
    assert partition_of(dg.DagsterRun("j", tags=ranged)) == "a.md…c.md"
    assert partition_of(dg.DagsterRun("j", tags={"rag/lane": "rag_large_docs"})) == "rag_large_docs"
    assert partition_of(dg.DagsterRun("j", tags={"rag/lane": "rag_bible"})) == ""
