"""The runbooks are executed: each command on a corpus with the fault of its section."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator, running_emulator
from rag_assets.api.sql.keys import create_key
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.sql import lanes as lane_control
from rag_assets.documents.sql.leases import collect_lost
from rag_assets.documents.worker import process_documents
from rag_assets.operations.sql import incidents
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings, fingerprint
from rag_assets_tests.api.server import Server, serving
from rag_assets_tests.conftest import SAMPLES
from rag_assets_tests.operations import guide
from rag_assets_tests.operations.runbook import WELL, Section, rows, sections

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
KEY = "sk-test-runbook"
FOUND = [
    section
    for path in sorted((ROOT / "docs" / "operations").glob("r*.md"))
    for section in sections(path)
]
OLD = list(rows(ROOT / "docs/operations/old-runbooks.md"))


@dataclass(frozen=True)
class Place:
    """A folder with a corpus and its own databases."""

    folder: Path
    database: Database
    emulator: Emulator
    changes: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        programs = Path(sys.executable).parent
        return {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "RAG_HOME": str(self.folder / ".rag"),
            "RAG_DATABASE_URL": self.database.conninfo,
            "OPENAI_BASE_URL": self.emulator.base_url,
            "OPENAI_API_KEY": KEY,
            "RAG_GOLDEN_QUERIES": "none",
            "RAG_DOCUMENTS_SETTLE_S": "0",
            "RAG_DISK_FREE_GB": "0",
            "RAG_PROBE_TIMEOUT_S": "2",
            **self.changes,
        }

    @property
    def settings(self) -> Settings:
        given = {name.lower(): value for name, value in self.environment.items()}
        return Settings(
            **{name: value for name, value in given.items() if name in Settings.model_fields},
            rag_documents_url=str(self.folder / "inbox"),
        )

    @property
    def key(self) -> str:
        return fingerprint(KEY)

    def run(self, command: str) -> str:
        """The output of a command, on either stream."""
        return self.ended(command)[1]

    def ended(self, command: str) -> tuple[int, str]:
        """The status and output of a command, which is told yes if it asks."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            input="y\ny\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, _with_a_sound_pgvector(done.stdout)

    def change(self, statement: str, *values: object) -> None:
        with self.database.connect() as connection:
            connection.execute(statement, values)

    def drop(self, name: str, content: str) -> None:
        """Drop a document, and take it in."""
        inbox = self.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        (inbox / name).write_text(content, encoding="utf-8")
        take_in(self.database, open_inbox(self.settings), self.settings)

    def process(self) -> None:
        """Process the waiting documents."""
        for lane in ("rag_processing", "rag_large_docs"):
            process_documents(
                self.database,
                self.settings,
                open_inbox(self.settings),
                run_id="8f0c6a52",
                lane=lane,
            )

    def daemon_seen(self, ago: str) -> None:
        """Add a heartbeat of Dagster's daemon."""
        dagster = self.database.named(f"{self.database.name}_dagster")
        with dagster.connect() as connection:
            connection.execute("DELETE FROM daemon_heartbeats")
            for part in ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"):
                connection.execute(
                    "INSERT INTO daemon_heartbeats (daemon_type, daemon_id, timestamp, body)"
                    " VALUES (%s, %s, now() AT TIME ZONE 'UTC' - %s::interval, '')",
                    (part, part, ago),
                )


def _with_a_sound_pgvector(printed: str) -> str:
    """Suppress the doctor's warning about the tests' pgvector."""
    rest, found = re.subn(r"^warning  vectors: pgvector .*\n.*\n", "", printed, flags=re.MULTILINE)
    if found and not re.search(r"^(problem|warning)  ", rest, re.MULTILINE):
        return f"{rest}{WELL}\n"
    return rest


Given = Callable[[Place], Place | None]
GIVEN: dict[str, Given] = {WELL: lambda _: None}


def given(fault: str) -> Callable[[Given], Given]:
    """Register the setup of a fault."""

    def name(bring_about: Given) -> Given:
        GIVEN[fault] = bring_about
        return bring_about

    return name


@given("documents wait and the daemon is gone")
def _daemon(place: Place) -> None:
    for number in range(3):
        place.drop(f"report-{number}.md", f"# Report {number}\n\nIt is well.")
    place.change("UPDATE documents SET queued_at = now() - interval '10 min'")
    place.daemon_seen("9 min")


