"""A run over the queue: documents are claimed, extracted, embedded and published concurrently.

Each stage is a task; blocking work runs in threads. The work on a document is in :mod:`.stages`,
the decision about its end in :mod:`.publishing`. Stages are connected by bounded queues, and a run
claims only what it will start soon: memory does not grow with the queue, and a killed run leaves
few documents behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from rag_assets.documents.concurrency import Buffer, finished, in_thread, stoppable
from rag_assets.documents.corpora import Sources
from rag_assets.documents.publishing import Ended, JobLog, Publisher, concerns_all
from rag_assets.documents.sandbox import Extractor
from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.queue import Claimed
from rag_assets.documents.stages import (
    Embedded,
    Failed,
    Prepared,
    Unchanged,
    embed,
    read_file,
    take_stored,
)
from rag_assets.embedding.purchase import Purchaser
from rag_assets.lanes import LARGE, Lane
from rag_assets.postgres.database import Connection, session_lost
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings

_WINDOW_CHUNKS = 256
"""Chunks embedded together: eight requests of the default size, to keep three in flight."""
_BUFFER_CHUNKS = 1024
"""Maximum number of chunks between two stages: 4 MB of text, unless one document has more."""
_POLL_S = 1.0  # while other runs use up RAG_MAX_CONCURRENT_JOBS
_GRACE_S = 5.0
"""Time for requests in flight when the run is stopped: they are paid for."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """What a run works on.

    :param lane: the lane to claim from; ``None`` for any.
    :param keys: only these documents.
    :param force: re-read files even if their chunks are up to date.
    """

    run_id: str
    lane: Lane | None
    keys: Sequence[str] | None = None
    force: bool = False


class SharedConnection:
    """A connection shared by several threads, one call at a time."""

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


class Claims:
    """The first stage: claims documents while the run has room for them.

    The next stage takes from ``claimed``; the last stage puts finished documents into ``ended``.
    Neither is ever full, because the number of documents that a run holds is limited.
    """

    def __init__(
        self, shared: SharedConnection, settings: Settings, order: Order, jobs: JobLog
    ) -> None:
        self._call = shared
        self._settings = settings
        self._order = order
        self._jobs = jobs
        alone = order.lane == LARGE  # one large document per run
        self._at_once = 1 if alone else settings.rag_documents_at_once
        self._left = 1 if alone else settings.rag_documents_per_run
        self._bytes_left = settings.rag_documents_mb_per_run * MB
        if order.keys is not None:
            self._left, self._bytes_left = len(order.keys), 2**62
        self._held: list[Claimed] = []  # may list a document twice if it is soon claimed again
        self.claimed: asyncio.Queue[Claimed] = asyncio.Queue(self._at_once)
        self.ended: asyncio.Queue[Claimed] = asyncio.Queue(self._at_once)

    async def run(self) -> None:
        """Claim documents until none are left, then wait until all claimed ones have ended."""
        await self._take_suspect()
        while self._left > 0 and self._bytes_left > 0:
            room = self._at_once - len(self._held)
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
        """Return whether other runs use up RAG_MAX_CONCURRENT_JOBS."""
        running = await in_thread(self._call, document_queue.count_running)
        return running >= self._settings.rag_max_concurrent_jobs

    async def _take_suspect(self) -> bool:
        """Claim a document that may have killed its runs, while no other document is held."""
        if self._held or self._left <= 0 or not await self._claim(1, suspects=True):
            return False
        await self._all_to_end()
        return True

    async def _claim(self, limit: int, *, suspects: bool = False) -> bool:
        settings, order = self._settings, self._order
        claimed = await in_thread(
            self._call,
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
        self._left -= len(claimed)
        self._bytes_left -= sum(document.bytes for document in claimed)
        for document in claimed:
            self._held.append(document)
            self._jobs.started(document)
            await self.claimed.put(document)
        return bool(claimed)

    async def _one_to_end(self) -> None:
        """Wait until a document has ended, and release all that have."""
        self._held.remove(await self.ended.get())
        while not self.ended.empty():
            self._held.remove(self.ended.get_nowait())

    async def _all_to_end(self) -> None:
        while self._held:
            await self._one_to_end()


class Pipeline:
    """The stages of one run, for one event loop. Not reusable.

    :param purchasers: one per space, the small one first.
    :param extractors: one per file read concurrently.
    """

    def __init__(
        self,
        shared: SharedConnection,
        settings: Settings,
        sources: Sources,
        order: Order,
        *,
        jobs: JobLog,
        purchasers: Sequence[Purchaser],
        extractors: Sequence[Extractor],
        publisher: Publisher,
    ) -> None:
        self._call = shared
        self._settings = settings
        self._sources = sources
        self._order = order
        self._purchasers = purchasers
        self._extractors = extractors
        self._publisher = publisher
        self._claims = Claims(shared, settings, order, jobs)
        self._to_embed: Buffer[Prepared] = Buffer(_BUFFER_CHUNKS)
        self._to_publish: Buffer[Ended] = Buffer(_BUFFER_CHUNKS)

    async def run(self) -> None:
        """Run until the lane, or the run's share of it, is done.

        :raises Exception: the first that is not specific to a document.
        """
        failures: Sequence[Exception] = ()
        try:
            async with asyncio.TaskGroup() as group:
                stages = [
                    group.create_task(stage)
                    for stage in (
                        self._keep_leases(),
                        *(self._extract(extractor) for extractor in self._extractors),
                        self._embed(),
                        self._publish(),
                    )
                ]
                await self._claims.run()
                for stage in stages:
                    stage.cancel()  # no work is left
        except ExceptionGroup as failed:
            failures = failed.exceptions
        if failures:
            raise failures[0]

    async def _keep_leases(self) -> None:
        """Extend leases three times per lease: one extension may be late, and one lost."""
        lease_s = self._settings.rag_document_lease_s
        while True:
            await asyncio.sleep(lease_s / 3)
            await in_thread(self._call, document_leases.extend_leases, self._order.run_id, lease_s)

    async def _extract(self, extractor: Extractor) -> None:
        while True:
            claimed = await self._claims.claimed.get()
            try:
                found = await stoppable(extractor.cancel, self._prepare, extractor, claimed)
            except Exception as error:
                if session_lost(error) or concerns_all(error):
                    raise
                await self._to_publish.put(Failed(claimed, error))
                continue
            if isinstance(found, Prepared):
                await self._to_embed.put(found, len(found.texts))
            else:
                await self._to_publish.put(found)

    def _prepare(self, extractor: Extractor, claimed: Claimed) -> Prepared | Unchanged:
        source = self._sources.of(claimed.corpus, partial(self._call, document_corpora))
        if not self._order.force:
            spaces = [purchaser.space for purchaser in self._purchasers]
            stored = self._call(take_stored, claimed, spaces, source.settings)
            if stored is not None:
                return stored
        return read_file(source.files, extractor, claimed, source.settings)

    async def _embed(self) -> None:
        while True:
            window = await self._to_embed.take_up_to(_WINDOW_CHUNKS)
            embedding = embed(self._purchasers, window, self._settings)
            for done in await finished(embedding, _GRACE_S):
                weight = len(done.prepared.texts) if isinstance(done, Embedded) else 1
                await self._to_publish.put(done, weight)

    async def _publish(self) -> None:
        while True:
            ended = await self._to_publish.take()
            await in_thread(self._publisher.end, ended)
            await self._claims.ended.put(ended.claimed)
