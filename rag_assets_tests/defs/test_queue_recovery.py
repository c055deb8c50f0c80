"""The recovery's sensor: real ticks on a real database, a real instance, and a server for Slack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType
from dagster._utils import get_run_crash_explanation
from psycopg import sql

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.definitions import build_defs
from rag_assets.defs.operations.recovery import queue_recovery
from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres.database import Database
from rag_assets.settings.model import fingerprint
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Run
from rag_assets_tests.documents.queued import queue, state, take
from rag_assets_tests.embedding.shop import Shop
from rag_assets_tests.operations.slack_receiver import Receiver, receiving

ROOT = Path(__file__).parents[2]
LANE = "rag_processing"


@dataclass
class Ticks:
    """A series of ticks of the sensor, each with the cursor of the previous one."""

    corpus: CorpusResource
    instance: dg.DagsterInstance
    slack: Receiver
    cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.instance, resources={"watched_corpus": self.corpus}, cursor=self.cursor
        )
        answer = queue_recovery(context)
        assert isinstance(answer, dg.SensorResult)
        self.cursor = answer.cursor
        return answer

    def started(self, run_id_of: str = LANE) -> str:
        """A run that counts as started."""
        job = build_defs(resources={"corpus": self.corpus}).resolve_job_def("document_processing")
        run = self.instance.create_run_for_job(job, tags={"rag/lane": run_id_of})
        self.instance.report_dagster_event(
            DagsterEvent(DagsterEventType.RUN_START.value, job.name), run.run_id
        )
        return run.run_id

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.corpus.database.connect() as connection:
            return connection.execute(query).fetchall()


def said(answer: dg.SensorResult) -> str:
    """Why a tick requests nothing."""
    return answer.skip_reason.skip_message or "" if answer.skip_reason else ""


MakeTicks = Callable[..., Ticks]


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def make_ticks(
    openai_settings: MakeSettings,
    database: Database,
    instance: dg.DagsterInstance,
    slack: Receiver,
    tmp_path: Path,
) -> MakeTicks:
    """Ticks without waiting: whatever lasts from one to the next has lasted long enough."""
    (tmp_path / "inbox").mkdir()

    def make(**overrides: object) -> Ticks:
        values: dict[str, object] = {
            "rag_documents_url": str(tmp_path / "inbox"),
            "rag_dagster_database": database.name,  # without Dagster's tables: nothing ran
            "rag_no_worker_s": 0.001,
            "rag_recovery_check_s": 60,
            "rag_recovery_steady_s": 0.001,
            "slack_webhook_url": slack.url,
        }
        return Ticks(
            CorpusResource(openai_settings(**(values | overrides)), database), instance, slack
        )

    return make


def test_a_quiet_tick_only_stores_a_sample_of_each_lane(make_ticks: MakeTicks) -> None:
    ticks = make_ticks()
    for _ in range(3):
        answer = ticks.tick()
        assert not answer.run_requests
        assert said(answer) == (
            "rag_processing: 0 waiting, 0 running; rag_large_docs: 0 waiting, 0 running"
        )
    assert ticks.rows(
        "SELECT lane, count(*), sum(waiting) FROM queue_samples GROUP BY 1 ORDER BY 1"
    ) == [
        ("rag_large_docs", 3, 0),
        ("rag_processing", 3, 0),
    ]
    assert ticks.rows("SELECT * FROM incidents") == ticks.rows("SELECT * FROM messages") == []
    assert ticks.slack.texts == []


def test_unclaimed_documents_get_a_run_an_incident_and_one_message(
    make_ticks: MakeTicks, database: Database
) -> None:
    ticks = make_ticks()
    queue(database, "one", "two")
    ticks.tick()
    answer = ticks.tick()
    (request,) = answer.run_requests or ()
    assert (request.job_name, request.tags["rag/lane"]) == ("document_processing", LANE)
    assert request.run_config == {"ops": {"document_lane": {"config": {"lane": LANE}}}}
    ticks.tick()
    assert ticks.rows("SELECT incident_id, state, cause, longest_queue FROM incidents") == [
        (1, "open", "unknown", 2)
    ]
    assert ticks.rows(
        "SELECT DISTINCT incident_id, action, subject, done FROM recovery_actions"
        " WHERE incident_id IS NOT NULL"
    ) == [(1, "start_run", LANE, True)]
    (told,) = ticks.slack.texts
    assert "Incident 1: *unknown* (rag_processing)" in told
    assert "Done: start run rag_processing." in told
    assert "rag-assets doctor" in told


def test_the_incident_is_closed_once_work_resumes_and_its_report_is_written(
    make_ticks: MakeTicks, database: Database
) -> None:
    ticks = make_ticks()
    queue(database, "one", "two")
    for _ in range(2):
        ticks.tick()
    with database.connect() as connection:
        connection.execute("UPDATE documents SET state = 'ready', ended_at = now()")
    ticks.tick()
    answer = ticks.tick()
    (request,) = answer.run_requests or ()
    assert (request.job_name, request.partition_key) == ("incident_reports", "incident-0001")
    assert request.run_key == "incident-0001:closed"
    (added,) = answer.dynamic_partitions_requests or ()
    assert list(added.partition_keys) == ["incident-0001"]
    ticks.instance.add_dynamic_partitions("incidents", ["incident-0001"])
    run = Run(
        build_defs(resources={"corpus": ticks.corpus})
        .resolve_job_def("incident_reports")
        .execute_in_process(
            instance=ticks.instance, partition_key="incident-0001", raise_on_error=False
        )
    )
    shown = run.metadata("incident_report")
    assert (shown["cause"], shown["state"], shown["longest_queue"]) == ("unknown", "closed", 2)
    assert (shown["documents_affected"], shown["documents_waited"]) == (0, 2)
    for part in ("Began", "Lasted", "Longest queue", "Merely waited", "Failed jobs", "Root cause",
                 "What was done", "What prevents it", "start run rag_processing"):  # fmt: skip
        assert part in shown["report"]
    assert "data:image/png;base64," in shown["queue_and_completions"]
    assert not ticks.tick().run_requests, "it is written"
    assert ticks.rows("SELECT state, reported_run FROM incidents") == [("closed", run.run_id)]
    assert len(ticks.slack.texts) == 1


def test_a_report_of_an_unknown_incident_fails_clearly(make_ticks: MakeTicks) -> None:
    ticks = make_ticks()
    ticks.instance.add_dynamic_partitions("incidents", ["incident-0009"])
    run = Run(
        build_defs(resources={"corpus": ticks.corpus})
        .resolve_job_def("incident_reports")
        .execute_in_process(
            instance=ticks.instance, partition_key="incident-0009", raise_on_error=False
        )
    )
    assert "there is no incident incident-0009" in run.failure("incident_report").description


def test_documents_of_a_dead_run_are_collected_and_the_run_is_ended(
    make_ticks: MakeTicks, database: Database
) -> None:
    ticks = make_ticks()
    queue(database, "held", "waiting", "kept")
    take(database, run_id="gone", keys=["held"])
    at_work, dead = ticks.started(), ticks.started()
    take(database, run_id=at_work, keys=["kept"])
    with database.connect() as connection:
        connection.execute("UPDATE documents SET lease_until = '-infinity' WHERE run_id = 'gone'")
    at_once = ticks.corpus.settings.model_copy(update={"rag_document_lease_s": 0.0})
    ticks.corpus = CorpusResource(at_once, database)  # as if both had been started long ago
    ticks.tick()
    assert state(database, "held") == "waiting"
    statuses = {run.run_id: run.status.value for run in ticks.instance.get_runs()}
    assert statuses == {at_work: "STARTED", dead: "FAILURE"}
    assert ticks.rows("SELECT action, subject FROM recovery_actions ORDER BY action") == [
        ("collect_lost", "documents"),
        ("end_run", LANE),
    ]
    ticks.tick()
    assert ticks.rows("SELECT lane, outcome, attempts FROM attempt_totals") == [(LANE, "lost", 1)]
    assert ticks.rows("SELECT cause, evidence ->> 'subject' FROM incidents") == [
        ("worker-lost", dead)
    ]


def test_a_killed_run_is_recorded_once_with_its_signal_and_is_the_cause(
    make_ticks: MakeTicks, instance_beside: dg.DagsterInstance
) -> None:
    ticks = make_ticks(rag_dagster_database=None)
    ticks.instance = instance_beside
    killed, failed = ticks.started(), ticks.started("rag_large_docs")
    words = get_run_crash_explanation(f"Run execution process for {killed}", exit_code=-9)
    for run_id, message in ((killed, words), (failed, "Step worker is done")):
        run = instance_beside.get_run_by_id(run_id)
        assert run is not None
        instance_beside.report_engine_event(message, run)
        instance_beside.report_run_failed(run)
    for _ in range(2):
        ticks.tick()
    kept = ticks.rows("SELECT run_id, lane, status, fault FROM ended_runs")
    assert sorted(kept, key=lambda row: row[0] != killed) == [
        (killed, LANE, "FAILURE", "killed by signal 9 (SIGKILL)"),
        (failed, "rag_large_docs", "FAILURE", None),
    ]
    assert ticks.rows("SELECT job, status, runs FROM run_totals") == [
        ("document_processing", "FAILURE", 2)
    ]
    assert ticks.rows("SELECT cause, evidence ->> 'subject' FROM incidents") == [
        ("worker-out-of-memory", killed)
    ]


def test_a_corpus_database_that_refuses_connections_is_reported_once_and_recorded_when_it_is_back(
    make_ticks: MakeTicks, database: Database
) -> None:
    ticks = make_ticks()
    queue(database, "one")
    ticks.tick()
    name = sql.Identifier(database.name)
    with database.named("postgres").connect(autocommit=True) as admin:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(name, sql.SQL("false")))
        for _ in range(3):
            answer = ticks.tick()
            assert "the database has been down since" in said(answer)
        admin.execute(allow.format(name, sql.SQL("true")))
    (told,) = ticks.slack.texts
    assert "dependency-down* (database)" in told
    ticks.tick()
    assert ticks.rows("SELECT cause, evidence ->> 'subject' FROM incidents") == [
        ("dependency-down", "database")
    ]
    assert ticks.rows("SELECT subject, sent_at IS NOT NULL FROM messages") == [("incident-1", True)]
    assert len(ticks.slack.texts) == 1


def test_a_429_halves_the_share_that_runs_use(
    make_ticks: MakeTicks, database: Database, emulator: Emulator
) -> None:
    ticks = make_ticks()
    Shop(database, ticks.corpus.settings).buy(sentences(3))
    ticks.tick()
    emulator.order(Fault(FaultKind.RATE_LIMIT, times=2, retry_after_s=0.05))
    Shop(database, ticks.corpus.settings).buy([f"{text} again" for text in sentences(3)])
    ticks.tick()
    assert ticks.rows("SELECT share FROM provider_limits") == [(0.5,)]
    key = fingerprint("sk-test-one")
    assert ticks.rows(
        "SELECT key_fingerprint, requests, rate_limited FROM provider_samples ORDER BY 2"
    ) == [(key, 1, 0), (key, 2, 2)]
    ticks.tick()
    assert ticks.rows("SELECT share FROM provider_limits") == [(0.5,)], "not a minute ago yet"
    assert ticks.rows("SELECT count(*) FROM provider_samples") == [(2,)], "nothing has changed"


def test_a_provider_that_is_down_pauses_its_lanes_until_it_is_back(
    make_ticks: MakeTicks, database: Database, emulator: Emulator
) -> None:
    ticks = make_ticks()
    down = make_ticks(openai_base_url="http://127.0.0.1:9/v1")
    queue(database, "one")
    down.tick()
    assert not (down.tick().run_requests)
    assert ticks.rows("SELECT lane, paused_by FROM paused_lanes ORDER BY lane") == [
        ("rag_bible", "recovery"),
        ("rag_large_docs", "recovery"),
        (LANE, "recovery"),
    ]
    assert ticks.rows("SELECT cause, evidence ->> 'subject' FROM incidents") == [
        ("dependency-down", "provider")
    ]
    ticks.cursor = down.cursor
    ticks.tick()
    assert ticks.rows("SELECT lane FROM paused_lanes") == []
    assert len(ticks.slack.texts) == 1
