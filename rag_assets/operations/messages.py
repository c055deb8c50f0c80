"""What is said to people, when, and how it gets there: the only importer of ``slack_sdk``."""

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

Say = Callable[[str], None]
_FACTS = 5  # of an incident, in a message
_URGENT_PAUSE_S = 60.0
_TAKEN = 200


def message_subject(incident: Incident) -> str:
    """What an incident's message is kept by."""
    return f"incident-{incident.incident_id}"


def tell_of_incident(
    connection: Connection,
    incident: Incident,
    settings: Settings,
    *,
    said_at: datetime | None = None,
    failed: Sequence[str] = (),
) -> None:
    """Have an incident told: once when it is noticed, once more if a person is called.

    :param said_at: when it was said already: while the database was away, or by failed jobs.
    :param failed: jobs that failed by it until now, a sentence each.
    """
    escalated = incident.state == "escalated"
    subject = message_subject(incident)
    done = incidents.actions_of(connection, incident.incident_id)
    text = describe_incident(incident, done, settings.rag_public_url, failed=failed)
    if incident.job_cause is not None:  # more partitions may have failed since
        messages.reword(connection, subject, text)
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


def describe_incident(
    incident: Incident,
    done: Sequence[RecoveryAction],
    public_url: str,
    *,
    failed: Sequence[str] = (),
) -> str:
    """An incident in a few lines, with what was done about it until now. Pure."""
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
    database: Database, settings: Settings, memory: Memory, now: datetime, *, log: Say
) -> Memory:
    """Send what waits to be sent and is due; the memory of how Slack took it.

    Only one process sends at a time. A message counts as sent once Slack took it, or was only
    logged because there is no webhook. Sent and not noted, because the process died in between, it
    is said twice: rather than not at all.
    """
    with database.connect(autocommit=True) as connection:
        if not locks.try_lock_session(connection, locks.SENDING_MESSAGES):
            return memory
        for message in messages.unsent_messages(connection):
            if not is_due(settings, memory, now, urgent=message.urgent):
                continue
            if not message.attempts:
                log(message.text)
            memory, refusal = say(message.text, settings, memory, now)
            if refusal is not None:
                log(f"message {message.subject} is sent again later: {refusal}")
                messages.mark_not_sent(connection, message.subject, refusal)
                break
            messages.mark_sent(connection, message.subject)
        # The server notices a session that ends a moment later than whoever looks next.
        locks.unlock_session(connection, locks.SENDING_MESSAGES)
    return memory


def say(text: str, settings: Settings, memory: Memory, now: datetime) -> tuple[Memory, str | None]:
    """Say something to Slack now, where there is a webhook.

    :return: the memory of how Slack took it, and why it did not.
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
    """Whether something may be said now. Pure.

    In the quiet hours only what is urgent. Slack that refused is left alone for as long as it had
    been refusing, so that the pauses double, up to RAG_SLACK_PAUSE_S; a minute where it is urgent.
    """
    if not urgent and is_quiet(now, settings):
        return False
    if memory.slack_refused_since is None or memory.slack_tried_at is None:
        return True
    longest_s = min(settings.rag_slack_pause_s, _URGENT_PAUSE_S if urgent else float("inf"))
    refusing = memory.slack_tried_at - memory.slack_refused_since
    return now - memory.slack_tried_at >= min(refusing, timedelta(seconds=longest_s))


def is_quiet(now: datetime, settings: Settings) -> bool:
    """Whether it is a quiet hour, by the clock on the wall of RAG_TIMEZONE. Pure."""
    if not settings.rag_slack_quiet_hours:
        return False
    begin, end = map(time.fromisoformat, settings.rag_slack_quiet_hours.split("-"))
    clock = now.astimezone(ZoneInfo(settings.rag_timezone)).time()
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def send(webhook: str, text: str, *, timeout_s: float) -> None:
    """Say something. What stands in angle brackets is text here, neither a link nor a call to all.

    :param webhook: the address; whoever knows it can write, so it is in no error and no log.
    :raises SlackUnavailableError: it was not taken; it may be later.
    """
    # Its own logger shows the address, and its own retries would hold up who calls.
    silent = logging.Logger("slack", logging.CRITICAL + 1)
    client = WebhookClient(
        webhook, timeout=max(1, round(timeout_s)), logger=silent, retry_handlers=[]
    )
    try:
        answer = client.send(text=html.escape(visible_lines(text), quote=False))
    except Exception as error:  # its words may hold the address
        raise SlackUnavailableError(f"Slack cannot be reached ({type(error).__name__})") from None
    if answer.status_code != _TAKEN:
        said = word(answer.body)
        raise SlackUnavailableError(
            f"Slack answers {answer.status_code}{f': {said}' if said else ''}"
        )
