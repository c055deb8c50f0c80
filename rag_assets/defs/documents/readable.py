"""The check ``document_readable``: which documents were rejected, and why, partition by partition.

Dagster cannot mark a partition failed in a run that succeeds, and the fault of one document does
not fail the run over the others. So a rejected document's partition has a failed check with its
reason.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from rag_assets.defs.dagster_private import (
    check_targets,
    failed_partitions,
    step_of,
    store_evaluations,
)
from rag_assets.defs.documents.metadata import chunks_of
from rag_assets.defs.documents.partitions import partitions_for
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.corpora import asset_name
from rag_assets.documents.publishing import is_rejected
from rag_assets.documents.sql.documents import find_documents
from rag_assets.vectors.sql.tables import DOCUMENTS


def readable_of(corpus: str) -> dg.AssetCheckKey:
    """The check of a corpus."""
    return dg.AssetCheckKey(chunks_of(corpus), "document_readable")


READABLE = readable_of(DOCUMENTS)

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@dataclass(frozen=True)
class Rejection:
    """Why a document was rejected."""

    error_class: str | None
    reason: str | None


def report_rejected(context: Context, corpus: str, rejected: Mapping[str, Rejection]) -> None:
    """Fail the checks of these documents' partitions."""
    _report(context, corpus, rejected)


def report_readable(context: Context, corpus: str, keys: Sequence[str]) -> None:
    """Pass the checks of those of these documents that were rejected before."""
    again = failed_partitions(context.instance, readable_of(corpus), keys)
    _report(context, corpus, dict.fromkeys(again))


def _report(context: Context, corpus: str, found: Mapping[str, Rejection | None]) -> None:
    """Report the evaluations of partitions; without a rejection, one passes."""
    check = readable_of(corpus)
    targets = check_targets(context.instance, check.asset_key, list(found)) if found else {}
    evaluations = [
        dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=rejection is None,
            severity=dg.AssetCheckSeverity.WARN,
            description=rejection.reason if rejection else None,
            metadata=_metadata(rejection),
            target_materialization_data=targets.get(key),
            blocking=False,
            partition=key,
        )
        for key, rejection in found.items()
    ]
    store_evaluations(context.instance, evaluations, step_of(context))


def _metadata(rejection: Rejection | None) -> dict[str, str]:
    if rejection is None or rejection.error_class is None:
        return {}
    return {"error_class": rejection.error_class}


def _spec(corpus: str) -> dg.AssetCheckSpec:
    check = readable_of(corpus)
    with warnings.catch_warnings():  # a preview of Dagster's, which is pinned for it
        warnings.filterwarnings(
            "ignore", message="Specifying a partitions_def on an AssetCheckSpec"
        )
        return dg.AssetCheckSpec(
            check.name,
            asset=check.asset_key,
            partitions_def=partitions_for(corpus),
            description="The document can be read. If not, the file itself is at fault, and the "
            "reason says what to do; the run still processes the other documents.",
        )


def readable_check(name: str) -> dg.AssetChecksDefinition:
    """Build the check of a corpus."""

    @dg.multi_asset_check(
        name=f"{asset_name(name, 'readable')}_check", specs=[_spec(name)], can_subset=True
    )
    def readable(
        context: dg.AssetCheckExecutionContext, corpus: dg.ResourceParam[CorpusResource]
    ) -> Iterator[dg.AssetCheckResult]:
        """Report how the chosen documents stand in the table.

        A result of Dagster's has the run's only partition: for a range, the evaluations are
        reported.
        """
        with as_failures(), corpus.database.connect() as connection:
            found = find_documents(connection, context.partition_keys)
        judged = {
            document.key: Rejection(document.error_class, document.error)
            if is_rejected(document)
            else None
            for document in found
            if is_rejected(document) or document.state == "ready"
        }
        _report(context, name, judged)
        yield from ()

    return readable


document_readable = readable_check(DOCUMENTS)
