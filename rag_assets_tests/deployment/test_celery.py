"""Runs by Celery on one machine: a real Redis, a real worker, the launcher asked what it says."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from rag_assets.definitions import build_defs
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.celery import LaneLauncher, end_lost_starts, priority_of
from rag_assets.defs.operations.dagster_runs import DagsterRuns
from rag_assets.errors import ConfigurationError
from rag_assets.operations.broker import Broker, open_broker, queue_of
from rag_assets.operations.doctor import diagnose
from rag_assets.operations.facts import gather
from rag_assets.settings import Settings, load_settings
from rag_assets.store.dagster_state import EndedRun
from rag_assets.store.database import open_database
from rag_assets.store.migrations import migrate
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.deployment import ROOT, plain_environment, stop
from rag_assets_tests.deployment.redis_server import PASSWORD, RedisServer, running_redis
from rag_assets_tests.openai_emulator.process import Emulator, running_emulator
from rag_assets_tests.secrets import everything_shown

LOST_S = 5


class Machine:
    """One machine with a broker, a worker, and the instance by which the test starts runs."""

    def __init__(self, folder: Path, redis: RedisServer, emulator: Emulator, home: Path) -> None:
        self.folder, self.redis, self.emulator = folder, redis, emulator
        self.environment = {
            "DAGSTER_HOME": str(folder),
            "RAG_HOME": str(home),
            "RAG_DATABASE_URL": open_database(Settings(rag_home=home)).named("celery").conninfo,
            "RAG_BIBLES_DIR": str(folder / "bibles"),
            "RAG_DOCUMENTS_URL": str(folder / "inbox"),
            "RAG_CELERY_BROKER_URL": redis.url,
            "RAG_CELERY_LOST_S": str(LOST_S),
            "RAG_CELERY_TIMEOUT_S": "1",
            "RAG_SECRETS_DIR": str(folder / "secrets"),
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "sk-test-celery",
            "RAG_EMBEDDING_BATCH_SIZE": "1",
            "RAG_EMBEDDING_CONCURRENCY": "1",
        }
        (folder / "inbox").mkdir()
        (folder / "secrets").mkdir()
        (folder / "secrets/rag_celery_broker_password").write_text(PASSWORD)
        shutil.copy(ROOT / "deploy/celery/dagster.yaml", folder)
        write_usfm_version(folder / "bibles", "EN_SLOW", sentences(400))
        self.worker: subprocess.Popen[bytes] | None = None
        self.instance: dg.DagsterInstance

    @property
    def launcher(self) -> LaneLauncher:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, LaneLauncher)
        return launcher

    @property
    def broker(self) -> Broker:
        broker = open_broker(load_settings())
        assert broker is not None
        return broker

    def start_worker(self, *options: str, queue: str = "rag_processing") -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [str(Path(sys.executable).parent / "rag-assets"), "worker", *options],
                cwd=self.folder,
                env={**plain_environment(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait(lambda: self.broker.workers()[queue], 60)

    def keep_worker(self) -> None:
        if self.worker is None or self.worker.poll() is not None:
            self.start_worker("--runs", "2")

    def processes(self) -> list[psutil.Process]:
        """The worker's own, and its children."""
        assert self.worker is not None
        first = psutil.Process(self.worker.pid)
        return [first, *first.children(recursive=True)]

    def process_of(self, run_id: str) -> psutil.Process:
        """The process in which a run is at work: it says so itself."""
        (pid,) = re.findall(r"Started process for run \(pid: (\d+)\)", self.told(run_id))
        return psutil.Process(int(pid))

    def told(self, run_id: str) -> str:
        """All that its events say."""
        entries = self.instance.all_logs(run_id)
        return "\n".join(entry.user_message or entry.message for entry in entries)

    def health(self, run_id: str) -> tuple[WorkerStatus, str | None]:
        """What the launcher says of a run to Dagster's daemon."""
        seen = self.launcher.check_run_worker_health(self.run(run_id))
        return seen.status, seen.msg

    def launch(self, job: str = "document_upkeep", **tags: str) -> str:
        """Send a run as the daemon does; its id."""
        run = self.starting(job, **tags)
        self.launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        return run.run_id

    def launch_slow(self) -> str:
        """One that takes minutes, when it is at work."""
        run_id = self.launch("bible_embeddings", **{"dagster/partition": "EN_SLOW"})
        self.wait(lambda: self.status(run_id) == "STARTED", 30)
        before = self.emulator.stats().ok
        self.wait(lambda: self.emulator.stats().ok > before, 30)
        return run_id

    def starting(self, job: str = "document_upkeep", **tags: str) -> dg.DagsterRun:
        pointer = ModuleCodePointer("rag_assets.definitions", "defs", str(ROOT))
        origin = JobPythonOrigin(job, RepositoryPythonOrigin(sys.executable, pointer))
        run = self.instance.create_run_for_job(
            build_defs().resolve_job_def(job), tags=tags, job_code_origin=origin
        )
        event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, job)
        self.instance.report_dagster_event(event, run_id=run.run_id)
        return self.run(run.run_id)

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def status(self, run_id: str) -> str:
        return self.run(run_id).status.value

    def findings(self) -> dict[str, tuple[str, str]]:
        """What the doctor says of the broker and the workers, and its command."""
        settings = load_settings()
        found = diagnose(gather(settings), settings)
        assert all(one.level == "problem" for one in found if one.area in ("broker", "workers"))
        return {
            one.area: (one.told, one.command) for one in found if one.area in ("broker", "workers")
        }

    def wait(self, reached: Callable[[], object], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text("utf-8", "replace")[-4000:]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, rag_home: Path) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("celery")
    with running_redis() as redis, running_emulator(latency_ms=200) as emulator:
        made = Machine(folder, redis, emulator, rag_home)
        with pytest.MonkeyPatch.context() as patched:
            for name, value in made.environment.items():
                patched.setenv(name, value)
            patched.chdir(folder)
            database = open_database(load_settings())
            database.create()
            migrate(database)
            with dg.DagsterInstance.get() as instance:
                made.instance = instance
                instance.add_dynamic_partitions(BIBLE_VERSIONS, ["EN_SLOW"])
                try:
                    yield made
                finally:
                    if made.worker is not None:
                        left = made.processes() if made.worker.poll() is None else []
                        stop(made.worker)
                        for process in left:
                            with suppress(psutil.NoSuchProcess):
                                process.kill()


