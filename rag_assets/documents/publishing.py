"""The last stage: publish a document, leave it unchanged, retry it later, or make it a dead letter.

:func:`judge` decides what an error means for its document, from the error alone. The publishing
transaction is in :mod:`.sql.publishing`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rag_assets.documents.model import Remark
from rag_assets.documents.report import remarks_from
from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.documents import Document, find_document, find_documents
from rag_assets.documents.sql.publishing import Publication, publish
from rag_assets.documents.sql.queue import Claimed
from rag_assets.documents.stages import Embedded, Failed, Unchanged
from rag_assets.embedding.requests import Purchase
from rag_assets.errors import (
    AuditError,
    DatabaseUnavailableError,
    DocumentError,
    ExtractionInterruptedError,
    InboxUnavailableError,
    InputRejectedError,
    RagAssetsError,
    RateLimitedError,
    reason_of,
)
from rag_assets.postgres.database import Connection, Database, session_lost
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import dollars, together
from rag_assets.vectors.sql.spaces import Space

log = logging.getLogger("rag_assets.documents")

Ended = Embedded | Unchanged | Failed
OutcomeState = Literal["ready", "unchanged", "dead", "waiting", "withdrawn"]
LONGEST_RETRY_S = 3600.0
_LONGEST_MESSAGE = 2000  # characters
_PER_DOCUMENT = (DocumentError, ExtractionInterruptedError, InboxUnavailableError, AuditError)
"""Errors of reading and storing that affect one document only."""
_REJECTIONS = frozenset(
    kind.__name__ for kind in (*DocumentError.__subclasses__(), DocumentError, InputRejectedError)
)
_MANY_CHUNKS = 500
_PUBLISHING_S = 0.01
"""Per chunk; 0.8 to 1.6 ms measured. The lease cannot be extended while the row is locked."""
_RESTART_WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""Pauses between attempts to reconnect to a database: a restart takes a few seconds."""


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """How the work on one document ended.

    :param state: ``unchanged``: nothing had to be done. ``waiting``: it is retried later.
    :param error: what went wrong and the fix, if anything did.
    :param rejected: the file itself is at fault; only another file changes that.
    :param tokens: tokens of all its chunks; ``cost_usd``: what was paid for it.
    :param embedded: chunks embedded now; ``reused``: chunks with an existing vector. Both refer to
        the small space.
    :param remarks: what was left out of its text, repaired or lost.
    :param seconds: wall time by stage: ``fetch``, ``extract``, ``chunk``, ``embed``, ``store``.
    """

    key: str
    state: OutcomeState
    error_class: str | None = None
    error: str | None = None
    rejected: bool = False
    pages: int | None = None
    chunks: int = 0
    tokens: int = 0
    embedded: int = 0
    reused: int = 0
    cost_usd: float | None = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)
    language: str | None = None
    title: str | None = None
    characters: int | None = None
    remarks: tuple[Remark, ...] = ()
    corpus: str = "documents"


@dataclass
class RunSummary:
    """Running totals of a run.

    :param states: documents by outcome; dead ones whose file is at fault as ``rejected``.
    :param lost: documents that were changed, withdrawn or claimed by another run meanwhile.
    :param tokens: as billed; ``cost_usd``: their price.
    :param providers: profiles of the servers, one per space that something was requested for.
    """

    states: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    requests: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0
    seconds: float = 0.0
    providers: tuple[str, ...] = ()

    def add(self, outcome: DocumentOutcome) -> None:
        """Add one outcome."""
        self.states["rejected" if outcome.rejected else outcome.state] += 1
        self.chunks += outcome.chunks
        self.embedded += outcome.embedded
        self.reused += outcome.reused

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        lost = f", {self.lost} changed or withdrawn meanwhile" if self.lost else ""
        return (
            f"{states or 'no documents'}{lost}; {self.chunks} chunks ({self.embedded} embedded, "
            f"{self.reused} reused), {self.requests} requests, {self.tokens} tokens, "
            f"{dollars(self.cost_usd)}, {self.seconds:.1f} s"
        )


