"""What the last checks say about the index, or the scan of the codes, that was decided on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rag_assets.index.latency import EMBEDDING
from rag_assets.index.policy import CurrentIndex
from rag_assets.index.query_classes import loses_queries
from rag_assets.index.sql.generations import Generation, RecordedDecision, index_subject
from rag_assets.vectors.sql.check_results import CheckResult

_RECALL_CHECKS = ("recall_at_10", "filtered_recall_at_10")


def recall_failed(last: RecordedDecision | None, results: Sequence[CheckResult]) -> bool:
    """Whether a check of recall failed for the last decision."""
    return any(result.check in _RECALL_CHECKS for result in _failed(last, results))


def queries_lost(last: RecordedDecision | None, results: Sequence[CheckResult]) -> bool:
    """Whether a check failed for the last decision and lost queries that exact search answers."""
    return any(loses_queries(result.measured) for result in _failed(last, results))


def _failed(last: RecordedDecision | None, results: Sequence[CheckResult]) -> list[CheckResult]:
    if last is None:
        return []
    subject = index_subject(last.generation, last.codes)
    return [result for result in results if result.subject == subject and not result.passed]


def current_index(
    latest: Generation | None, rows_changed: int, results: Sequence[CheckResult]
) -> CurrentIndex | None:
    """The generation that serves next unless another is built, as its checks judged it."""
    if latest is None:
        return None
    # A check that judged other probes (PG_IVFFLAT_PROBES) is no evidence against the index.
    latest_results = {
        result.check: result
        for result in results
        if result.subject == index_subject(latest.number)
        and latest.probes is not None
        and result.measured.get("probes") == latest.probes.plain
    }
    passed = {
        check: result.passed
        for check, result in latest_results.items()
        if result.passed or not result.measured.get(EMBEDDING)
    }
    recalls = [passed[name] for name in _RECALL_CHECKS if name in passed]
    golden = latest_results.get("golden_queries")
    # No index would find what exact search misses too.
    lost = golden is not None and not golden.passed and loses_queries(golden.measured)
    return CurrentIndex(
        lists=latest.lists,
        lists_from=latest.lists_from,
        rows_at_build=latest.rows_at_build,
        changed=rows_changed - latest.changed_at_build,
        recall_ok=all(recalls) if recalls else None,
        latency_ok=passed.get("retrieval_latency_slo"),
        queries_ok=not lost,
        code_set=latest.codes.code_set if latest.codes else None,
    )
