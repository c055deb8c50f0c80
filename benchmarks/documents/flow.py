"""Documents dropped at once, with the real daemon: when is the first one searchable, when all?

Searchable is what has its vectors in the small space's table. A large document among them must not
hold the small ones up: the same drop is measured with and without it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.documents.corpus import large_document, small_documents
from benchmarks.index.bench import own_server, say
from openai_emulator.process import running_emulator
from rag_assets.postgres.database import Database
from rag_assets_tests.defs.deployment import Deployment, deployed, wait_for

LATENCY_MS = 100
LONGEST_S = 1200.0
_MB = 1e6


@dataclass
class Flow:
    """What was seen of one drop; times in seconds from the end of the drop.

    :param run_mb: most memory that a run's process had, with the processes it had started.
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


def flow(count: int, *, large: bool, smoke: bool) -> Flow:
    """Drop ``count`` small documents, and perhaps the large one, and wait for all."""
    seen = Flow(count, large)
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
        with deployed(folder, environment) as deployment:
            wait_for("the sensors", lambda: _ticking(deployment), deployment, timeout_s=120)
            drop(folder, inbox, count, large=large, smoke=smoke)
            say(f"dropped {count:,} documents{' and a large one' if large else ''}")
            _watch(seen, database, deployment)
        used = emulator.stats()
        seen.requests, seen.texts = used.ok, used.inputs_answered
    return seen


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
            # The code server starts a process of its own for each run.
            if not any("spawn_main" in part for part in process.cmdline()):
                continue
            members = [process, *process.children(recursive=True)]
            mb = sum(member.memory_info().rss for member in members) / _MB
        except psutil.Error:
            continue
        seen.run_mb = max(seen.run_mb, mb)
