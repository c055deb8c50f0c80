"""The metric families of what is embedded, indexed, audited and released. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric

from rag_assets.audit.model import KINDS
from rag_assets.audit.sql.reports import AuditFigures
from rag_assets.operations.family import by_name, gauge, single
from rag_assets.operations.sql.metrics import (
    ReleaseFigures,
)
from rag_assets.operations.sql.vector_metrics import CheckNow, VectorsNow
from rag_assets.retrieval.sql.live_recall import LiveRecall


def of_vectors(vectors: Sequence[VectorsNow], builds: int) -> Iterator[Metric]:
    """Yield the metrics of the vector tables and their indexes."""
    yield single("inprogress_index_builds", "Index builds in progress.", builds)
    where = [((table.corpus, table.space), table) for table in vectors]
    labels = ("corpus", "space")
    yield gauge(
        "rag_vectors",
        "Vectors: counted up to 2,000, PostgreSQL's estimate above.",
        labels,
        [(place, table.rows) for place, table in where],
    )
    yield gauge(
        "rag_vectors_bytes",
        "Size of the table with all its indexes.",
        labels,
        [(place, table.bytes) for place, table in where],
    )
    yield gauge(
        "rag_index_bytes",
        "Size of one generation of the index.",
        (*labels, "generation"),
        [
            ((*place, index.generation), index.bytes)
            for place, table in where
            for index in table.indexes
        ],
    )
    yield gauge(
        "rag_index_stale",
        "Rows changed since the index was built, as a share of the rows then; absent if search is "
        "exact.",
        labels,
        [(place, table.stale) for place, table in where if table.stale is not None],
    )


def of_release(release: ReleaseFigures, checks: Sequence[CheckNow]) -> Iterator[Metric]:
    """Yield the metrics of the active release and its checks."""
    yield single(
        "rag_active_release",
        "Number of the active release; 0 for none. An API serves its rag_served_release.",
        release.number,
    )
    for name, text, age_s in (
        (
            "rag_active_release_age_seconds",
            "Seconds since the release was activated; absent if there is none.",
            release.age_s,
        ),
        (
            "rag_release_refused_age_seconds",
            "Seconds since the gate refused a release; absent if one passed since.",
            release.refused_age_s,
        ),
    ):
        yield gauge(name, text, (), [] if age_s is None else [((), age_s)])
    labels = ("corpus", "space", "subject", "check")
    where = [((c.corpus, c.space, c.subject, c.check), c) for c in checks]
    yield gauge(
        "rag_check_passed",
        "1 if the check passed at its last evaluation.",
        labels,
        [(place, check.passed) for place, check in where],
    )
    yield gauge(
        "rag_check_age_seconds",
        "Seconds since the check's last evaluation.",
        labels,
        [(place, check.age_s) for place, check in where],
    )


def of_live_recall(live: Sequence[LiveRecall]) -> Iterator[Metric]:
    """Yield the recall of users' searches; nothing while none were sampled."""
    yield gauge(
        "rag_live_recall_at_10",
        "Recall@10 of searches of the last 24 hours that the API repeated exactly, in the active "
        "release; absent if none were.",
        ("corpus", "plan"),
        [((one.corpus, one.plan), one.recall) for one in live if one.recall is not None],
    )
    yield gauge(
        "rag_live_recall_searches",
        "These searches, by outcome: compared; failed: the repetition failed or took over 10 s; "
        "skipped: sampled, and not repeated for the budget.",
        ("corpus", "plan", "outcome"),
        [
            ((one.corpus, one.plan, outcome), getattr(one, outcome))
            for one in live
            for outcome in ("compared", "failed", "skipped")
        ],
    )


def of_audit(audit: AuditFigures | None) -> Iterator[Metric]:
    """Yield the result of the last audit, with 0 for each kind that it did not find."""
    left = {} if audit is None else {kind: audit.left.get(kind, 0) for kind in KINDS}
    yield gauge(
        "rag_audit_differences",
        "Differences that the last audit found and left; absent before the first audit.",
        ("kind",),
        by_name(left),
    )
    yield gauge(
        "rag_audit_age_seconds",
        "Seconds since the end of the last audit; absent before the first one.",
        (),
        [] if audit is None else [((), audit.age_s)],
    )
