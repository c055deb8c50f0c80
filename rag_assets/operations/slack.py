"""Slack's incoming webhook: the only importer of ``slack_sdk``."""

from __future__ import annotations

import html
import logging

from slack_sdk.webhook import WebhookClient

from rag_assets.errors import SlackUnavailableError
from rag_assets.secrecy import word
from rag_assets.visible import visible_lines

_TAKEN = 200


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