@given("the database is unreachable")
def _database(place: Place) -> Place:
    away = Database(f"host=127.0.0.1 port=9 dbname={place.database.name} user=rag")
    return replace(place, changes={"RAG_DATABASE_URL": away.conninfo})


@given("the corpus takes no connections")
def _vectors(place: Place) -> None:
    with place.database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {place.database.name} ALLOW_CONNECTIONS false")


@given("the provider limits the rate")
def _limited(place: Place) -> None:
    place.change(
        "INSERT INTO provider_keys (endpoint, key_fingerprint, resting_until)"
        " SELECT endpoint, %s, now() + interval '50 s' FROM provider_limits",
        place.key,
    )
    place.change("UPDATE provider_limits SET share = 0.25")


@given("the provider is unreachable")
def _provider(place: Place) -> None:
    place.emulator.order(Fault(FaultKind.OUTAGE, seconds=3600))


@given("the key is refused")
def _refused(place: Place) -> None:
    place.emulator.keys(valid=["sk-test-another"])


@given("the key is out of quota")
def _quota(place: Place) -> None:
    place.change(
        "INSERT INTO provider_keys (endpoint, key_fingerprint, out_of_quota_at)"
        " SELECT endpoint, %s, now() - interval '3 min' FROM provider_limits",
        place.key,
    )


@given("some documents could not be read")
def _dead(place: Place) -> None:
    place.drop("empty.md", "")
    place.drop("minutes.md", "# Minutes\n\nAll were there.")
    place.process()


@given("a document has killed its workers")
def _killed(place: Place) -> None:
    place.drop("plans.md", "# Plans\n\nMany of them.")
    for _ in range(5):
        place.change(
            "UPDATE documents SET state = 'running', run_id = '8f0c6a52', attempts = attempts + 1,"
            " started_at = now(), lease_until = now() - interval '1 s'"
        )
        with place.database.connect() as connection:
            collect_lost(connection, 5)


@given("a large document holds up another")
def _large(place: Place) -> None:
    for name in ("atlas.md", "chronicle.md"):
        place.drop(name, f"# {name}\n\n" + "A long sentence in a long book. " * 400_000)
    place.change(
        "UPDATE documents SET state = 'running', run_id = '8f0c6a52', attempts = 1,"
        " started_at = now() - interval '31 min', lease_until = now() + interval '1 min'"
        " WHERE document_key = 'atlas.md'"
    )


@given("the lane is paused")
def _paused(place: Place) -> None:
    with place.database.connect() as connection:
        lane_control.pause_lane(connection, "rag_processing", "maintenance of the disk", "command")


@given("an incident is over")
def _incident(place: Place) -> None:
    with place.database.connect() as connection:
        number = incidents.open_incident(
            connection,
            "rate-limited",
            place.key,
            [f"the provider limits the rate of key {place.key}"],
            began_at=datetime.now(UTC),
            longest_queue=87,
        )
        assert number is not None
        incidents.record_action(
            connection,
            "lower_share",
            "58cbadb88ce585fc",
            "15 answers of 429; 50% of batch size and concurrency from now on",
            incident_id=number,
        )
        incidents.set_state(connection, number, "recovering")
        incidents.set_state(connection, number, "closed")


@given("a job failed")
def _job(place: Place) -> None:
    for run_id, code in (("44c1d9e0", "EN_SAMPLE"), ("8f0c6a52", "PT_SAMPLE")):
        place.change(
            "INSERT INTO ended_runs (run_id, job, status, ended_at, partition, failed_steps,"
            " error_class, error, cause) VALUES (%s, 'bible_embeddings', 'FAILURE', now(), %s,"
            " '{verse_embeddings}', 'QuotaExceededError',"
            " 'no API key has quota left: pay, or add a key; finished embeddings are kept',"
            " 'QuotaExceededError')",
            run_id,
            code,
        )


@given("the evidence is old")
def _evidence(place: Place) -> None:
    place.change("UPDATE check_results SET evaluated_at = now() - interval '9 d'")


@given("there is no key")
def _no_key(place: Place) -> Place:
    return replace(place, changes={"OPENAI_API_KEY": ""})