class JobLog:
    """Logs the start of the work on each document, its outcome and duration.

    :param report: called with each outcome, from any thread.
    """

    def __init__(self, run_id: str, report: Callable[[DocumentOutcome], None]) -> None:
        self._run_id = run_id
        self._report = report
        self._started_at: dict[str, float] = {}

    def started(self, claimed: Claimed) -> None:
        """Log that the run has claimed a document."""
        self._started_at[claimed.key] = time.monotonic()
        log.info("job started: %s, attempt %d, run %s", claimed.key, claimed.attempts, self._run_id)

    def finished(self, outcome: DocumentOutcome) -> None:
        """Log and report an outcome that has been recorded."""
        seconds = time.monotonic() - self._started_at.pop(outcome.key, time.monotonic())
        why = f": {outcome.error_class}" if outcome.error_class else ""
        log.info("job finished: %s %s after %.1f s%s", outcome.key, outcome.state, seconds, why)
        self._report(outcome)


class Publisher:
    """Ends the work on documents, one after another; not thread-safe.

    :param connection: in autocommit mode.
    :param report: called with each outcome once it is recorded.
    """

    def __init__(
        self,
        connection: Connection,
        spaces: Sequence[Space],
        settings: Settings,
        *,
        run_id: str,
        report: Callable[[DocumentOutcome], None],
    ) -> None:
        self._connection = connection
        self._spaces = spaces
        self._settings = settings
        self._run_id = run_id
        self._report = report
        self._summary = RunSummary()

    def end(self, ended: Ended) -> None:
        """Record and report a document's outcome if the run still holds its lease.

        :raises RagAssetsError: one that is not specific to the document.
        """
        if isinstance(ended, Failed):
            outcome = self._fail(ended)
        elif isinstance(ended, Unchanged):
            outcome = self._mark_unchanged(ended)
        else:
            try:
                outcome = self._publish(ended)
            except Exception as error:
                if session_lost(error) or concerns_all(error):
                    raise
                outcome = self._fail(Failed(ended.prepared.claimed, error))
        if outcome is None:
            self._summary.lost += 1
        else:
            self._count_and_report(outcome)

    def summary(self, purchases: Sequence[Purchase], seconds: float) -> RunSummary:
        """Return the totals of the run."""
        self._summary.requests = sum(purchase.requests for purchase in purchases)
        self._summary.tokens = sum(purchase.tokens for purchase in purchases)
        self._summary.cost_usd = together(purchase.cost_usd for purchase in purchases)
        self._summary.seconds = seconds
        self._summary.providers = tuple(
            f"{space.spec}: {purchase.profile}"
            for space, purchase in zip(self._spaces, purchases, strict=True)
            if purchase.profile
        )
        return self._summary

    def give_back_all(self, database: Database, error: BaseException) -> None:
        """Return the documents that the run still holds to the queue, without counting the attempt.

        If the database does not come back in time, the leases expire instead.
        """
        ordered = not isinstance(error, Exception)
        name, message = (None, None) if ordered else (class_of(error), readable(error))
        after_s = 0.0 if ordered else self._settings.rag_document_retry_s
        if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
            after_s = error.retry_after_s
        for wait_s in (*_RESTART_WAITS_S, None):
            try:
                with database.connect(autocommit=True) as connection:
                    documents = find_documents(connection, document_queue.give_back(
                        connection, self._run_id, error_class=name, error=message, after_s=after_s
                    ))  # fmt: skip
            except DatabaseUnavailableError:
                if wait_s is None:
                    return
                time.sleep(wait_s)
            else:
                for one in documents:
                    outcome = DocumentOutcome(one.key, "waiting", name, message, corpus=one.corpus)
                    self._count_and_report(outcome)
                return

    def _count_and_report(self, outcome: DocumentOutcome) -> None:
        self._summary.add(outcome)
        self._report(outcome)

    def _fail(self, failed: Failed) -> DocumentOutcome | None:
        claimed = failed.claimed
        verdict = judge(failed.error, claimed.attempts, self._settings)
        named = (claimed.document_id, self._run_id, verdict.error_class, verdict.error)
        if verdict.state == "dead":
            held = document_queue.mark_dead(self._connection, *named)
        else:
            held = document_queue.mark_for_retry(
                self._connection, *named, verdict.after_s, counted=verdict.counted
            )
        if not held:
            return None
        return DocumentOutcome(
            claimed.key, verdict.state, verdict.error_class, verdict.error, verdict.rejected,
            corpus=claimed.corpus,
        )  # fmt: skip

    def _mark_unchanged(self, unchanged: Unchanged) -> DocumentOutcome | None:
        claimed = unchanged.claimed
        if not document_queue.mark_unchanged(self._connection, claimed.document_id, self._run_id):
            return None
        document = find_document(self._connection, claimed.key)
        return outcome_of(document, "unchanged") if document else None

    def _publish(self, ended: Embedded) -> DocumentOutcome | None:
        prepared, claimed = ended.prepared, ended.prepared.claimed
        document = prepared.document
        if len(document.chunks) >= _MANY_CHUNKS:
            lease_s = self._settings.rag_document_lease_s + _PUBLISHING_S * len(document.chunks)
            document_leases.extend_lease(
                self._connection, claimed.document_id, self._run_id, lease_s
            )
        published = publish(
            self._connection,
            Publication(
                document_id=claimed.document_id,
                path=claimed.path,
                run_id=self._run_id,
                content_hash=claimed.content_hash,
                chunking=prepared.chunking,
                document=document,
                texts=prepared.texts,
                cost_usd=ended.cost_usd,
                seconds=prepared.seconds,
                corpus=claimed.corpus,
            ),
            self._spaces,
        )
        if published is None:
            return None
        return DocumentOutcome(
            key=claimed.key,
            state="ready",
            pages=document.pages,
            chunks=len(document.chunks),
            tokens=sum(chunk.tokens for chunk in document.chunks),
            embedded=ended.embedded,
            reused=len(document.chunks) - ended.embedded,
            cost_usd=ended.cost_usd,
            seconds=published.seconds,
            language=document.language,
            title=document.title,
            characters=document.characters,
            remarks=document.remarks,
            corpus=claimed.corpus,
        )


