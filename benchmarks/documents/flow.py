"""Documents dropped at once, with the real `rag-assets up`: when is the first found, when all?

Found is what is published, because a release serves it from then on. A large document among them
must not hold the small ones up: the same drop is measured with and without it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.documents.corpus import large_document, small_documents
from benchmarks.documents.cpu import Cpu, is_of_run
from benchmarks.index.bench import own_server, say
from openai_emulator.process import running_emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.defs.deployment import ROOT, Deployment, plain_environment, wait_for

LATENCY_MS = 100
LONGEST_S = 1200.0
CHANGED, SMOKE_CHANGED = 100, 5
_IDLE_S, _LATER_S = 15.0, 240.0
_MB = 1e6


@dataclass
class Flow:
    """What was seen; times in seconds from the end of each drop.

    :param run_mb: most memory that a run's process had, with the processes it had started.
    :param changed_s: until some documents that were changed together are published again.
    :param one_s: until one document dropped into the idle system is published.
    :param cpu: seconds of CPU of the first drop, by process.
    :param idle: cores used while nothing happens, by process.
    """

    documents: int
    large: bool
    first_s: float = 0.0
    small_s: float = 0.0
    large_s: float = 0.0
    run_mb: float = 0.0
    requests: int = 0
    texts: int = 0
    dead: int = 0
    changed: int = 0
    changed_s: float = 0.0
    one_s: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)


def flow(count: int, *, large: bool, smoke: bool) -> Flow:
    """Drop ``count`` small documents, and perhaps the large one, and wait for all.

    Then, without the large one: change some, and drop one more.
    """
    seen = Flow(count, large, changed=SMOKE_CHANGED if smoke else CHANGED)
    with (
        own_server() as (database, settings),
        running_emulator(latency_ms=LATENCY_MS) as emulator,
        tempfile.TemporaryDirectory(prefix="rag-bench-documents-") as name,
    ):
        folder = Path(name)
        inbox = folder / "inbox"
        inbox.mkdir()
        environment = {
            "RAG_HOME": str(settings.rag_home),
            "RAG_DOCUMENTS_URL": str(inbox),
            "RAG_BIBLES_DIR": str(folder / "bibles"),
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "sk-test-documents",
            "RAG_EMBEDDING_TOKEN_LIMIT": "1000000000",
            **({"RAG_LARGE_DOCUMENT_MB": "0.2"} if smoke else {}),
        }
        with _up(folder, environment) as deployment:
            wait_for("the sensors", lambda: _ticking(deployment), deployment, timeout_s=180)
            _have_served(inbox, database)
            cpu = Cpu(deployment, settings.rag_home / "postgres")
            time.sleep(5 if smoke else _IDLE_S)
            seen.idle = cpu.cores()
            drop(folder, inbox, count, large=large, smoke=smoke)
            say(f"dropped {count:,} documents{' and a large one' if large else ''}")
            cpu.restart()
            _watch(seen, database, deployment)
            seen.cpu = cpu.seconds()
            used = emulator.stats()
            if not large or smoke:
                _later(seen, inbox, database)
        seen.requests, seen.texts = used.ok, used.inputs_answered
    return seen


def _have_served(inbox: Path, database: Database) -> None:
    """Drop a document, and wait until the first documents have been indexed and checked.

    Otherwise that would happen during the measured drop: a latency check takes both cores.
    """
    (inbox / "zero.md").write_text("# Zero\n\nThe first document, of a text of its own.\n", "utf-8")
    ended = (
        "SELECT count(*) FILTER (WHERE end_time IS NOT NULL), count(*) FROM runs"
        " WHERE pipeline_name = '__ASSET_JOB'"
    )

    def done() -> bool:
        with database.named(f"{database.name}_dagster").connect(autocommit=True) as connection:
            found, all_of_them = connection.execute(ended).fetchone() or (0, 0)
        return bool(found and found == all_of_them)

    say(f"the first document was indexed and checked after {_until(done):.1f} s")


def _later(seen: Flow, inbox: Path, database: Database) -> None:
    """Change some documents, and drop one into the idle system."""
    time.sleep(_IDLE_S)
    prepared = inbox.parent / "changed"
    prepared.mkdir()
    for name, text in small_documents(seen.changed, seed=1):
        (prepared / name.replace("/", "_")).write_text(text, encoding="utf-8")
    for name, _ in small_documents(seen.changed):
        shutil.move(prepared / name.replace("/", "_"), inbox / name)
    total = seen.documents + seen.large + 1
    seen.changed_s = _until(lambda: _published_since(database, total) >= seen.changed)
    say(f"{seen.changed} changed documents: {seen.changed_s:.1f} s")
    time.sleep(_IDLE_S)
    (inbox / "one.md").write_text("# One\n\nOne document more, of a text of its own.\n", "utf-8")
    seen.one_s = _until(lambda: _published_since(database, total + seen.changed) >= 1)
    say(f"one document: {seen.one_s:.1f} s")


def _published_since(database: Database, before: int) -> int:
    """Publications beyond those known: each is an attempt that succeeded."""
    with database.connect(autocommit=True) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM document_attempts WHERE outcome = 'succeeded'"
        ).fetchone() or (0,)
    return int(count) - before


def _until(done: Callable[[], bool]) -> float:
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > _LATER_S:
            raise TimeoutError(f"not published within {_LATER_S:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - started


@contextmanager
def _up(folder: Path, environment: dict[str, str]) -> Iterator[Deployment]:
    """`rag-assets up` in a folder of its own, without the retrieval API."""
    shutil.copy(ROOT / "dagster.yaml", folder)
    command = [str(Path(sys.executable).parent / "rag-assets"), "up", "--port", "0", "--no-api"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--json"],
            cwd=folder,
            env={**plain_environment(), **environment, "DAGSTER_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        decoder, read = json.JSONDecoder(), ""
        while line := process.stdout.readline().decode():
            read += line
            with suppress(json.JSONDecodeError):
                yield Deployment(decoder.decode(read)["url"], folder)
                break
        else:
            raise RuntimeError(f"`rag-assets up` has ended: {(folder / 'up.log').read_text()}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _ticking(deployment: Deployment) -> bool:
    """Whether the inbox's sensor has ticked once."""
    answer = deployment.ask(
        """
        query { sensorsOrError(repositorySelector: {repositoryLocationName: "rag_assets",
                                                    repositoryName: "__repository__"}) {
          ... on Sensors { results { name sensorState { ticks(limit: 1) { status } } } } } }
        """
    )
    ticks = {found["name"]: found["sensorState"]["ticks"] for found in answer.get("results", ())}
    return bool(ticks.get("document_inbox"))


