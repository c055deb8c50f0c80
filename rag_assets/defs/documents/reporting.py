"""Report documents to Dagster: those of the run itself, and those whose run ended before it could.

A run reports documents after publishing them, to another database. If it is killed in between,
ready documents show as missing or failed, until the next run or the recovery reports them.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

import dagster as dg

from rag_assets.defs.dagster_private import mark_planned, step_of, store_materializations
from rag_assets.defs.documents import metadata
from rag_assets.defs.documents.metadata import chunks_of, embeddings_of
from rag_assets.defs.documents.readable import Rejection, report_rejected
from rag_assets.defs.under_way import UNDER_WAY
from rag_assets.documents.publishing import DocumentOutcome, stored_outcome
from rag_assets.documents.sql.documents import Document
from rag_assets.documents.sql.reports import lock_unreported, mark_reported
from rag_assets.postgres.database import Database

log = logging.getLogger("rag_assets.documents")
_BATCH = 200
"""Documents locked at a time: 0.2 s if each has to be reported."""
_PAGE = 500
_NOT_KEPT = ("embedded", "reused")
"""Fields that are not stored in ``documents``."""
_PUBLISHED_BY = "published_by_run"


OfCorpus = TypeVar("OfCorpus", DocumentOutcome, Document)


def by_corpus(found: Sequence[OfCorpus]) -> dict[str, list[OfCorpus]]:
    """Documents, or their outcomes, by corpus."""
    groups: dict[str, list[OfCorpus]] = {}
    for one in found:
        groups.setdefault(one.corpus, []).append(one)
    return groups


class RunReport:
    """Reports the outcomes of a run as they come, each under its own partition.

    :param planned: the run named its partitions when it started, so that those not materialized
        show as failed.
    """

    def __init__(self, context: dg.AssetExecutionContext, *, planned: bool) -> None:
        self._context = context
        self._planned = planned
        self.ready: list[DocumentOutcome] = []
        self.rejected: list[DocumentOutcome] = []
        self.failed: list[DocumentOutcome] = []

    def add(self, outcomes: Sequence[DocumentOutcome]) -> None:
        """Report some outcomes together. A document may be taken in after the inbox's last tick."""
        for corpus, of_corpus in by_corpus(outcomes).items():
            self._context.instance.add_dynamic_partitions(corpus, [one.key for one in of_corpus])
        ready = [one for one in outcomes if one.state in ("ready", "unchanged")]
        others = [one for one in outcomes if one.state not in ("ready", "unchanged")]
        rejected = [one for one in others if one.rejected]
        failed = [one for one in others if not one.rejected]
        events = [event for one in ready for event in metadata.materializations(one)]
        store_materializations(self._context.instance, events, step_of(self._context))
        for corpus, of_corpus in by_corpus(rejected).items():
            reasons = {one.key: Rejection(one.error_class, one.error) for one in of_corpus}
            report_rejected(self._context, corpus, reasons)
        for one in failed:
            if not self._planned:
                assets = chunks_of(one.corpus), embeddings_of(one.corpus)
                mark_planned(self._context, assets, one.key)
        for one in others:
            log.warning("%s: %s: %s", one.key, one.error_class, one.error)
        self.ready += ready
        self.rejected += rejected
        self.failed += failed


def report_published(
    instance: dg.DagsterInstance,
    database: Database,
    *,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Report ready documents that are unreported, except those that a run under way will report.

    Documents that Dagster already shows are only marked, so that nothing is reported twice.
    Withdrawn and dead documents are ignored.

    :param patience_s: time after which no new batch is started; the next call continues.
    :return: the number of documents reported.
    """
    count, after, until = 0, 0, clock() + patience_s
    while clock() < until:
        with database.connect() as connection:
            found = lock_unreported(connection, after=after, limit=_BATCH)
            if not found:
                break
            after = found[-1].document_id
            left = _of_ended_runs(instance, found)
            shown = {
                asset: _shown(instance, asset, of_corpus)
                for corpus, of_corpus in by_corpus(left).items()
                for asset in (chunks_of(corpus), embeddings_of(corpus))
            }
            missing = [event for document in left for event in _missing(document, shown)]
            store_materializations(instance, missing)
            count += len({event.partition for event in missing})
            mark_reported(connection, {one.key: one.run_id for one in left if one.run_id})
    return count


def _of_ended_runs(
    instance: dg.DagsterInstance, documents: Sequence[Document]
) -> tuple[Document, ...]:
    """Return the documents whose run has ended; a run under way reports its own."""
    run_ids = list({document.run_id for document in documents if document.run_id})
    at_work = instance.get_runs(dg.RunsFilter(run_ids=run_ids, statuses=UNDER_WAY))
    busy = {run.run_id for run in at_work}
    return tuple(document for document in documents if document.run_id not in busy)


def _shown(
    instance: dg.DagsterInstance, asset: dg.AssetKey, documents: Sequence[Document]
) -> set[tuple[str | None, str]]:
    """Return document keys with the runs whose results Dagster has recorded for the asset."""
    found: set[tuple[str | None, str]] = set()
    wanted = dg.AssetRecordsFilter(asset, asset_partitions=[one.key for one in documents])
    cursor, more = None, bool(documents)
    while more:
        page = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            late = event.metadata.get(_PUBLISHED_BY) if event else None
            found.add((record.partition_key, str(late.value) if late else record.run_id))
        cursor, more = page.cursor, page.has_more
    return found


def _missing(
    document: Document, shown: Mapping[dg.AssetKey, Collection[tuple[str | None, str]]]
) -> Iterator[dg.AssetMaterialization]:
    """Yield the events of a document's assets that Dagster lacks."""
    for event in metadata.materializations(stored_outcome(document)):
        if (document.key, document.run_id) not in shown[event.asset_key]:
            known = {name: value for name, value in event.metadata.items() if name not in _NOT_KEPT}
            by = {_PUBLISHED_BY: dg.MetadataValue.text(document.run_id or "")}
            yield event._replace(metadata=known | by)
