"""The metrics of live recall; the others are in :mod:`.families`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric

from rag_assets.operations.family import gauge
from rag_assets.retrieval.sql.live_recall import LiveRecall


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
