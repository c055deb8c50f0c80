"""The check ``document_readable``: which documents were rejected, and why, partition by partition.

Dagster cannot mark a partition failed in a run that succeeds, and the fault of one document does
not fail the run over the others. So a rejected document's partition has a failed check with its
reason.
"""

import warnings
from collections.abc import Iterator, Sequence

import dagster as dg

from rag_assets.defs.dagster_private import check_targets, failed_partitions, report_evaluation
from rag_assets.defs.documents.metadata import CHUNKS
from rag_assets.defs.documents.partitions import documents
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.publishing import is_rejected
from rag_assets.documents.sql.documents import find_documents

READABLE = dg.AssetCheckKey(CHUNKS, "document_readable")


Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


def report_rejected(
    context: Context, key: str, error_class: str | None, reason: str | None
) -> None:
    """Fail the check of one document's partition."""
    _report(context, key, passed=False, reason=reason, error_class=error_class)


def report_readable(context: Context, keys: Sequence[str]) -> None:
    """Pass the checks of those of these documents that were rejected before."""
    for key in failed_partitions(context.instance, READABLE, keys):
        _report(context, key, passed=True)


def _report(
    context: Context,
    key: str,
    *,
    passed: bool,
    reason: str | None = None,
    error_class: str | None = None,
) -> None:
    report_evaluation(
        context,
        dg.AssetCheckEvaluation(
            asset_key=READABLE.asset_key,
            check_name=READABLE.name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=reason,
            metadata={"error_class": error_class} if error_class else {},
            target_materialization_data=check_targets(context.instance, CHUNKS, key),
            blocking=False,
            partition=key,
        ),
    )


def _spec() -> dg.AssetCheckSpec:
    with warnings.catch_warnings():  # a preview of Dagster's, which is pinned for it
        warnings.filterwarnings(
            "ignore", message="Specifying a partitions_def on an AssetCheckSpec"
        )
        return dg.AssetCheckSpec(
            READABLE.name,
            asset=CHUNKS,
            partitions_def=documents,
            description="The document can be read. Where it fails, the file itself is at fault, "
            "and the reason says what to do; the run over the other documents succeeds.",
        )


@dg.multi_asset_check(name="document_readable_check", specs=[_spec()], can_subset=True)
def document_readable(
    context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[CorpusResource]
) -> Iterator[dg.AssetCheckResult]:
    """Report how the chosen documents stand in the table.

    A result of Dagster's has the run's only partition: for a range, the evaluations are reported.
    """
    with as_failures(), corpus.database.connect() as connection:
        found = find_documents(connection, context.partition_keys)
    for document in found:
        if is_rejected(document):
            report_rejected(context, document.key, document.error_class, document.error)
        elif document.state == "ready":
            _report(context, document.key, passed=True)
    yield from ()
