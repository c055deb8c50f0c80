"""One machine with a real Redis and a real Celery worker, and the launcher that sends it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from openai_emulator.process import Emulator, running_emulator
from rag_assets.definitions import build_defs
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.celery import LaneLauncher
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.operations.broker import Broker, open_broker
from rag_assets.operations.diagnosis import diagnose
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings, load_settings
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.deployment import ROOT, home_of, plain_environment, stop
from rag_assets_tests.deployment.redis_server import PASSWORD, RedisServer, running_redis

LOST_S = 8  # Celery may take 5 s to see that a process was killed: its own word comes first


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

    @contextmanager
    def daemon(self, **queue: int) -> Iterator[None]:
        """Dagster's daemon, with changes to its queue's settings."""
        home = self.folder / "daemon"
        home.mkdir()
        given = yaml.safe_load((self.folder / "dagster.yaml").read_text("utf-8"))
        given["run_queue"].update(queue)
        (home / "dagster.yaml").write_text(yaml.safe_dump(given))
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w",
                 str(ROOT / "workspace.yaml")],
                cwd=home,
                env={**plain_environment(), **self.environment, "DAGSTER_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield
        finally:
            stop(process)
            for one in psutil.process_iter():
                if home_of(one) == home:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()

    def documents(self) -> dict[str, str]:
        """States of the documents, by key."""
        with open_database(load_settings()).connect() as connection:
            return dict(connection.execute("SELECT document_key, state FROM documents").fetchall())

    def lanes_paused(self) -> set[str]:
        with open_database(load_settings()).connect() as connection:
            return set(paused_lanes(connection))

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
        found = diagnose(survey(settings), settings)
        assert all(one.level == "problem" for one in found if one.area in ("broker", "workers"))
        return {
            one.area: (one.evidence, one.command)
            for one in found
            if one.area in ("broker", "workers")
        }

    def wait(self, reached: Callable[[], object], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text("utf-8", "replace")[-4000:]


@contextmanager
def celery_machine(folder: Path, rag_home: Path) -> Iterator[Machine]:
    """It and its Redis and provider; all end here."""
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
