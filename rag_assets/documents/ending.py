"""How the work on a document ends: published, unchanged, dead or put off; recorded and told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rag_assets.documents.embedding import Embedded
from rag_assets.documents.outcomes import (
    Outcome,
    OutcomeState,
    Summary,
    class_of,
    concerns_all,
    judge,
    readable,
)
from rag_assets.documents.preparing import Failed, Unchanged, chunking_of
from rag_assets.documents.sql import leases as document_leases
from rag_assets.documents.sql import queue as document_queue
from rag_assets.documents.sql.documents import Document, find_document
from rag_assets.documents.sql.publishing import Publication, publish
from rag_assets.embedding.purchase import Purchase
from rag_assets.errors import DatabaseUnavailableError, RateLimitedError
from rag_assets.postgres.database import Connection, Database, session_lost
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space

Ended = Embedded | Unchanged | Failed
_MANY_CHUNKS = 500
_PUBLISHING_S = 0.01
"""A chunk: 0.8 to 1.6 ms measured. Meanwhile the document's row is locked and its lease runs on."""
_RESTART_WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""Between tries to reach a database that has just gone: a restart takes a few seconds."""


class Finisher:
    """Ends the work on one document after the other; for one thread at a time.

    :param connection: autocommits.
    :param report: told each outcome once it is recorded.
    """

    def __init__(
        self,
        connection: Connection,
        spaces: Sequence[Space],
        settings: Settings,
        *,
        run_id: str,
        report: Callable[[Outcome], None],
    ) -> None:
        self._connection = connection
        self._spaces = spaces
        self._settings = settings
        self._run_id = run_id
        self._report = report
        self._summary = Summary()

    def end(self, ended: Ended) -> None:
        """Record and tell how a document ended, where the run still holds its lease.

        :raises RagAssetsError: one that concerns all documents.
        """
        if isinstance(ended, Failed):
            outcome = self._fail(ended)
        elif isinstance(ended, Unchanged):
            outcome = self._leave(ended)
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
            self._tell(outcome)

    def summary(self, purchases: Sequence[Purchase], seconds: float) -> Summary:
        """What the run has done."""
        self._summary.requests = sum(purchase.requests for purchase in purchases)
        self._summary.tokens = sum(purchase.tokens for purchase in purchases)
        self._summary.cost_usd = sum(purchase.cost_usd for purchase in purchases)
        self._summary.seconds = seconds
        return self._summary

    def give_back_all(self, database: Database, error: BaseException) -> None:
        """Put what the run still holds back into the queue, its attempts not counted.

        Where the database does not come back in time, the leases end by themselves.
        """
        ordered = not isinstance(error, Exception)
        name, message = (None, None) if ordered else (class_of(error), readable(error))
        after_s = 0.0 if ordered else self._settings.rag_document_retry_s
        if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
            after_s = error.retry_after_s
        for wait_s in (*_RESTART_WAITS_S, None):
            try:
                with database.connect(autocommit=True) as connection:
                    keys = document_queue.give_back(
                        connection, self._run_id, error_class=name, error=message, after_s=after_s
                    )
            except DatabaseUnavailableError:
                if wait_s is None:
                    return
                time.sleep(wait_s)
            else:
                for key in keys:
                    self._tell(Outcome(key, "waiting", name, message))
                return

    def _tell(self, outcome: Outcome) -> None:
        self._summary.add(outcome)
        self._report(outcome)

    def _fail(self, failed: Failed) -> Outcome | None:
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
        return Outcome(claimed.key, verdict.state, verdict.error_class, verdict.error)

    def _leave(self, unchanged: Unchanged) -> Outcome | None:
        claimed = unchanged.claimed
        if not document_queue.mark_unchanged(self._connection, claimed.document_id, self._run_id):
            return None
        document = find_document(self._connection, claimed.key)
        return outcome_of(document, "unchanged") if document else None

    def _publish(self, ended: Embedded) -> Outcome | None:
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
                chunking=chunking_of(self._settings),
                document=document,
                cost_usd=ended.cost_usd,
                seconds=prepared.seconds,
            ),
            self._spaces,
        )
        if published is None:
            return None
        return Outcome(
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
        )


def outcome_of(document: Document, state: OutcomeState, error: str | None = None) -> Outcome:
    """The outcome of a document on which nothing was done, with what is known of it."""
    return Outcome(
        key=document.key,
        state=state,
        error_class=document.error_class,
        error=error,
        pages=document.pages,
        chunks=document.chunks or 0,
        tokens=document.tokens or 0,
        reused=document.chunks or 0,
        language=document.language,
        title=document.title,
    )


def stored_outcome(document: Document) -> Outcome:
    """The outcome of a ready document as its row has it: without what was embedded or reused."""
    return replace(
        outcome_of(document, "ready"),
        reused=0,
        cost_usd=document.cost_usd or 0.0,
        seconds=document.seconds or {},
    )
