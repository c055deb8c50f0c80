"""Process waiting documents of a lane, or selected ones. One run is one worker.

The stages are in :mod:`.pipeline`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from rag_assets.documents.concurrency import in_thread
from rag_assets.documents.corpora import Sources
from rag_assets.documents.pipeline import Order, Pipeline, SharedConnection
from rag_assets.documents.publishing import (
    DocumentOutcome,
    JobLog,
    OutcomeState,
    Publisher,
    RunSummary,
    outcome_of,
)
from rag_assets.documents.sandbox import Extractor, extraction_limits
from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql.documents import Document, find_documents, queue_counts
from rag_assets.documents.sql.queue import requeue
from rag_assets.documents.stages import Files
from rag_assets.embedding.embedder import check_key
from rag_assets.embedding.purchase import open_purchaser
from rag_assets.embedding.sql.purchases import LedgerKey, drop_all_dead_claims
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.lanes import Lane
from rag_assets.postgres.database import Connection, Database, session_lost
from rag_assets.progress import Progress, Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space, document_roles, register_space

log = logging.getLogger("rag_assets.documents")
_REPORTED_TOGETHER = 100
_REPORT_AFTER_S = 1.0
"""Dagster stores 100 events in the time of three."""


def process_documents(
    database: Database,
    settings: Settings,
    inbox: Files,
    *,
    run_id: str,
    lane: Lane | None,
    keys: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    on_outcomes: Callable[[Sequence[DocumentOutcome]], None] = lambda _: None,
) -> RunSummary:
    """Process up to RAG_DOCUMENTS_PER_RUN waiting documents of a lane, or one of the large lane.

    Several runs may work on one lane concurrently: a document is claimed by one of them only.

    :param inbox: that of the corpus ``documents``; those of the others are opened when needed.
    :param lane: ``None`` for any; ignored for selected documents.
    :param keys: process these documents, whatever their lane and state: documents that are up to
        date end as ``unchanged``, and dead letters are retried.
    :param force: re-read the files of selected documents even if nothing has changed.
    :param on_outcomes: called with new outcomes, in the caller's thread, at most a second after
        they have been recorded.
    :raises ConfigurationError: there is no key for the provider.
    :raises RagAssetsError: an error of the provider or the database that affects all documents.
        The documents that the run held are requeued and reported as ``waiting``; embeddings that
        were paid for are kept.
    """
    check_key(settings)
    shown: Progress = progress or Silent()
    if keys is not None:
        with database.connect() as connection:
            requeue(connection, keys, dead=True)
    shown.start(lane if lane and keys is None else "documents", _expected(database, lane, keys))
    reported: set[str] = set()

    def report(outcomes: Sequence[DocumentOutcome]) -> None:
        reported.update(outcome.key for outcome in outcomes)
        shown.advance(len(outcomes))
        on_outcomes(outcomes)

    order = Order(run_id, None if keys is not None else lane, keys, force)
    summary = _run(database, settings, inbox, order, shown, report)
    if keys is not None:
        rest = _not_processed(database, [key for key in keys if key not in reported])
        for outcome in rest:
            summary.add(outcome)
        report(rest)
    return summary


def _expected(database: Database, lane: Lane | None, keys: Sequence[str] | None) -> int:
    if keys is not None:
        return len(keys)
    with database.connect() as connection:
        counts = queue_counts(connection)
    return sum(count.claimable for name, count in counts.items() if lane in (None, name))


def _run(
    database: Database,
    settings: Settings,
    inbox: Files,
    order: Order,
    progress: Progress,
    report: Callable[[Sequence[DocumentOutcome]], None],
) -> RunSummary:
    """Work in another thread, and report the outcomes in this one, several at a time."""
    outcomes: SimpleQueue[DocumentOutcome | None] = SimpleQueue()
    running = _Running()
    jobs = JobLog(order.run_id, outcomes.put)
    with ThreadPoolExecutor(1, thread_name_prefix="documents-run") as pool:
        work: Future[RunSummary] = pool.submit(
            running.run, _work(database, settings, inbox, order, jobs, _Remarks(progress))
        )
        work.add_done_callback(lambda _: outcomes.put(None))
        try:
            for batch in _batches(outcomes):
                report(batch)
        except BaseException:  # an operator or Dagster stops the run: return its documents
            running.stop()
            raise
    return work.result()


def _batches(outcomes: SimpleQueue[DocumentOutcome | None]) -> Iterator[list[DocumentOutcome]]:
    """Group outcomes until ``None`` comes: a batch is full, or its first one is a second old."""
    while (first := outcomes.get()) is not None:
        batch, until = [first], time.monotonic() + _REPORT_AFTER_S
        while len(batch) < _REPORTED_TOGETHER:
            try:
                following = outcomes.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                break
            if following is None:
                yield batch
                return
            batch.append(following)
        yield batch


class _Running:
    """A coroutine run in one thread that another can stop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[RunSummary] | None = None

    def run(self, work: Coroutine[Any, Any, RunSummary]) -> RunSummary:
        """Run until it is done or stopped.

        :raises asyncio.CancelledError: it was stopped.
        """
        return asyncio.run(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, RunSummary]) -> RunSummary:
        with self._lock:
            if self._stopped:
                work.close()
                raise asyncio.CancelledError
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.ensure_future(work)
        try:
            return await self._task
        finally:
            with self._lock:
                self._loop = None

    def stop(self) -> None:
        """Cancel it; it cleans up and ends soon."""
        with self._lock:
            self._stopped = True
            if self._loop and self._task:
                self._loop.call_soon_threadsafe(self._task.cancel)


