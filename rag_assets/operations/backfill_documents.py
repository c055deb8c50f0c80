"""The backfill of documents: those embedded with another model, behind all versions."""

from __future__ import annotations

from rag_assets.documents.sql.documents import queue_counts
from rag_assets.documents.sql.queue import requeue_unembedded
from rag_assets.operations.sql import backfill
from rag_assets.operations.windows import Window
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, together, usd_per_million_tokens
from rag_assets.vectors.sql.spaces import document_roles, register_space

DOCUMENTS_AT_ONCE = 500


def requeue_documents(
    connection: Connection, settings: Settings, window: Window, usd: float
) -> tuple[int, int]:
    """Requeue documents embedded with another model, for at most ``usd``: (requeued, remaining).

    Runs in one transaction. Takes at most :data:`DOCUMENTS_AT_ONCE`, and none that has been
    processed since the window opened.
    """
    if not any(lane.ready for lane in queue_counts(connection).values()):
        return 0, 0
    roles = document_roles(settings)
    requeued = waiting = 0
    with connection.transaction():
        for place, role in enumerate(roles):
            # A document without small vectors most likely lacks the large ones, too.
            price = together(usd_per_million_tokens(settings, one) for one in roles[place:])
            done = requeue_unembedded(
                connection,
                register_space(connection, settings, role),
                limit=DOCUMENTS_AT_ONCE,
                tokens=_affordable(usd, price),
                before=window.opens,
            )
            cost = cost_of(done.tokens, price) or 0.0
            if done.documents:
                backfill.add_documents_cost(connection, window.opens, done.documents, cost)
            usd -= cost
            requeued, waiting = requeued + done.documents, waiting + done.left
    return requeued, waiting


def _affordable(usd: float, usd_per_million: float | None) -> float:
    """Return the tokens that this much buys; none at an unknown price."""
    if usd_per_million is None:
        return 0.0
    return max(0.0, usd) * 1e6 / usd_per_million if usd_per_million else float("inf")
