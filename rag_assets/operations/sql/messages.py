"""The outbox of messages to operators, one per subject."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class Message:
    """One message; ``attempts`` and ``error`` describe failed deliveries."""

    subject: str
    text: str
    urgent: bool
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    error: str | None


def add_message(
    connection: Connection,
    subject: str,
    text: str,
    *,
    urgent: bool,
    sent_at: datetime | None = None,
) -> bool:
    """Queue a message unless its subject already has one; return whether it is new.

    :param sent_at: when it was sent, if that happened before it could be recorded.
    """
    return bool(
        connection.execute(
            """
            INSERT INTO messages (subject, text, urgent, sent_at) VALUES (%s, %s, %s, %s)
            ON CONFLICT (subject) DO NOTHING
            """,
            (subject, text, urgent, sent_at),
        ).rowcount
    )


def reword(connection: Connection, subject: str, text: str) -> None:
    """Replace the text of an unsent message. Uses the primary key."""
    connection.execute(
        "UPDATE messages SET text = %s WHERE subject = %s AND sent_at IS NULL AND text <> %s",
        (text, subject, text),
    )


def withdraw(connection: Connection, subject: str) -> datetime | None:
    """Delete a message unless it was sent; return when it was sent. Uses the primary key.

    Also ``None`` if the subject has no message.
    """
    connection.execute("DELETE FROM messages WHERE subject = %s AND sent_at IS NULL", (subject,))
    row = connection.execute(
        "SELECT sent_at FROM messages WHERE subject = %s", (subject,)
    ).fetchone()
    return row[0] if row else None


def unsent_messages(connection: Connection, *, limit: int = 20) -> tuple[Message, ...]:
    """Return the oldest unsent messages. Uses the index on unsent messages."""
    return fetch_all(
        connection,
        Message,
        """
        SELECT subject, text, urgent, created_at, sent_at, attempts, error FROM messages
         WHERE sent_at IS NULL ORDER BY created_at LIMIT %s
        """,
        (limit,),
    )


def mark_sent(connection: Connection, subject: str) -> None:
    """Record that a message was delivered."""
    connection.execute(
        "UPDATE messages SET sent_at = clock_timestamp(), attempts = attempts + 1, error = NULL"
        " WHERE subject = %s",
        (subject,),
    )


def mark_not_sent(connection: Connection, subject: str, error: str) -> None:
    """Record a failed delivery, which is retried."""
    connection.execute(
        "UPDATE messages SET attempts = attempts + 1, error = %s WHERE subject = %s",
        (error, subject),
    )


def delete_messages(connection: Connection, days: float) -> int:
    """Delete messages sent longer ago; return the number deleted."""
    return connection.execute(
        "DELETE FROM messages WHERE sent_at < now() - make_interval(secs => %s * 86400)", (days,)
    ).rowcount
