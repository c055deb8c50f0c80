"""What is to be said to people, once for each subject, and whether it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rag_assets.postgres.database import Connection, fetch_all


@dataclass(frozen=True)
class Message:
    """One message; ``attempts`` and ``error`` tell of tries that failed."""

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
    """Have something said, unless this subject has its message already; whether it is new.

    :param sent_at: when it was said already, where it could not be noted before.
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
    """Let a message that was not sent yet say this instead. By primary key."""
    connection.execute(
        "UPDATE messages SET text = %s WHERE subject = %s AND sent_at IS NULL AND text <> %s",
        (text, subject, text),
    )


def withdraw(connection: Connection, subject: str) -> datetime | None:
    """Have a message not said that was not sent yet; when it was sent, otherwise. By primary key.

    ``None`` also where this subject has none.
    """
    connection.execute("DELETE FROM messages WHERE subject = %s AND sent_at IS NULL", (subject,))
    row = connection.execute(
        "SELECT sent_at FROM messages WHERE subject = %s", (subject,)
    ).fetchone()
    return row[0] if row else None


def unsent_messages(connection: Connection, *, limit: int = 20) -> tuple[Message, ...]:
    """The oldest that wait to be sent. Uses the index of the unsent."""
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
    """It was taken."""
    connection.execute(
        "UPDATE messages SET sent_at = clock_timestamp(), attempts = attempts + 1, error = NULL"
        " WHERE subject = %s",
        (subject,),
    )


def mark_not_sent(connection: Connection, subject: str, error: str) -> None:
    """It was not: it is sent again later."""
    connection.execute(
        "UPDATE messages SET attempts = attempts + 1, error = %s WHERE subject = %s",
        (error, subject),
    )


def delete_messages(connection: Connection, days: float) -> int:
    """Delete what was said longer ago; how many."""
    return connection.execute(
        "DELETE FROM messages WHERE sent_at < now() - make_interval(secs => %s * 86400)", (days,)
    ).rowcount