@given("the log has a line of each kind")
def _log(place: Place) -> None:
    text = (ROOT / "docs/operations/runbook-queue.md").read_text("utf-8")
    lines = re.findall(r"^\| `(.+?: .+?)` \|", text.partition("## Lines to look for")[2], re.M)
    assert len(lines) == 7
    (place.folder / ".rag").mkdir(exist_ok=True)
    (place.folder / ".rag" / "up.log").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def operated(template_database: Database) -> Iterator[Place]:
    """A corpus with released samples, to be copied for each section."""
    database = template_database.named("runbook_filled")
    with _folder("rag-runbooks") as folder, running_emulator() as emulator:
        place = Place(folder, database, emulator)
        with template_database.named("postgres").connect(autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database.name} TEMPLATE {template_database.name}")
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(SAMPLES, folder / "bibles")
        for code in ("EN_SAMPLE", "PT_SAMPLE"):
            place.run(f"rag-assets bible embed {code}")
            place.run("rag-assets index build")
            printed = place.run("rag-assets release activate")
            assert printed.startswith("before: "), printed
        try:
            yield place
        finally:
            _drop(database)


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)


def _drop(database: Database) -> None:
    with database.named("postgres").connect(autocommit=True) as connection:
        for name in (database.name, f"{database.name}_dagster"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def place(operated: Place) -> Iterator[Place]:
    """A copy for one section."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("rag-runbook"))
        shutil.copytree(operated.folder, folder, dirs_exist_ok=True)
        database = operated.database.named("runbook_copy")
        stack.callback(_drop, database)
        with database.named("postgres").connect(autocommit=True) as connection:
            for end in ("", "_dagster"):
                connection.execute(
                    f"CREATE DATABASE {database.name}{end} TEMPLATE {operated.database.name}{end}"
                )
        stack.callback(operated.emulator.keys, valid=None)
        stack.callback(operated.emulator.reset)
        copy = replace(operated, folder=folder, database=database)
        copy.daemon_seen("5 s")
        yield copy


@pytest.mark.parametrize("section", FOUND, ids=str)
def test_each_command_prints_what_the_runbook_says(place: Place, section: Section) -> None:
    ill = GIVEN[section.given](place) or place
    for step in section.steps:
        printed = ill.run(step.command)
        assert step.matches(printed), f"$ {step.command}\n{printed}"


@pytest.mark.timeout(900)  # a section has up to 13 rows, and the first one makes the corpus
@pytest.mark.parametrize("section", [*dict.fromkeys(row.section for row in OLD)])
def test_each_command_of_the_old_runbooks_has_one_that_works(place: Place, section: str) -> None:
    ours = [row for row in OLD if row.section == section]
    ill = GIVEN[ours[0].given](place) or place
    # A server's dump is made by pg_dump of its version.
    path = f"{embedded.binary('pg_dump').parent}{os.pathsep}{ill.environment['PATH']}"
    ill = replace(ill, changes={**ill.changes, "PATH": path})
    (ill.folder / "queries.toml").write_text('[[query]]\ntext = "fish"\nexpected = ["JON 1:17"]\n')
    wrong = []
    with ExitStack() as stack:
        server = None
        if any("127.0.0.1:8000" in command for row in ours for command in row.now):
            with ill.database.connect() as connection:
                key = create_key(connection, "operator", ["read", "admin"], requests_per_minute=600)
            ill = replace(ill, changes={**ill.changes, "KEY": key})
            server = stack.enter_context(serving(ill.folder, ill.environment))
        for row in ours:
            printed = "".join(ill.run(_here(command, server)) for command in row.now)
            if row.missing(printed) or not (row.now and row.shown):
                wrong.append(f"{row.old}\n$ {' && '.join(row.now)}\n{printed}")
    assert not wrong, "\n\n".join(wrong)


def _here(command: str, server: Server | None) -> str:
    """The command with this server's address, and with the project's Makefile."""
    venv = Path(sys.executable).parent.parent
    if server is not None:
        command = command.replace("http://127.0.0.1:8000", server.origin)
    return command.replace("make ", f"make -f {ROOT}/Makefile VENV={venv} -o {venv}/.installed ")


def test_the_page_has_a_row_for_each_command_of_the_old_runbooks() -> None:
    old = " ".join(row.old for row in OLD)
    for words in (
        *("generate_embeddings", "create_vector_indexes", "rq requeue", "redis-cli LLEN", "grep"),
        *("chromadb", "make embeddings-generate", "reorder-queue", "separate-large-jobs"),
        *("prioritize-queue", "--only-missing", "--alter-dim", "PG_IVFFLAT_PROBES", "--overwrite"),
    ):
        assert words in old
    assert len(OLD) > 40


def test_every_fault_is_in_a_runbook() -> None:
    assert {one.given for one in (*FOUND, *OLD)} == set(GIVEN)


ELSEWHERE = {
    "docker": "deployment/test_compose_services.py",
    "kubectl": "deployment/test_kubernetes.py",
    "helm": "deployment/test_kubernetes.py",
    "psql": "api/test_roles.py",
    "pg_dump": "deployment/test_backup.py",
    "pg_restore": "deployment/test_backup.py",
    "make demo": "test_tutorial.py",
    "make test": "the tests themselves",
    "make up": "test_tutorial.py",
    "rag-assets up": "test_tutorial.py",
    "rag-assets db restore": "deployment/test_backup.py",
    "rag-assets db grant": "api/test_roles.py",
    "rag-assets index build --force": "deployment/test_backup.py",  # refused with few rows
    "RAG_SLO_P95_MS=fast": "test_settings.py",
    "rag-assets space change": "cli/test_space_commands.py",
    "rag-assets space drop": "cli/test_space_commands.py",
    "rag-assets batches cancel": "cli/test_batches_commands.py",
    "rag-assets batches give-up": "cli/test_batches_commands.py",
    "curl -s http://127.0.0.1:9093": "operations/test_alert_delivery.py",
}
"""Commands of the guides that this test does not run, and what does."""
_TESTS = {name for names in ELSEWHERE.values() for name in re.findall(r"[\w/]+\.py", names)}
SERVICES = ("rag-assets serve", "rag-assets exporter")
REFUSING = ("release gate", "doctor", "audit", "db upgrade", "release activate")
"""Commands whose status 1 is an answer."""
HERE = {
    "path/to/files": "samples.zip",
    'report.pdf "my papers/"': "report.md",
    "report.pdf": "report.md",
    "KEY…": "empty.md",
    "show KEY": "show empty.md",
    "revoke a118de8e8ff0": "list",
    "revoke KEY_ID": "list",
    "EN_KJV": "EN_SAMPLE",
}
"""What the guides leave to their readers, and what stands for it here."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", guide.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_of_the_guides_works(place: Place, page: Path) -> None:
    commands = [one for one in guide.commands(page) if not one.startswith(tuple(ELSEWHERE))]
    shutil.copytree(SAMPLES / "EN_SAMPLE", place.folder / "samples.zip")
    place.drop("empty.md", "")
    place.drop("minutes.md", "# Minutes\n\nAll were there.")
    place.process()
    (place.folder / "report.md").write_text("# Report\n\nIt is well.\n", "utf-8")
    wrong = []
    with ExitStack() as stack:
        server = None
        if any("127.0.0.1:8000" in command for command in commands):
            with place.database.connect() as connection:
                key = create_key(connection, "guides", ["read", "admin"], requests_per_minute=600)
            place = replace(place, changes={"KEY": key})
            server = stack.enter_context(serving(place.folder, place.environment))
        for command in commands:
            there = command
            for words, ours in HERE.items():
                there = there.replace(words, ours)
            if there.startswith(SERVICES):
                there = f"timeout --foreground --signal=INT 20 {there} --port 0"
            status, printed = place.ended(_here(there, server))
            good = {0, 1} if any(f"rag-assets {one}" in there for one in REFUSING) else {0}
            if there.startswith("timeout"):
                good = {124, 130}
            if status not in good or "Traceback" in printed:
                wrong.append(f"$ {there}\n{printed}status {status}")
    assert not wrong, "\n\n".join(wrong)


def test_what_runs_the_other_commands_is_there() -> None:
    assert len(_TESTS) > 4
    assert [name for name in _TESTS if not (ROOT / "rag_assets_tests" / name).exists()] == []
