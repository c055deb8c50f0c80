"""A real deployment over GraphQL: webserver, daemon, sensor, backfill and a killed run."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from psycopg import sql

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator, running_emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.deployment import REPOSITORY, Deployment, deployed, wait_for

pytestmark = pytest.mark.long

CODES = ["EN_ONE", "EN_TWO", "PT_TRES"]
VERSES = 40
BATCH, IN_FLIGHT = 4, 3

RUNS = """
query { runsOrError(limit: 100) { ... on Runs {
    results { runId status jobName tags { key value } } } } }
"""
STATUSES = """
query { assetNodeOrError(assetKey: {path: ["verse_embeddings"]}) { ... on AssetNode {
    assetPartitionStatuses { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions
    } } } } }
"""
BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
} }
"""
BACKFILL_STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
    status numPartitions error { message } } } }
"""
LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
} }
"""
EVENTS = """
query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection {
    events { ... on MessageEvent { message } } } } }
"""
FAILURES = """
query ($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection {
    events { __typename ... on ExecutionStepFailureEvent {
        stepKey failureMetadata { description } } } } } }
"""
SENSOR = """
query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
    id sensorState { status ticks(limit: 5) { status error { message } } } } } }
"""
STOP_SENSOR = """
mutation ($id: String!) { stopSensor(id: $id) { __typename } }
"""
ADD_PARTITION = """
mutation ($selector: RepositorySelector!, $key: String!) {
    addDynamicPartition(repositorySelector: $selector, partitionsDefName: "bible_version",
                        partitionKey: $key) { __typename } }
"""


