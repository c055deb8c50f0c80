"""Messages to operators: text, due time and delivery. The only module that imports slack_sdk."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from slack_sdk.webhook import WebhookClient

from rag_assets.errors import SlackUnavailableError
from rag_assets.operations.findings import OUT_OF_QUOTA
from rag_assets.operations.memory import Memory
from rag_assets.operations.report import measure_taken
from rag_assets.operations.sql import incidents, messages
from rag_assets.operations.sql.incidents import Incident, RecoveryAction
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.secrecy import word
from rag_assets.settings.model import Settings
from rag_assets.visible import visible, visible_lines

Log = Callable[[str], None]
_FACTS = 5  # facts of an incident in a message
_URGENT_PAUSE_S = 60.0
_ACCEPTED = 200


def message_subject(incident: Incident) -> str:
    """Return the key of an incident's message."""
    return f"incident-{incident.incident_id}"


def notify_of_incident(
    connection: Connection,
    incident: Incident,
    settings: Settings,
    *,
    sent_at: datetime | None = None,
    failed: Sequence[str] = (),
) -> None:
    """Queue the messages about an incident: one when it is noticed, one more if it is escalated.

    :param sent_at: when it was already reported: during the database's outage, or by failed jobs.
    :param failed: jobs that failed because of it so far, one sentence each.
    """
    escalated = incident.state == "escalated"
    subject = message_subject(incident)
    done = incidents.actions_of(connection, incident.incident_id)
    text = describe_incident(incident, done, settings.rag_public_url, failed=failed)
    if incident.job_cause is not None:  # more partitions may have failed since
        messages.reword(connection, subject, text)
    # An incident that is escalated from the start needs only one message.
    known = not messages.add_message(
        connection,
        subject,
        text,
        urgent=escalated or incident.cause == OUT_OF_QUOTA,
        sent_at=sent_at,
    )
    if escalated and known:
        messages.add_message(connection, f"{subject}-escalated", text, urgent=True)


def describe_incident(
    incident: Incident,
    done: Sequence[RecoveryAction],
    public_url: str,
    *,
    failed: Sequence[str] = (),
) -> str:
    """Describe an incident and the actions taken so far in a few lines. Pure."""
    number = incident.incident_id
    measures = dict.fromkeys(map(measure_taken, done))
    subject = f" ({incident.subject})" if incident.subject else ""
    if incident.job_cause is not None:
        return "\n".join(
            visible(line)
            for line in [
                f":warning: Incident {number}: *{incident.cause}*{subject}, since "
                f"{incident.began_at:%Y-%m-%d %H:%M:%S %Z}. It needs an operator.",
                *(f"• {fact}" for fact in incident.facts[:_FACTS]),
                f"`rag-assets doctor` says more; {public_url}/assets/incident_report",
            ]
        )
    head = (
        f":rotating_light: Incident {number} does not recover automatically: an operator is needed"
        if incident.state == "escalated"
        else f":warning: Incident {number}"
    )
    return "\n".join(
        visible(line)
        for line in [
            f"{head}: *{incident.cause}*{subject}, since {incident.began_at:%Y-%m-%d %H:%M:%S %Z}, "
            f"{incident.longest_queue} documents waiting.",
            *(f"• {fact}" for fact in (*incident.facts[:_FACTS], *failed)),
            *([f"Done: {', '.join(measures)}."] if measures else []),
            f"`rag-assets doctor` says more; {public_url}/assets/incident_report",
        ]
    )


def deliver(
    database: Database, settings: Settings, memory: Memory, now: datetime, *, log: Log
) -> Memory:
    """Send the messages that are due; return the memory with Slack's state.

    Only one process sends at a time. A message counts as sent once Slack accepted it, or it was
    logged because there is no webhook. Delivery is at least once: if the process dies between
    sending and recording, the message is sent twice.
    """
    with database.connect(autocommit=True) as connection:
        if not locks.try_lock_session(connection, locks.SENDING_MESSAGES):
            return memory
        for message in messages.unsent_messages(connection):
            if not is_due(settings, memory, now, urgent=message.urgent):
                continue
            if not message.attempts:
                log(message.text)
            memory, refusal = post(message.text, settings, memory, now)
            if refusal is not None:
                log(f"message {message.subject} will be retried: {refusal}")
                messages.mark_not_sent(connection, message.subject, refusal)
                break
            messages.mark_sent(connection, message.subject)
        # Unlock explicitly: the server notices the end of a session only a moment later.
        locks.unlock_session(connection, locks.SENDING_MESSAGES)
    return memory


def post(text: str, settings: Settings, memory: Memory, now: datetime) -> tuple[Memory, str | None]:
    """Send a text to Slack now, if there is a webhook.

    :return: the memory with Slack's state, and why it refused, if it did.
    """
    if settings.slack_webhook_url is not None:
        webhook = settings.slack_webhook_url.get_secret_value()
        try:
            send(webhook, text, timeout_s=settings.rag_slack_timeout_s)
        except SlackUnavailableError as error:
            since = memory.slack_refused_since or now
            return replace(memory, slack_refused_since=since, slack_tried_at=now), str(error)
    return replace(memory, slack_refused_since=None, slack_tried_at=None), None


def is_due(settings: Settings, memory: Memory, now: datetime, *, urgent: bool) -> bool:
    """Return whether a message may be sent now. Pure.

    During quiet hours only urgent messages are sent. After a refusal, the pause equals the time
    that Slack has been refusing, so that pauses double, up to RAG_SLACK_PAUSE_S, or up to a minute
    for urgent messages.
    """
    if not urgent and is_quiet(now, settings):
        return False
    if memory.slack_refused_since is None or memory.slack_tried_at is None:
        return True
    longest_s = min(settings.rag_slack_pause_s, _URGENT_PAUSE_S if urgent else float("inf"))
    refusing = memory.slack_tried_at - memory.slack_refused_since
    return now - memory.slack_tried_at >= min(refusing, timedelta(seconds=longest_s))


def is_quiet(now: datetime, settings: Settings) -> bool:
    """Return whether it is a quiet hour, in local time of RAG_TIMEZONE. Pure."""
    if not settings.rag_slack_quiet_hours:
        return False
    begin, end = map(time.fromisoformat, settings.rag_slack_quiet_hours.split("-"))
    clock = now.astimezone(ZoneInfo(settings.rag_timezone)).time()
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def send(webhook: str, text: str, *, timeout_s: float) -> None:
    """Send a text to Slack, escaped so that angle brackets make no links or mentions.

    :param webhook: the URL. It is a secret, and appears in no error and no log.
    :raises SlackUnavailableError: Slack did not accept it; it may later.
    """
    # slack_sdk's own logger shows the URL, and its own retries would block the caller.
    silent = logging.Logger("slack", logging.CRITICAL + 1)
    client = WebhookClient(
        webhook, timeout=max(1, round(timeout_s)), logger=silent, retry_handlers=[]
    )
    try:
        answer = client.send(text=html.escape(visible_lines(text), quote=False))
    except Exception as error:  # the message may contain the URL
        raise SlackUnavailableError(f"Slack cannot be reached ({type(error).__name__})") from None
    if answer.status_code != _ACCEPTED:
        reason = word(answer.body)
        raise SlackUnavailableError(
            f"Slack answers {answer.status_code}{f': {reason}' if reason else ''}"
        )
