"""What is said to people, when, and how it gets there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time
from zoneinfo import ZoneInfo

from rag_assets.errors import SlackUnavailableError
from rag_assets.operations.causes import OUT_OF_QUOTA
from rag_assets.operations.slack import send
from rag_assets.settings import Settings
from rag_assets.store import incidents, messages
from rag_assets.store.database import Connection, Database
from rag_assets.store.incidents import Incident, RecoveryAction
from rag_assets.store.messages import Message

Say = Callable[[str], None]
_FACTS = 5  # of an incident, in a message


def tell_of_incident(
    connection: Connection,
    incident: Incident,
    settings: Settings,
    *,
    said_at: datetime | None = None,
) -> None:
    """Have an incident told: once when it is noticed, once more if a person is called.

    :param said_at: when it was said already, while the database was away.
    """
    escalated = incident.state == "escalated"
    subject = f"incident-{incident.incident_id}"
    done = incidents.actions_of(connection, incident.incident_id)
    text = describe(incident, done, settings.rag_public_url)
    # Who is called at once need not be told of the same thing twice.
    known = not messages.add_message(
        connection,
        subject,
        text,
        urgent=escalated or incident.cause == OUT_OF_QUOTA,
        sent_at=said_at,
    )
    if escalated and known:
        messages.add_message(connection, f"{subject}-escalated", text, urgent=True)


def describe(incident: Incident, done: Sequence[RecoveryAction], public_url: str) -> str:
    """An incident in a few lines, with what was done about it until now. Pure."""
    number = incident.incident_id
    measures = dict.fromkeys(f"{one.action.replace('_', ' ')} {one.subject}" for one in done)
    subject = f" ({incident.subject})" if incident.subject else ""
    head = (
        f":rotating_light: Incident {number} does not mend by itself: a person is needed"
        if incident.state == "escalated"
        else f":warning: Incident {number}"
    )
    return "\n".join(
        [
            f"{head}: *{incident.cause}*{subject}, since {incident.began_at:%Y-%m-%d %H:%M:%S %Z}, "
            f"{incident.longest_queue} documents waiting.",
            *(f"• {fact}" for fact in incident.facts[:_FACTS]),
            *([f"Done: {', '.join(measures)}."] if measures else []),
            f"`rag-assets doctor` says more; {public_url}/assets/incident_report",
        ]
    )


def deliver(
    database: Database,
    settings: Settings,
    now: datetime,
    *,
    log: Say,
    post: Callable[..., None] = send,
) -> int:
    """Send what waits to be sent, as far as the hour allows; how many. Without a webhook: only log.

    Only one process sends at a time. A message counts as sent once Slack took it; one that Slack
    did not take is sent again at the next call. Sent and not noted, because the process died in
    between, it is said twice: rather than not at all.
    """
    sent = 0
    with database.connect(autocommit=True) as connection:
        if not messages.try_to_be_sender(connection):
            return 0
        for message in messages.unsent_messages(connection):
            if not may_be_sent(message, now, settings):
                continue
            if not message.attempts:
                log(message.text)
            try:
                say(message.text, settings, post=post)
            except SlackUnavailableError as error:
                log(f"message {message.subject} is sent again later: {error}")
                messages.mark_not_sent(connection, message.subject, str(error))
                break
            messages.mark_sent(connection, message.subject)
            sent += 1
    return sent


def say(text: str, settings: Settings, *, post: Callable[..., None] = send) -> None:
    """Say something to Slack now, where there is a webhook.

    :raises SlackUnavailableError: Slack did not take it.
    """
    if settings.slack_webhook_url is not None:
        post(
            settings.slack_webhook_url.get_secret_value(),
            text,
            timeout_s=settings.rag_slack_timeout_s,
        )


def may_be_sent(message: Message, now: datetime, settings: Settings) -> bool:
    """Whether the hour allows it: in the quiet hours only what is urgent. Pure."""
    return message.urgent or not is_quiet(now, settings)


def is_quiet(now: datetime, settings: Settings) -> bool:
    """Whether it is a quiet hour, by the clock on the wall of RAG_TIMEZONE. Pure."""
    if not settings.rag_slack_quiet_hours:
        return False
    begin, end = map(time.fromisoformat, settings.rag_slack_quiet_hours.split("-"))
    clock = now.astimezone(ZoneInfo(settings.rag_timezone)).time()
    return begin <= clock < end if begin <= end else clock >= begin or clock < end
