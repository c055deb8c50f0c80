"""Report ready documents to Dagster whose run ended before it could.

A run reports each document after publishing it, to another database. If it is killed in between,
ready documents show as missing or failed. Uses only public API, at 11 ms per event.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import dagster as dg

from rag_assets.defs.documents import metadata
from rag_assets.defs.documents.metadata import CHUNKS, EMBEDDINGS
from rag_assets.defs.under_way import UNDER_WAY
from rag_assets.documents.publishing import stored_outcome
from rag_assets.documents.sql.documents import Document
from rag_assets.documents.sql.reports import lock_unreported, mark_reported
from rag_assets.postgres.database import Database

_BATCH = 50
"""Documents locked at a time: 1.2 s if each has to be reported."""
_PAGE = 500
_NOT_KEPT = ("embedded", "reused")
"""Fields that are not stored in ``documents``."""
_PUBLISHED_BY = "published_by_run"


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
            shown = {asset: _shown(instance, asset, left) for asset in (CHUNKS, EMBEDDINGS)}
            count += sum(_report(instance, document, shown) for document in left)
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


def _report(
    instance: dg.DagsterInstance,
    document: Document,
    shown: Mapping[dg.AssetKey, Collection[tuple[str | None, str]]],
) -> bool:
    """Report a document's assets that Dagster lacks; return whether there were any."""
    missing = [
        event
        for event in metadata.materializations(stored_outcome(document))
        if (document.key, document.run_id) not in shown[event.asset_key]
    ]
    for event in missing:
        known = {name: value for name, value in event.metadata.items() if name not in _NOT_KEPT}
        by = {_PUBLISHED_BY: dg.MetadataValue.text(document.run_id or "")}
        instance.report_runless_asset_event(event._replace(metadata=known | by))
    return bool(missing)