@pytest.fixture(autouse=True)
def _settings_of_the_machine(
    machine: Machine, _no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.redis.client().ping()
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)


def test_a_run_is_done_by_the_worker_of_its_lane(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch()
    machine.wait(lambda: machine.run(run_id).is_finished, 30)
    assert machine.status(run_id) == "SUCCESS", machine.log()
    assert "[LaneLauncher] Sent to the workers of rag_processing." in machine.told(run_id)
    assert machine.findings() == {}
    name = f"rag_processing+rag_large_docs@{socket.gethostname()}"
    (workers,) = [one for one in gather(load_settings()).probes if one.name == "workers"]
    assert workers.told == f"rag_processing: {name}; rag_large_docs: {name}"


def test_a_run_that_is_killed_is_told_with_its_signal(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None)
    machine.process_of(run_id).kill()
    machine.wait(lambda: machine.launcher.lost(run_id), 10)
    status, told = machine.health(run_id)
    assert status is WorkerStatus.FAILED
    machine.instance.report_run_failed(machine.run(run_id), told)
    ended = EndedRun(run_id, "bible_embeddings", None, "FAILURE", None, datetime.now(UTC))
    runs = DagsterRuns(machine.instance, load_settings())
    assert runs.with_fault(ended).fault == "killed by signal 9 (SIGKILL)"


def test_a_run_that_hangs_counts_as_lost_and_ends_when_it_is_back(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    process = machine.process_of(run_id)
    process.suspend()
    try:
        time.sleep(LOST_S / 2)
        assert machine.health(run_id)[0] is WorkerStatus.RUNNING
        machine.wait(lambda: machine.launcher.lost(run_id), 2 * LOST_S)
        status, told = machine.health(run_id)
        assert status is WorkerStatus.FAILED
        assert re.fullmatch(
            rf".*@{re.escape(socket.gethostname())} has given no sign of life of it for \d+ s",
            told or "",
        )
    finally:
        process.resume()
    machine.wait(lambda: machine.run(run_id).is_finished, 2 * LOST_S + 10)
    machine.wait(lambda: not process.is_running(), 10)


def test_a_run_is_interrupted_from_the_ui(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    machine.instance.report_run_canceling(machine.run(run_id))
    assert machine.launcher.terminate(run_id)
    machine.wait(lambda: machine.run(run_id).is_finished, 20)
    assert machine.status(run_id) == "CANCELED"


def test_a_broker_that_is_away_fails_no_run_and_loses_none(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    machine.redis.stop()
    try:
        time.sleep(LOST_S + 2)
        status, told = machine.health(run_id)
        assert status is WorkerStatus.RUNNING
        assert "nothing is known of its worker" in (told or "")
        run = machine.starting()
        with pytest.raises(DagsterUserCodeUnreachableError) as refused:
            machine.launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
        machine.instance.report_run_failed(run)
        assert PASSWORD not in everything_shown(refused.value)
        assert end_lost_starts(machine.instance) == ()
        told = machine.findings()
        assert set(told) == {"broker"}, "of the workers nothing is known"
        assert "the broker cannot be reached (Redis on 127.0.0.1" in told["broker"][0]
        assert told["broker"][1] == "start Redis"
    finally:
        machine.redis.start()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None), "it had no chance to say more"
    machine.redis.client().flushall()
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None), "nor by one that is empty"
    time.sleep(LOST_S)
    assert machine.health(run_id) == (WorkerStatus.RUNNING, None)
    other = machine.launch()
    machine.wait(lambda: machine.run(other).is_finished, 60)
    assert machine.status(other) == "SUCCESS"
    machine.launcher.terminate(run_id)
    machine.wait(lambda: machine.run(run_id).is_finished, 20)


def test_a_worker_ends_its_runs_before_it_ends(machine: Machine) -> None:
    machine.keep_worker()
    assert machine.worker is not None
    run_id = machine.launch()
    machine.wait(lambda: machine.status(run_id) == "STARTED", 30)
    machine.worker.send_signal(signal.SIGTERM)
    assert machine.worker.wait(60) == 0
    assert machine.status(run_id) == "SUCCESS"
    assert machine.findings() == {
        "workers": (
            "no worker takes runs of rag_processing and rag_large_docs: they wait",
            "on a worker's machine: `rag-assets worker --queue rag_processing`",
        )
    }


def test_a_run_waits_for_a_worker_and_one_that_got_lost_on_its_way_counts_as_failed(
    machine: Machine,
) -> None:
    if machine.worker is not None and machine.worker.poll() is None:
        stop(machine.worker)
    waiting = machine.launch(**{"rag/lane": "rag_large_docs"})
    lost = machine.launch()
    assert machine.broker.waiting() == {waiting, lost}
    machine.redis.client().delete("rag_processing", "rag_processing\x06\x163")
    assert end_lost_starts(machine.instance) == (), "it was sent just now"
    time.sleep(LOST_S + 1)
    (told,) = end_lost_starts(machine.instance)
    assert told.startswith(f"run {lost} did not start: its worker has given no sign of life")
    assert machine.status(lost) == "FAILURE"
    assert machine.status(waiting) == "STARTING"
    machine.start_worker("--queue", "rag_large_docs", "--runs", "1", queue="rag_large_docs")
    machine.wait(lambda: machine.run(waiting).is_finished, 30)
    assert machine.status(waiting) == "SUCCESS"
    assert machine.broker.workers()["rag_processing"] == ()
    assert machine.worker is not None
    stop(machine.worker)


def test_the_password_is_in_no_process_list_log_or_event(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch()
    machine.wait(lambda: machine.run(run_id).is_finished, 30)
    hidden = (PASSWORD, quote(PASSWORD, safe=""))
    shown = [" ".join(process.cmdline()) for process in machine.processes()]
    shown += [(machine.folder / "worker.log").read_text("utf-8", "replace")]
    shown += [repr(machine.broker), machine.broker.describe(), str(machine.instance.get_ref())]
    shown += [str(entry) for entry in machine.instance.all_logs(run_id)]
    assert [word for word in hidden for text in shown if word in text] == []


@pytest.mark.parametrize(
    ("options", "changed", "told"),
    [
        ([], {"RAG_CELERY_BROKER_URL": ""}, "RAG_CELERY_BROKER_URL is not set"),
        ([], {"RAG_CELERY_BROKER_URL": "amqp://host"}, "is not an address of Redis"),
        ([], {"RAG_CELERY_BROKER_URL": "redis://127.0.0.1:9/0"}, "cannot be reached (Redis on"),
        ([], {"RAG_CELERY_BROKER_PASSWORD": "wrong-one"}, "refuses the password"),
        ([], {"DAGSTER_HOME": ""}, "DAGSTER_HOME is not set"),
        (["--queue", "dagster"], {}, "there is no queue dagster: there are rag_processing and"),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    machine: Machine, options: list[str], changed: Mapping[str, str], told: str
) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rag-assets"), "worker", *options],
        cwd=machine.folder,
        env={**plain_environment(), **machine.environment, **changed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "wrong-one"):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "amqp://host",
        "redis:///0",
        "redis://:a@b@host/0",
        "redis://host:port/0",
        "redis://host/name",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_broker(load_settings(rag_celery_broker_url=url))
    assert url not in everything_shown(refused.value)


def test_tls_verifies_the_certificate_unless_told_otherwise() -> None:
    broker = open_broker(load_settings(rag_celery_broker_url="rediss://host:6380/1"))
    assert broker is not None
    assert broker.url.endswith("@host:6380/1?ssl_cert_reqs=required")


def test_each_lane_has_its_queue_and_what_has_none_goes_with_the_small_documents() -> None:
    lanes = ("rag_large_docs", "rag_processing", "rag_bible", None)
    assert [queue_of(lane) for lane in lanes] == ["rag_large_docs", *["rag_processing"] * 3]
    given = [{"dagster/priority": text} for text in ("5", "0", "-1", "high")]
    assert [priority_of(tags) for tags in (*given, {})] == [0, 3, 6, 3, 3]


def test_the_instance_is_that_of_one_machine_but_for_launcher_and_patience() -> None:
    one, several = (
        yaml.safe_load((ROOT / path).read_text("utf-8"))
        for path in ("dagster.yaml", "deploy/celery/dagster.yaml")
    )
    assert several.pop("run_launcher") == {
        "module": "rag_assets.defs.celery",
        "class": "LaneLauncher",
    }
    for name in ("max_user_code_failure_retries", "user_code_failure_retry_delay"):
        assert several["run_queue"].pop(name) > 0
    assert several["run_monitoring"].pop("start_timeout_seconds") > (
        one["run_monitoring"].pop("start_timeout_seconds")
    )
    assert several == one