async def _work(
    database: Database,
    settings: Settings,
    inbox: Files,
    order: Order,
    jobs: JobLog,
    progress: Progress,
) -> RunSummary:
    """Set up the connections and child processes of a run, and run the pipeline.

    If it fails, its documents are requeued with the reason, if the database is reachable.
    """
    started = time.monotonic()
    database = document_leases.sessions_of_run(database, order.run_id)
    readers = settings.rag_documents_extractors
    threads = ThreadPoolExecutor(readers + 8, thread_name_prefix="documents")
    asyncio.get_running_loop().set_default_executor(threads)
    with ExitStack() as stack:
        connections = [stack.enter_context(database.connect(autocommit=True)) for _ in range(3)]
        for connection in connections:
            document_leases.bound_silence(connection, settings.rag_document_lease_s)
        shared, session, storing = SharedConnection(connections[0]), connections[1], connections[2]
        spaces = _register_spaces(session, settings)
        publisher = Publisher(storing, spaces, settings, run_id=order.run_id, report=jobs.finished)
        ledger_key = LedgerKey(order.run_id, "documents", order.lane or "chosen")
        try:
            async with AsyncExitStack() as purchases:
                opened = partial(
                    open_purchaser,
                    database,
                    session,
                    settings,
                    ledger_key=ledger_key,
                    progress=progress,
                )
                purchasers = [
                    await purchases.enter_async_context(opened(space=space)) for space in spaces
                ]
                extractors = [
                    stack.enter_context(Extractor(extraction_limits(settings)))
                    for _ in range(readers)
                ]
                await Pipeline(
                    shared, settings, Sources(settings, inbox), order,
                    jobs=jobs, purchasers=purchasers, extractors=extractors, publisher=publisher,
                ).run()  # fmt: skip
                await in_thread(shared, drop_all_dead_claims)
        except BaseException as error:
            reason = _reason_of(error, connections)
            if isinstance(reason, DatabaseUnavailableError):
                log.error("store timeout: run %s ends: %s", order.run_id, reason)
            await in_thread(publisher.give_back_all, database, reason)
            raise
    return publisher.summary(
        [purchaser.purchase for purchaser in purchasers], time.monotonic() - started
    )


def _reason_of(error: BaseException, connections: Sequence[Connection]) -> BaseException:
    """Return why a run ends: a lost session may surface as any error."""
    lost = session_lost(error) or any(connection.broken for connection in connections)
    return DatabaseUnavailableError("the connection to PostgreSQL was lost") if lost else error


def _register_spaces(session: Connection, settings: Settings) -> tuple[Space, ...]:
    return tuple(register_space(session, settings, role) for role in document_roles(settings))


class _Remarks:
    """Passes on messages only: progress is counted in documents, not in their texts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, task: str, total: int) -> None: ...

    def advance(self, steps: int) -> None: ...

    def say(self, message: str) -> None:
        self._progress.say(message)


_STATE: dict[str, OutcomeState] = {"ready": "unchanged", "dead": "dead", "withdrawn": "withdrawn"}


def _not_processed(database: Database, keys: Sequence[str]) -> tuple[DocumentOutcome, ...]:
    """Return the outcomes of selected documents that this run did not process."""
    with database.connect() as connection:
        documents = find_documents(connection, keys)
    return tuple(
        outcome_of(document, _STATE.get(document.state, "waiting"), _why(document))
        for document in documents
    )


def _why(document: Document) -> str | None:
    if document.state == "withdrawn":
        return f"{document.key} is withdrawn: its file is gone, or an operator withdrew it"
    if document.state == "running":
        return f"run {document.run_id} is working on it"
    return document.error
