"""``rag-assets alertmanager-config``: Alertmanager's configuration, made from the settings."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rag_assets.cli.output import err, errors_as_sentences
from rag_assets.errors import ConfigurationError
from rag_assets.operations.alerting import alertmanager_config, delivered_by
from rag_assets.settings.model import Settings, load_settings

_MODE = 0o640
"""It holds Slack's address and passwords. In compose, Alertmanager belongs to the file's group."""


def alertmanager_config_command(
    output: Annotated[
        Path | None,
        typer.Option(help="Write it to this file, readable by owner and group only."),
    ] = None,
) -> None:
    """Print Alertmanager's configuration. It holds secrets.

    Receivers are Slack (SLACK_WEBHOOK_URL), e-mail (RAG_ALERT_EMAIL_TO) and the service that
    watches the heartbeat (RAG_ALERT_HEARTBEAT_URL). A receiver that is not set is left out.

    ```
    rag-assets alertmanager-config --output alertmanager.json
    ```
    """
    with errors_as_sentences():
        settings = load_settings()
        text = json.dumps(alertmanager_config(settings), indent=2) + "\n"
        if output is None:
            typer.echo(text, nl=False)
        else:
            _write(output, text)
    err.print(_summary(settings), markup=False)


def _write(path: Path, text: str) -> None:
    """Replace the file in one step; others can read it at no moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(_MODE)
        Path(name).replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _summary(settings: Settings) -> str:
    ways = " and ".join(delivered_by(settings))
    if not ways:
        ways = (
            "no receiver, only to Alertmanager's own page: set SLACK_WEBHOOK_URL or "
            "RAG_ALERT_EMAIL_TO"
        )
    heartbeat = "on" if settings.rag_alert_heartbeat_url else "off (RAG_ALERT_HEARTBEAT_URL)"
    quiet = settings.rag_slack_quiet_hours
    held = f"; warnings are held back {quiet} ({settings.rag_timezone})" if quiet else ""
    return f"alerts go to {ways}; heartbeat {heartbeat}{held}"
