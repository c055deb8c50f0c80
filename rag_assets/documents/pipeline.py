"""A run over the queue: claiming, reading, embedding and storing go on at once.

Nothing is decided here about one document (:mod:`.outcomes`), nothing bought (:mod:`.embedding`).
What blocks is done in threads. Between the stages stand bounded queues, and a run claims only what
it will soon begin: what it holds in memory does not grow with the queue, and a run that is killed
leaves little behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from rag_assets.documents.buffer import Buffer
from rag_assets.documents.embedding import Embedded, embed
from rag_assets.documents.ending import Ended, Finisher
from rag_assets.documents.limits import extraction_limits
from rag_assets.documents.outcomes import Outcome, Summary, concerns_all
from rag_assets.documents.preparing import (
    Failed,
    Files,
    Prepared,
    Unchanged,
    chunking_of,
    read_file,
    take_stored,
)
from rag_assets.documents.rules import MB
from rag_assets.documents.sandbox import Extractor
from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.queue import Claimed
from rag_assets.documents.threads import finished, in_thread, stoppable, until_one_ends
from rag_assets.embedding.obtaining import Obtainer, obtaining
from rag_assets.embedding.sql.purchases import LedgerKey, drop_all_dead_claims
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.lanes import LARGE, Lane
from rag_assets.postgres.database import Connection, Database, session_lost
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Role, Space, register_space

_WINDOW_CHUNKS = 256
"""Chunks bought together: eight requests of the default size, to keep three in flight."""
_BUFFER_CHUNKS = 1024
"""Chunks that wait between two stages: 4 MB of text, if no single document has more."""
_POLL_S = 1.0  # while other runs work on as many documents as may be worked on
_GRACE_S = 5.0
"""For what is being bought when the run is stopped: it is paid for."""

log = logging.getLogger("rag_assets.documents")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """What one run is to work on.

    :param lane: whose queue; ``None`` for any.
    :param keys: only these documents.
    :param force: read files anew whose chunks are as they should be.
    """

    run_id: str
    lane: Lane | None
    keys: Sequence[str] | None = None
    force: bool = False


class Desk:
    """A connection that several threads use in turn, a call at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Lock()

    def __call__(
        self,
        work: Callable[Concatenate[Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        with self._lock:
            return work(self._connection, *args, **kwargs)


class Pipeline:
    """One run; for one event loop, once.

    :param report: told each document's outcome, from any thread.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        files: Files,
        order: Order,
        *,
        progress: Progress,
        report: Callable[[Outcome], None],
    ) -> None:
        self._database = document_leases.sessions_of_run(database, order.run_id)
        self._settings = settings
        self._files = files
        self._order = order
        self._progress = progress
        self._report = report
        self._claimed_at: dict[str, float] = {}
        alone = order.lane == LARGE  # a large document has a run to itself
        self._at_once = 1 if alone else settings.rag_documents_at_once
        self._left = 1 if alone else settings.rag_documents_per_run
        self._bytes_left = settings.rag_documents_mb_per_run * MB
        if order.keys is not None:
            self._left, self._bytes_left = len(order.keys), 2**62
        self._held = 0
        self._ended = asyncio.Event()
        self._to_read: Buffer[Claimed] = Buffer(self._at_once)
        self._to_embed: Buffer[Prepared] = Buffer(_BUFFER_CHUNKS)
        self._to_end: Buffer[Ended] = Buffer(_BUFFER_CHUNKS)

    async def run(self) -> Summary:
        """Work until the lane, or the run's share of it, is done.

        :raises RagAssetsError: something that concerns all documents; those that the run held wait
            again, each with its reason, unless the database could not be told.
        """
        settings, started = self._settings, time.monotonic()
        extractors = settings.rag_documents_extractors
        workers = ThreadPoolExecutor(extractors + 8, thread_name_prefix="documents")
        asyncio.get_running_loop().set_default_executor(workers)
        with ExitStack() as stack:
            desk, session, storing = (
                stack.enter_context(self._database.connect(autocommit=True)) for _ in range(3)
            )
            for connection in (desk, session, storing):
                document_leases.bound_silence(connection, settings.rag_document_lease_s)
            self._desk = Desk(desk)
            self._spaces = self._register_spaces(session)
            finisher = Finisher(
                storing, self._spaces, settings, run_id=self._order.run_id, report=self._tell
            )
            try:
                async with AsyncExitStack() as buying:
                    obtainers = [
                        await buying.enter_async_context(self._obtaining(session, space))
                        for space in self._spaces
                    ]
                    readers = [
                        stack.enter_context(Extractor(extraction_limits(settings)))
                        for _ in range(extractors)
                    ]
                    await until_one_ends(
                        self._feed(),
                        self._keep_leases(),
                        *(self._read(reader) for reader in readers),
                        self._embed(obtainers),
                        self._end(finisher),
                    )
                    await in_thread(self._desk, drop_all_dead_claims)
            except BaseException as error:
                lost = session_lost(error) or any(one.broken for one in (desk, session, storing))
                reason = DatabaseUnavailableError("PostgreSQL went away") if lost else error
                if isinstance(reason, DatabaseUnavailableError):
                    log.error("store timeout: run %s ends: %s", self._order.run_id, reason)
                await in_thread(finisher.give_back_all, self._database, reason)
                raise
        return finisher.summary(
            [obtainer.purchase for obtainer in obtainers], time.monotonic() - started
        )

    def _tell(self, outcome: Outcome) -> None:
        """Log how the work on a document ended and how long it took, and pass it on."""
        seconds = time.monotonic() - self._claimed_at.pop(outcome.key, time.monotonic())
        why = f": {outcome.error_class}" if outcome.error_class else ""
        log.info("job finished: %s %s after %.1f s%s", outcome.key, outcome.state, seconds, why)
        self._report(outcome)

    def _register_spaces(self, session: Connection) -> tuple[Space, ...]:
        roles: tuple[Role, ...] = ("small", "large")
        wanted = roles if self._settings.rag_documents_large else roles[:1]
        return tuple(register_space(session, self._settings, role) for role in wanted)

    def _obtaining(
        self, session: Connection, space: Space
    ) -> AbstractAsyncContextManager[Obtainer]:
        partition = self._order.lane or "chosen"
        return obtaining(
            self._database,
            session,
            self._settings,
            space=space,
            ledger_key=LedgerKey(self._order.run_id, "documents", partition),
            progress=self._progress,
        )

    async def _keep_leases(self) -> None:
        """Three times in the lease's time: one extension may be late, and one lost."""
        lease_s = self._settings.rag_document_lease_s
        while True:
            await asyncio.sleep(lease_s / 3)
            await in_thread(self._desk, document_leases.extend_leases, self._order.run_id, lease_s)

    async def _feed(self) -> None:
        """Claim documents as long as there are any; ends when all that were claimed have ended."""
        await self._take_suspect()
        while self._left > 0 and self._bytes_left > 0:
            room = self._at_once - self._held
            if self._held and room < self._at_once / 2:
                await self._one_to_end()
            elif not await self._claim(room) and not await self._take_suspect():
                if self._held:
                    await self._one_to_end()
                elif await self._all_are_busy():
                    await asyncio.sleep(_POLL_S)
                else:
                    return
        await self._all_to_end()

    async def _all_are_busy(self) -> bool:
        """Whether other runs work on as many documents as may be worked on."""
        running = await in_thread(self._desk, document_queue.count_running)
        return running >= self._settings.rag_max_concurrent_jobs

    async def _take_suspect(self) -> bool:
        """Work on one that may have killed its runs, while no other could be hit by it."""
        if self._held or self._left <= 0 or not await self._claim(1, suspects=True):
            return False
        await self._all_to_end()
        return True

    async def _claim(self, limit: int, *, suspects: bool = False) -> bool:
        settings, order = self._settings, self._order
        claimed = await in_thread(
            self._desk,
            document_queue.claim,
            run_id=order.run_id,
            lane=order.lane,
            limit=min(limit, self._left),
            max_bytes=self._bytes_left,
            lease_s=settings.rag_document_lease_s,
            max_running=settings.rag_max_concurrent_jobs,
            max_attempts=settings.rag_document_max_attempts,
            keys=order.keys,
            suspects=suspects,
        )
        self._held += len(claimed)
        self._left -= len(claimed)
        self._bytes_left -= sum(document.bytes for document in claimed)
        for document in claimed:
            self._claimed_at[document.key] = time.monotonic()
            log.info(
                "job started: %s, attempt %d, run %s",
                document.key,
                document.attempts,
                order.run_id,
            )
            await self._to_read.put(document)
        return bool(claimed)

    async def _one_to_end(self) -> None:
        await self._ended.wait()
        self._ended.clear()

    async def _all_to_end(self) -> None:
        while self._held:
            await self._one_to_end()

    async def _read(self, extractor: Extractor) -> None:
        while True:
            claimed = await self._to_read.take()
            try:
                found = await stoppable(extractor.cancel, self._prepare, extractor, claimed)
            except Exception as error:
                if session_lost(error) or concerns_all(error):
                    raise
                await self._to_end.put(Failed(claimed, error))
                continue
            if isinstance(found, Prepared):
                await self._to_embed.put(found, len(found.texts))
            else:
                await self._to_end.put(found)

    def _prepare(self, extractor: Extractor, claimed: Claimed) -> Prepared | Unchanged:
        if not self._order.force:
            chunking = chunking_of(self._settings)
            stored = self._desk(take_stored, claimed, self._spaces, chunking)
            if stored is not None:
                return stored
        return read_file(self._files, extractor, claimed)

    async def _embed(self, obtainers: Sequence[Obtainer]) -> None:
        while True:
            window = await self._to_embed.take_up_to(_WINDOW_CHUNKS)
            buying = embed(obtainers, window, self._settings)
            for done in await finished(buying, _GRACE_S):
                weight = len(done.prepared.texts) if isinstance(done, Embedded) else 1
                await self._to_end.put(done, weight)

    async def _end(self, finisher: Finisher) -> None:
        while True:
            ended = await self._to_end.take()
            await in_thread(finisher.end, ended)
            self._held -= 1
            self._ended.set()