def outcome_of(
    document: Document, state: OutcomeState, error: str | None = None
) -> DocumentOutcome:
    """Build the outcome of a document that was not processed from its row."""
    return DocumentOutcome(
        key=document.key,
        state=state,
        error_class=document.error_class,
        error=error,
        rejected=is_rejected(document),
        pages=document.pages,
        chunks=document.chunks or 0,
        tokens=document.tokens or 0,
        reused=document.chunks or 0,
        language=document.language,
        title=document.title,
        characters=document.characters,
        remarks=remarks_from(document.remarks),
        corpus=document.corpus,
    )


def stored_outcome(document: Document) -> DocumentOutcome:
    """Build the outcome of a ready document from its row, without embedded and reused chunks."""
    return replace(
        outcome_of(document, "ready"),
        reused=0,
        cost_usd=document.cost_usd,
        seconds=document.seconds or {},
    )


@dataclass(frozen=True, slots=True)
class FailureVerdict:
    """What an error means for its document.

    :param counted: whether the attempt counts against the document.
    :param rejected: the document itself is at fault.
    :param after_s: seconds before the next attempt.
    """

    state: Literal["dead", "waiting"]
    error_class: str
    error: str
    counted: bool = True
    after_s: float = 0.0
    rejected: bool = False


def is_rejected(document: Document) -> bool:
    """Whether work on a stored document has ended because its file is at fault."""
    return document.state == "dead" and document.error_class in _REJECTIONS


def concerns_all(error: Exception) -> bool:
    """Return whether an error of reading or storing a document would also affect others.

    Unexpected errors do not: they may be caused by the document.
    """
    return isinstance(error, RagAssetsError) and not isinstance(error, _PER_DOCUMENT)


def judge(error: Exception, attempts: int, settings: Settings) -> FailureVerdict:
    """Make a permanent error a dead letter, and retry others until the attempts are used up.

    :param attempts: including this one.
    """
    name, message = class_of(error), readable(error)
    if isinstance(error, DocumentError | InputRejectedError):
        return FailureVerdict("dead", name, message, rejected=True)
    if isinstance(error, InboxUnavailableError):
        # Either the storage failed, or the next scan of the inbox will find the file gone.
        return FailureVerdict("waiting", name, message, False, 2 * settings.rag_document_retry_s)
    if attempts >= settings.rag_document_max_attempts:
        return FailureVerdict("dead", name, f"{message} (attempt {attempts}, the last)")
    return FailureVerdict("waiting", name, message, True, retry_after_s(attempts, settings))


def retry_after_s(attempts: int, settings: Settings) -> float:
    """Return the seconds to wait after ``attempts`` attempts: doubled each time, up to an hour."""
    return float(min(LONGEST_RETRY_S, settings.rag_document_retry_s * 2.0 ** (attempts - 1)))


def class_of(error: BaseException) -> str:
    """Return the name of the error's class, or of its nearest public base class."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next(name for name in names if not name.startswith("_"))


def readable(error: BaseException) -> str:
    """Format an error as one paragraph that PostgreSQL can store."""
    return reason_of(error)[:_LONGEST_MESSAGE]
