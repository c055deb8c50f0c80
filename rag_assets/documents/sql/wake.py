"""Notifications that documents wait: the trigger ``wake`` on ``documents`` sends them."""

from __future__ import annotations

from rag_assets.postgres.database import Connection


def listen(connection: Connection) -> None:
    """Receive them from now on; the connection must be in autocommit mode.

    Behind a pooler that shares connections between transactions none arrives.
    """
    connection.execute("LISTEN rag_documents_waiting")


def wait(connection: Connection, timeout_s: float) -> bool:
    """Return whether one came in time."""
    return any(True for _ in connection.notifies(timeout=timeout_s, stop_after=1))