@dataclass(frozen=True)
class RunRow:
    """A run as the UI lists it."""

    run_id: str
    status: str
    job: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Site:
    """A deployment over three small versions, with its database and its provider."""

    dagster: Deployment
    database: Database
    emulator: Emulator
    bibles: Path

    def runs(self) -> list[RunRow]:
        """All runs, newest first."""
        return [
            RunRow(
                run["runId"],
                run["status"],
                run["jobName"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in self.dagster.ask(RUNS)["results"]
        ]

    def statuses(self) -> dict[str, list[str]]:
        """Partitions of ``verse_embeddings`` by status, as the UI shows them."""
        found = self.dagster.ask(STATUSES)["assetPartitionStatuses"]
        return {status: sorted(codes) for status, codes in found.items()}

    def embedded(self) -> dict[str, tuple[int, int]]:
        """By version: vectors in the small and in the large space."""
        with self.database.connect() as connection:
            rows = connection.execute(
                """
                SELECT version_code, count(embedding_small), count(embedding_large)
                  FROM verse_embeddings GROUP BY 1
                """
            ).fetchall()
        return {code: (small, large) for code, small, large in rows}

    def all_embedded(self) -> bool:
        """The three versions are materialized, and no run is under way."""
        active = [run for run in self.runs() if run.status not in ("SUCCESS", "FAILURE")]
        return not active and set(CODES) <= set(self.statuses()["materializedPartitions"])


@pytest.fixture(scope="module")
def site(template_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Started once for this module, whose tests are independent."""
    folder = tmp_path_factory.mktemp("dagster")
    bibles = folder / "bibles"
    for code in CODES:
        write_usfm_version(bibles, code, sentences(VERSES, word=code))
    database = template_database.named("test_deployment")
    with running_emulator() as emulator:
        environment = {
            "RAG_HOME": str(folder / "rag"),
            "RAG_BIBLES_DIR": str(bibles),
            "RAG_BIBLE_SETTLE_S": "0",  # else the first tick leaves the new folders to the second
            "RAG_DATABASE_URL": database.conninfo,
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "sk-test-one",
            "RAG_EMBEDDING_RATE_LIMIT": "1000000",
            "RAG_EMBEDDING_TOKEN_LIMIT": "1000000000",
            "RAG_EMBEDDING_BATCH_SIZE": str(BATCH),
            "RAG_EMBEDDING_CONCURRENCY": str(IN_FLIGHT),
        }
        try:
            with deployed(folder, environment) as dagster:
                ready = Site(dagster, database, emulator, bibles)
                wait_for("the sensor's runs", ready.all_embedded, dagster, timeout_s=120)
                yield ready
        finally:
            with template_database.named("postgres").connect(autocommit=True) as connection:
                for name in (database.name, f"{database.name}_dagster"):
                    connection.execute(
                        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                            sql.Identifier(name)
                        )
                    )


def test_the_sensor_adds_the_folders_and_every_version_is_embedded_once(site: Site) -> None:
    by_sensor = [run for run in site.runs() if "dagster/sensor_name" in run.tags]
    assert sorted(run.tags["dagster/partition"] for run in by_sensor) == CODES
    assert {run.job for run in by_sensor} == {"bible_embeddings"}
    assert {run.status for run in by_sensor} == {"SUCCESS"}
    embedded = site.embedded()
    assert {code: embedded[code] for code in CODES} == dict.fromkeys(CODES, (VERSES, VERSES))
    assert site.statuses()["failedPartitions"] == []
    twice = site.emulator.stats().duplicate_examples
    assert [text for text in twice if "killed" not in text] == []
    with site.database.named(f"{site.database.name}_dagster").connect() as connection:
        checks = connection.execute(
            """
            SELECT partition, count(DISTINCT check_name) FROM asset_check_executions
             WHERE execution_status = 'SUCCEEDED' AND partition = ANY(%s) GROUP BY 1 ORDER BY 1
            """,
            (CODES,),
        ).fetchall()
    assert checks == [(code, 4) for code in CODES]
    assert [path.name for path in site.dagster.folder.glob(".rag/*")] == ["dagster"]


def test_a_backfill_over_all_partitions_completes_and_pays_for_nothing_again(site: Site) -> None:
    before = site.emulator.stats()
    started = site.dagster.ask(
        BACKFILL,
        params={
            "assetSelection": [{"path": ["verses"]}, {"path": ["verse_embeddings"]}],
            "allPartitions": True,
        },
    )
    assert started["__typename"] == "LaunchBackfillSuccess", started

    def finished() -> dict[str, object] | None:
        found = site.dagster.ask(BACKFILL_STATUS, id=started["backfillId"])
        return None if found["status"] in ("REQUESTED", "COMPLETING") else found

    found = wait_for("the backfill", finished, site.dagster, timeout_s=200)
    assert found["status"] == "COMPLETED_SUCCESS", found
    mine = [run for run in site.runs() if run.tags.get("dagster/backfill") == started["backfillId"]]
    assert {run.tags["dagster/partition"] for run in mine} >= set(CODES)
    assert {run.status for run in mine} == {"SUCCESS"}
    assert set(site.statuses()["materializedPartitions"]) >= set(CODES)
    after = site.emulator.stats()
    assert after.inputs_answered == before.inputs_answered
    assert site.embedded()["EN_ONE"] == (VERSES, VERSES)


def test_a_killed_run_is_noticed_retried_and_pays_at_most_for_what_was_in_flight(
    site: Site,
) -> None:
    selector = {**REPOSITORY, "sensorName": "bible_version_folders"}
    sensor = site.dagster.ask(SENSOR, selector=selector)
    assert [tick["error"] for tick in sensor["sensorState"]["ticks"]] == [None] * len(
        sensor["sensorState"]["ticks"]
    )
    site.dagster.ask(STOP_SENSOR, id=sensor["id"])  # it would run the new version, too

    texts = sentences(120, word="killed")
    write_usfm_version(site.bibles, "EN_KILL", texts)
    site.dagster.ask(ADD_PARTITION, selector=REPOSITORY, key="EN_KILL")
    before = site.emulator.stats()
    site.emulator.order(Fault(FaultKind.LATENCY, latency_ms=300))
    started = site.dagster.ask(
        LAUNCH,
        params={
            "selector": {**REPOSITORY, "jobName": "bible_embeddings"},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "EN_KILL"}]},
        },
    )
    assert started["__typename"] == "LaunchRunSuccess", started
    run_id = started["run"]["runId"]

    def half_way() -> bool:
        return site.emulator.stats().inputs_answered - before.inputs_answered >= 6 * BATCH

    wait_for("some answers", half_way, site.dagster, timeout_s=100)
    told = "\n".join(
        event.get("message", "") for event in site.dagster.ask(EVENTS, id=run_id)["events"]
    )
    pids = {int(pid) for pid in re.findall(r"Executing steps in process \(pid: (\d+)\)", told)}
    (pid,) = pids & {process.pid for process in site.dagster.family()}
    killed = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    killed.wait(10)
    site.emulator.clear_faults()

    def runs_of_it() -> dict[str, str]:
        return {
            "first" if run.run_id == run_id else "retry": run.status
            for run in site.runs()
            if run_id in (run.run_id, run.tags.get("dagster/parent_run_id"))
        }

    wait_for(
        "the retry",
        lambda: runs_of_it() == {"first": "FAILURE", "retry": "SUCCESS"},
        site.dagster,
        timeout_s=120,
    )
    assert site.embedded()["EN_KILL"] == (len(texts), len(texts))
    assert "EN_KILL" in site.statuses()["materializedPartitions"]
    after = site.emulator.stats()
    bought = after.inputs_answered - before.inputs_answered
    assert after.distinct_texts - before.distinct_texts == 2 * len(texts)
    assert 0 <= bought - 2 * len(texts) <= BATCH * IN_FLIGHT
    with site.database.connect() as connection:
        assert connection.execute("SELECT count(*) FROM embedding_claims").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"limit": -1}, "limit: must be at least 1, not -1"),
        ({"batch_size": 0}, "batch_size: must be at least 1, not 0"),
        ({"mode": "overwrite", "only_missing": True}, "mode: overwrite and the fields of its"),
    ],
)
def test_a_launch_with_an_invalid_option_is_a_run_that_fails_before_it_reads(
    site: Site, config: dict[str, object], sentence: str
) -> None:
    site.dagster.ask(ADD_PARTITION, selector=REPOSITORY, key="EN_ONE")
    before = site.emulator.stats().requests
    answer = site.dagster.ask(
        LAUNCH,
        params={
            "selector": {**REPOSITORY, "jobName": "bible_embeddings"},
            "runConfigData": {"ops": {"verse_embeddings": {"config": config}}},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "EN_ONE"}]},
        },
    )
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id = answer["run"]["runId"]
    wait_for(
        "the failed run",
        lambda: (run_id, "FAILURE") in [(run.run_id, run.status) for run in site.runs()],
        site.dagster,
        timeout_s=90,
    )
    failures = site.dagster.ask(FAILURES, id=run_id)["events"]
    (failure,) = [found for found in failures if found["__typename"] == "ExecutionStepFailureEvent"]
    assert failure["stepKey"] == "verses"
    assert sentence in failure["failureMetadata"]["description"]
    assert site.emulator.stats().requests == before