def drop(
    folder: Path, inbox: Path, count: int, *, large: bool = False, smoke: bool = False
) -> None:
    """Write all beside the inbox, then move them in: at once, as a copy that has ended."""
    prepared = folder / "prepared"
    for name, text in small_documents(count):
        path = prepared / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if large:
        (prepared / "novels.md").write_bytes(large_document(smoke=smoke))
    for path in sorted(prepared.iterdir()):
        shutil.move(path, inbox / path.name)


def _watch(seen: Flow, database: Database, deployment: Deployment) -> None:
    started = time.monotonic()
    told = 0.0
    while True:
        elapsed = time.monotonic() - started
        with database.connect(autocommit=True) as connection:
            small, large, seen.dead = connection.execute(
                """
                SELECT count(*) FILTER (WHERE state = 'ready' AND lane = 'rag_processing'),
                       count(*) FILTER (WHERE state = 'ready' AND lane = 'rag_large_docs'),
                       count(*) FILTER (WHERE state = 'dead') FROM documents
                """
            ).fetchone() or (0, 0, 0)
        small -= 1  # zero.md
        if small and not seen.first_s:
            seen.first_s = elapsed
        if small + seen.dead >= seen.documents and not seen.small_s:
            seen.small_s = elapsed
        if large and not seen.large_s:
            seen.large_s = elapsed
        _weigh(seen, deployment)
        if elapsed - told > 15:
            told = elapsed
            say(f"{small:,} small, {large} large, {seen.dead} dead; a run {seen.run_mb:.0f} MB")
        if seen.small_s and (seen.large_s or not seen.large):
            return
        if elapsed > (120 if seen.documents < 100 else LONGEST_S):
            raise TimeoutError(f"only {small} of {seen.documents} after {elapsed:.0f} s")
        time.sleep(0.5)


def _weigh(seen: Flow, deployment: Deployment) -> None:
    """Memory of each run with all below it."""
    for process in deployment.family():
        try:
            if not is_of_run(process):
                continue
            members = [process, *process.children(recursive=True)]
            mb = sum(member.memory_info().rss for member in members) / _MB
        except psutil.Error:
            continue
        seen.run_mb = max(seen.run_mb, mb)
